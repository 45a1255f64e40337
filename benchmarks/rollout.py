"""The collection's plays: round trips to a host; of an unchanged fleet, the controller's processor time and its lines.

The fleet is one host under many names, whose answers have been recorded: what modules do is not the controller's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lib.collection import LocalHost, clone_to, neutral_environment

from . import recorded
from .bench import Bench, Row

FLAGS = 40
FLEETS = (50, 200, 400)
SHOWN = 100
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
COPY_LOOP = str(Path(__file__).with_name("copy_loop.yml"))


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The rows of this module."""
    checkout = clone_to(bench.root / "clone")
    host = _host(bench, checkout, 0)
    plain = _inventory(bench, "plain", [_host(bench, checkout, 1)])
    loop = {
        "first install": _calls(checkout, COPY_LOOP, plain),
        "unchanged host": _calls(checkout, COPY_LOOP, plain),
    }
    one = _inventory(bench, "one", [host])
    site = {
        "first install": _calls(checkout, "playbooks/site.yml", one),
        "unchanged host": _calls(checkout, "playbooks/site.yml", one),
    }
    yield (
        "calls",
        Row(
            "converge of an unchanged host; first install: round trips",
            f"a plain `copy` loop over the same {FLAGS} flags, which does nothing else",
            "at most 3; at most 8",
            f"**{site['unchanged host']}**; **{site['first install']}** "
            f"(copy loop {loop['unchanged host']}; {loop['first install']})",
            site["unchanged host"] <= 3 and site["first install"] <= 8,
            {"calls": {"site": site, "copy loop": loop}, "flags": FLAGS},
        ),
    )
    recording = recorded.environment(bench.root / "recorded")
    fleets = {many: _names(bench, host, many) for many in (1, SHOWN, *FLEETS)}
    for playbook, lines in (("site", None), ("rollout", 200)):
        _run(checkout, playbook, fleets[1], recording)  # its answers are kept
        runs = {many: _run(checkout, playbook, fleets[many], recording) for many in FLEETS}
        per_host = {many: float(run["cpu"]) / many for many, run in runs.items()}
        least, most = min(per_host.values()), max(per_host.values())
        yield (
            f"controller-{playbook}",
            Row(
                f"`{playbook}` of {', '.join(map(str, FLEETS))} unchanged hosts: the controller's CPU a host",
                "itself",
                "at most 0.5 s, within 1.1x",
                ", ".join(f"{seconds:.2f} s" for seconds in per_host.values()) + f": **{most / least:.2f}x**",
                most <= 0.5 and most <= 1.1 * least,
                {"runs": runs, "cpu_per_host": per_host},
            ),
        )
        if lines is not None:
            shown = _run(checkout, playbook, fleets[SHOWN], recording)
            yield (
                "lines",
                Row(
                    f"`{playbook}` of {SHOWN} unchanged hosts with the callback `fleet`: lines of output",
                    "itself",
                    f"fewer than {lines}",
                    f"**{shown['lines']}**",
                    shown["lines"] < lines,
                    {"run": shown},
                ),
            )


def _host(bench: Bench, checkout: Path, number: int) -> LocalHost:
    (bench.root / "fleet").mkdir(exist_ok=True)
    host = LocalHost(bench.root / "fleet" / f"h{number}")
    host.variables["mesos_agent_flags"].update(_flags(checkout))
    return host


def _flags(checkout: Path) -> dict[str, str]:
    """Durations and texts make 40 flags in all, with the host's own two; of a release that knows them all.

    Those of unknown effect are allowed on a fresh host.
    """
    text = (checkout / "collection/plugins/module_utils/_flag_table.py").read_text()
    names = {
        kind: re.findall(rf"^(\w+)\|(?:both|1\.x)\|{kind}\|", text, re.MULTILINE) for kind in ("duration", "string")
    }
    flags = {**dict.fromkeys(names["duration"], "1mins"), **dict.fromkeys(names["string"], "text")}
    return dict(list(flags.items())[: FLAGS - 2])


def _names(bench: Bench, host: LocalHost, many: int) -> Path:
    """An inventory of one recorded host under many names."""
    path = bench.root / f"fleet-{many}.json"
    variables = {**host.variables, "ansible_connection": "recorded"}
    names: dict[str, dict[str, object]] = {f"host-{number:05}": {} for number in range(many)}
    path.write_text(json.dumps({"mesos_agents": {"hosts": names, "vars": variables}}))
    return path


def _inventory(bench: Bench, name: str, hosts: list[LocalHost]) -> Path:
    path = bench.root / f"{name}.json"
    path.write_text(json.dumps({"mesos_agents": {"hosts": {host.root.name: host.variables for host in hosts}}}))
    return path


def _calls(checkout: Path, playbook: str, inventory: Path) -> int:
    """How often the one host was asked for anything."""
    done = subprocess.run(
        [PLAYBOOK, playbook, "-i", str(inventory), "-vvv"],
        cwd=checkout,
        env=neutral_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return len(re.findall(r"^<\S+> (?:SSH: )?(?:EXEC|PUT|FETCH) ", done.stdout, re.MULTILINE))


def _run(checkout: Path, playbook: str, inventory: Path, more: dict[str, str]) -> dict[str, float]:
    before, begin = os.times(), time.perf_counter()
    done = subprocess.run(
        [PLAYBOOK, f"playbooks/{playbook}.yml", "-i", str(inventory)],
        cwd=checkout,
        env={**neutral_environment(), **more, "ANSIBLE_STDOUT_CALLBACK": "mesos.containerizer.fleet"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": round(wall, 2), "cpu": round(cpu, 2), "lines": len(done.stdout.splitlines())}
