"""A launch on a host that is full: of containers, of mounts."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from . import measure
from .bench import Bench, Row
from .measure import Command, Sample, Summary
from .worker import Worker

CONTAINERS = 1000
MOUNTS = 2000
UNSHARE = Command(["/usr/bin/unshare", "-m", "/bin/true"])


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The rows of this module."""
    if os.geteuid() != 0:
        return
    yield "containers", _containers(bench)
    yield "mounts", _mounts(bench)


def _cases(bench: Bench) -> dict[str, Command]:
    return {"ours": bench.launch(), "unshare": UNSHARE, "bare": bench.bare}


def _containers(bench: Bench) -> Row:
    """Before, beside and after: nobody can have a thousand containers for every other run only."""
    cases = _cases(bench)
    runs = max(20, bench.runs // 2)
    before = measure.alternate(cases, runs)
    bench.forget()
    processes = [_sleeper(bench, number) for number in range(CONTAINERS)]
    try:
        _wait_for(bench, CONTAINERS)
        beside = measure.alternate(cases, runs)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        bench.forget()
    after = measure.alternate(cases, runs)
    grown = {name: _growth(beside[name], before[name], after[name]) for name in cases}
    return Row(
        f"launch beside {CONTAINERS:,} live containers",
        "the empty host before and after; `unshare -m` in the same minutes",
        "at most 1.2x",
        f"**{grown['ours']:.2f}x** (`unshare -m` {grown['unshare']:.2f}x, bare interpreter {grown['bare']:.2f}x)",
        grown["ours"] <= 1.2,
        {
            "milliseconds": {
                "before": measure.plain(before),
                "beside": measure.plain(beside),
                "after": measure.plain(after),
            },
            "growth": grown,
        },
    )


def _growth(beside: Summary, before: Summary, after: Summary) -> float:
    return 2 * beside.p25 / (before.p25 + after.p25)


def _sleeper(bench: Bench, number: int) -> subprocess.Popen[bytes]:
    path = bench.root / "crowd" / str(number)
    path.mkdir(parents=True)
    words = [str(bench.shim.program), "run", "--volume", "tmp:/tmp", "--", "/bin/sleep", "3600"]
    process = subprocess.Popen(words, cwd=path, env=measure.ENVIRONMENT, start_new_session=True)
    if number % 8 == 7:  # no more than a few at a time are on their way
        until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
    return process


def _wait_for(bench: Bench, containers: int) -> None:
    until(lambda: len(list((bench.state / "containers").glob("*.json"))) == containers)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("waited in vain")
        time.sleep(0.005)


def _mounts(bench: Bench) -> Row:
    """Two hosts in turn, one with MOUNTS mounts more."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    directory = bench.root / "many"
    directory.mkdir()
    hosts = {"few": Worker(0, str(directory)), "many": Worker(MOUNTS, str(directory))}

    def on(host: str, command: Command) -> Callable[[], Sample]:
        return lambda: hosts[host](command)

    try:
        cases = {f"{name} {host}": on(host, command) for host in hosts for name, command in _cases(bench).items()}
        found = measure.alternate(cases, bench.runs)
        mounts = {name: host.mounts for name, host in hosts.items()}
    finally:
        for host in hosts.values():
            host.end()
    grown = {name: found[f"{name} many"].p25 / found[f"{name} few"].p25 for name in ("ours", "unshare", "bare")}
    more = {name: found[f"{name} many"].p25 - found[f"{name} few"].p25 for name in ("ours", "unshare", "bare")}
    return Row(
        f"launch on a host with {mounts['many']:,} mounts",
        f"one with {mounts['few']}; `unshare -m` on the same",
        "no cost of ours that grows with mounts: 1.2x of what `unshare -m` pays for them",
        f"{grown['ours']:.2f}x: **{more['ours']:.1f} ms** more, `unshare -m` {grown['unshare']:.2f}x: "
        f"{more['unshare']:.1f} ms more",
        more["ours"] <= 1.2 * more["unshare"],
        {"milliseconds": measure.plain(found), "growth": grown, "more_milliseconds": more, "mounts": mounts},
    )
