"""What stays beside a command while it runs: nothing, or one parent, which sleeps."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lib.played_agent import PlayedAgent

from . import bench as benches
from .agent import DEFAULT
from .bench import Bench, Row
from .crowd import until

SECONDS = 2.0


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """One row for the system's interpreter, one for Python 3.13 where it is here."""
    yield "memory", _row(bench, 10)
    newer = _newer()
    if newer is not None:
        with benches.bench(bench.runs, newer) as other:
            yield "memory-3.13", _row(other, 12)


def _newer() -> str | None:
    found = sorted(Path.home().glob(".pyenv/versions/3.13.*/bin/python3")) + [Path("/usr/bin/python3.13")]
    return next((str(path) for path in found if path.exists()), None)


def _row(bench: Bench, mebibytes: int) -> Row:
    version = subprocess.run([bench.python, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    found = {"run": _exec(bench), "supervised": _supervised(bench), "1.x": _helper(bench)}
    parents = [found["supervised"], found["1.x"]]
    worst = {key: max(parent[key] for parent in parents) for key in parents[0]}
    return Row(
        f"memory while a container runs, {version}",
        "exec: no process; supervised or 1.x: the one parent",
        f"RSS {mebibytes} MiB, private dirty 4 MiB, CPU 0",
        f"exec **0**; RSS **{worst['rss']:.1f}** MiB, private dirty **{worst['private_dirty']:.1f}** MiB, "
        f"CPU {worst['cpu_ticks']:.0f} ticks, woken {worst['switches']:.0f} times in {SECONDS:.0f} s",
        worst["rss"] <= mebibytes
        and worst["private_dirty"] <= 4
        and worst["cpu_ticks"] == 0
        and found["run"]["processes"] == 0,
        {"parents": found, "interpreter": f"{bench.python} {version}"},
    )


def _exec(bench: Bench) -> dict[str, float]:
    """How many processes are beside the command: it has the pid that we started, and no child."""
    launch = bench.launch(command=("/bin/sleep", "60"))
    with subprocess.Popen(launch.words, cwd=launch.cwd) as process:
        try:
            until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        finally:
            process.kill()
    return {"processes": len(children)}


def _supervised(bench: Bench) -> dict[str, float]:
    reading, writing = os.pipe()
    options = ("--supervise", "--status-fd", str(writing), "--volume", "tmp:/tmp")
    launch = bench.launch(*options, command=("/bin/sleep", "60"))
    with subprocess.Popen(launch.words, cwd=launch.cwd, pass_fds=[writing]) as process:
        os.close(writing)
        try:
            ready, _, _ = select.select([reading], [], [], 30)
            assert ready, "the container did not start"
            return _asleep(process.pid)
        finally:
            process.terminate()
            process.wait()
            os.close(reading)


def _helper(bench: Bench) -> dict[str, float]:
    bench.configure(default_container_info=DEFAULT)
    agent = PlayedAgent(bench.root / "agent-memory", bench.shim)
    agent.hold(None)
    process = agent.start("echo started; exec sleep 60")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        return _asleep(process.pid)
    finally:
        process.terminate()
        process.communicate()
        bench.configure()


def _asleep(pid: int) -> dict[str, float]:
    """The parent once it waits in sigwait(3), and what it takes of the processor while it does."""
    until(lambda: "sigtimedwait" in Path(f"/proc/{pid}/wchan").read_text() or _state(pid) == "S")
    time.sleep(0.2)  # what it still does after the fork, it has done
    before = _ticks(pid), _switches(pid)
    time.sleep(SECONDS)  # here time itself is what is measured
    after = _ticks(pid), _switches(pid)
    rollup = _fields(Path(f"/proc/{pid}/smaps_rollup"))
    return {
        "rss": rollup["Rss"] / 1024,
        "private_dirty": rollup["Private_Dirty"] / 1024,
        "cpu_ticks": after[0] - before[0],
        "switches": after[1] - before[1],
    }


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _switches(pid: int) -> int:
    fields = _fields(Path(f"/proc/{pid}/status"))
    return fields["voluntary_ctxt_switches"] + fields["nonvoluntary_ctxt_switches"]


def _fields(path: Path) -> dict[str, int]:
    """`Name:  number …` lines."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.split() and value.split()[0].isdigit():
            found[name] = int(value.split()[0])
    return found
