"""One look at all containers, beside psutil."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from . import measure
from .bench import Bench, Row
from .crowd import until
from .measure import Command, Sample

CONTAINERS = 500
LOOKS = 9
# Four processes that do nothing: a shell and three that it waits for.
SCRIPT = "sleep 3600 & sleep 3600 & sleep 3600 & wait"
TREES = str(Path(__file__).with_name("trees.py"))


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The row of this module."""
    bench.forget()
    containers: list[subprocess.Popen[bytes]] = []
    try:
        found: dict[int, dict[str, measure.Summary]] = {}
        for many in (CONTAINERS // 2, CONTAINERS):
            while len(containers) < many:
                containers.append(_container(bench, len(containers)))
            _complete(bench, many)
            found[many] = _look(bench, containers)
    finally:
        for container in containers:
            os.killpg(container.pid, 9)
        for container in containers:
            container.wait()
    all_of_them = found[CONTAINERS]
    less = {name: all_of_them[name].cpu_p25 / all_of_them["ours"].cpu_p25 for name in ("trees", "pass")}
    own = {many: looks["ours"].cpu_p25 - looks["bare"].cpu_p25 for many, looks in found.items()}
    linear = own[CONTAINERS] / own[CONTAINERS // 2]
    yield (
        "usage",
        Row(
            f"`usage` of {CONTAINERS} containers, {4 * CONTAINERS:,} processes",
            "naive psutil trees; one psutil pass",
            "at least 5x less CPU than trees; linear in processes",
            f"**{less['trees']:.0f}x** less than trees, {less['pass']:.1f}x less than one pass "
            f"({all_of_them['ours'].cpu_p25:.0f} ms of CPU); {linear:.2f}x of half as many",
            less["trees"] >= 5 and linear <= 2.2,
            {
                "milliseconds": {str(many): measure.plain(looks) for many, looks in found.items()},
                "less_cpu": less,
                "twice_the_processes": linear,
            },
        ),
    )


def _container(bench: Bench, number: int) -> subprocess.Popen[bytes]:
    path = bench.root / "used" / str(number)
    path.mkdir(parents=True)
    words = [str(bench.shim.program), "run", "--volume", "tmp:/tmp", "--", "/bin/sh", "-c", SCRIPT]
    process = subprocess.Popen(words, cwd=path, env=measure.ENVIRONMENT, start_new_session=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: len(children.read_text().split()) == 3)
    return process


def _complete(bench: Bench, many: int) -> None:
    """Every container is seen, with all its processes."""
    words = [str(bench.shim.program), "usage", "--format", "json"]
    shown = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    seen = sum(item["statistics"]["processes"] for item in shown)
    if (len(shown), seen) != (many, 4 * many):
        raise RuntimeError(f"usage shows {len(shown)} containers with {seen} processes, not {many} with {4 * many}")


def _look(bench: Bench, containers: list[subprocess.Popen[bytes]]) -> dict[str, measure.Summary]:
    pids = " ".join(str(container.pid) for container in containers)

    def with_psutil(way: str) -> Sample:
        return measure.fed([sys.executable, "-I", TREES, way], pids)

    cases = {
        "bare": bench.bare,
        "ours": Command([str(bench.shim.program), "usage", "--format", "json"]),
        "pass": lambda: with_psutil("pass"),
        "trees": lambda: with_psutil("trees"),
    }
    quick = {name: case for name, case in cases.items() if name != "trees"}
    found = measure.alternate(quick, LOOKS)
    # Minutes of CPU: a few runs tell them apart from the others.
    return {**found, "trees": measure.Summary.of([cases["trees"]() for _ in range(2)])}
