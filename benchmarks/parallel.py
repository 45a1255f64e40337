"""Many launches at a time: none may fail, and none may wait for another."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from . import measure
from .bench import Bench, Row
from .measure import Command

LAUNCHES = 500
AT_A_TIME = 8


def rows(bench: Bench) -> Iterator[tuple[str, Row]]:
    """The row of this module."""
    sandboxes = [bench.launch() for _ in range(AT_A_TIME)]
    one = {"ours": _all(sandboxes, 1), "bare": _all([bench.bare], 1)}
    many = {"ours": _all(sandboxes, AT_A_TIME), "bare": _all([bench.bare] * AT_A_TIME, AT_A_TIME)}
    gain = {name: one[name][0] / many[name][0] for name in one}
    failures = sum(found[1] for found in (*one.values(), *many.values()))
    cores = os.cpu_count() or 1
    yield (
        "parallel",
        Row(
            f"{LAUNCHES} launches, {AT_A_TIME} at a time",
            f"one at a time; the bare interpreter the same way; {cores} cores",
            "0 failures, no lock convoy: as much faster as the bare interpreter",
            f"**{failures}** failures, **{gain['ours']:.2f}x** faster (bare interpreter {gain['bare']:.2f}x)",
            failures == 0 and gain["ours"] >= 0.9 * gain["bare"],
            {"seconds_one_at_a_time": one, "seconds_many": many, "gain": gain, "failures": failures},
        ),
    )


def _all(commands: list[Command], at_a_time: int) -> tuple[float, int]:
    """Seconds for all launches, and how many of them failed."""
    free = list(range(at_a_time))
    running: dict[int, int] = {}
    failures = started = 0
    begin = time.perf_counter()
    while started < LAUNCHES or running:
        while free and started < LAUNCHES:
            slot = free.pop()
            command = commands[slot % len(commands)]
            if command.cwd is not None:
                os.chdir(command.cwd)
            running[os.posix_spawn(command.words[0], command.words, measure.ENVIRONMENT)] = slot
            started += 1
        pid, status = os.wait()
        free.append(running.pop(pid))
        failures += status != 0
    return time.perf_counter() - begin, failures
