"""The collection's site play: round trips to a host, and the controller's processor time for a fleet.

The hosts are this machine under many names, with a directory each; so what the modules do counts as the controller's.
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

from tests.lib.collection import Host, clone_to

from .bench import Bench, Row

FLAGS = 40
FEW, MANY = 10, 50
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
COPY_LOOP = str(Path(__file__).with_name("copy_loop.yml"))


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The rows of this module."""
    checkout = clone_to(bench.root / "clone")
    hosts = [_host(bench, checkout, number) for number in range(MANY)]
    plain = _inventory(bench, "plain", [_host(bench, checkout, MANY)])
    loop = {
        "first install": _calls(checkout, COPY_LOOP, plain),
        "unchanged host": _calls(checkout, COPY_LOOP, plain),
    }
    one = _inventory(bench, "one", hosts[:1])
    site = {
        "first install": _calls(checkout, "playbooks/site.yml", one),
        "unchanged host": _calls(checkout, "playbooks/site.yml", one),
    }
    yield (
        "calls",
        Row(
            "converge of an unchanged host; first install: round trips",
            f"a plain `copy` loop over the same {FLAGS} flags, which does nothing else",
            "at most 12; at most 30",
            f"**{site['unchanged host']}**; **{site['first install']}** "
            f"(copy loop {loop['unchanged host']}; {loop['first install']})",
            site["unchanged host"] <= 12 and site["first install"] <= 30,
            {"calls": {"site": site, "copy loop": loop}, "flags": FLAGS},
        ),
    )
    seconds: dict[str, dict[str, dict[str, float]]] = {}
    for many in (FEW, MANY):
        inventory = _inventory(bench, f"fleet-{many}", hosts[:many])
        _run(checkout, "playbooks/site.yml", inventory)  # all of them are installed
        seconds[str(many)] = {"unchanged": _run(checkout, "playbooks/site.yml", inventory)}
    per_host = {many: found["unchanged"]["cpu"] / int(many) for many, found in seconds.items()}
    few, many_hosts = per_host[str(FEW)], per_host[str(MANY)]
    yield (
        "fleet",
        Row(
            f"converge of {FEW} and {MANY} unchanged hosts: processor time",
            "itself",
            "a constant per host",
            f"{few:.2f} s a host with {FEW}, {many_hosts:.2f} s with {MANY}: **{many_hosts / few:.2f}x**",
            many_hosts <= 1.1 * few,
            {"seconds": seconds, "cpu_per_host": per_host},
        ),
    )


def _host(bench: Bench, checkout: Path, number: int) -> Host:
    (bench.root / "fleet").mkdir(exist_ok=True)
    host = Host(bench.root / "fleet" / f"h{number}")
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


def _inventory(bench: Bench, name: str, hosts: list[Host]) -> Path:
    path = bench.root / f"{name}.json"
    path.write_text(json.dumps({"mesos_agents": {"hosts": {host.root.name: host.variables for host in hosts}}}))
    return path


def _calls(checkout: Path, playbook: str, inventory: Path) -> int:
    """How often the one host was asked for anything."""
    done = subprocess.run(
        [PLAYBOOK, playbook, "-i", str(inventory), "-vvv"],
        cwd=checkout,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return len(re.findall(r"^<\S+> (?:SSH: )?(?:EXEC|PUT|FETCH) ", done.stdout, re.MULTILINE))


def _run(checkout: Path, playbook: str, inventory: Path) -> dict[str, float]:
    before, begin = os.times(), time.perf_counter()
    subprocess.run(
        [PLAYBOOK, playbook, "-i", str(inventory)],
        cwd=checkout,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    wall, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall": round(wall, 2), "cpu": round(cpu, 2)}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MESOS_"))}
