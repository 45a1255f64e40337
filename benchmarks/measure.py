"""Times programs side by side: in turn, many times, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Sample:
    """One run: seconds from its start until it was reaped, and of the processor."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Summary:
    """Many runs, in milliseconds. The quartile is the figure to compare: what disturbs a run only makes it longer."""

    runs: int
    minimum: float
    p25: float
    median: float
    cpu_p25: float

    @staticmethod
    def of(samples: list[Sample]) -> Summary:
        """The summary of `samples`."""
        walls, cpus = sorted(s.wall * 1e3 for s in samples), sorted(s.cpu * 1e3 for s in samples)
        quarter = len(samples) // 4
        return Summary(len(samples), walls[0], walls[quarter], statistics.median(walls), cpus[quarter])


@dataclass(frozen=True)
class Command:
    """A program to time."""

    words: list[str]
    cwd: str | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
    # Whether to empty the directory first: each executor has a sandbox of its own, with nothing in it.
    fresh: bool = False

    def __call__(self) -> Sample:
        """One run; raises RuntimeError where it does not end with 0."""
        if self.fresh and self.cwd is not None:
            empty(self.cwd)
        return timed(self.words, self.environment, self.cwd)


def empty(directory: str) -> None:
    """Remove what is in it."""
    for entry in os.scandir(directory):
        shutil.rmtree(entry.path)


_QUIET = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]


def timed(words: list[str], environment: Mapping[str, str], cwd: str | None = None) -> Sample:
    """Run a program by posix_spawn(3), which costs the same whatever the size of this process."""
    if cwd is not None and os.getcwd() != cwd:
        os.chdir(cwd)
    begin = time.perf_counter()
    pid = os.posix_spawn(words[0], words, environment, file_actions=_QUIET)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    if status:
        raise RuntimeError(f"{' '.join(words)[:300]}: ended with wait status {status}")
    return Sample(wall, usage.ru_utime + usage.ru_stime)


def fed(words: list[str], text: str) -> Sample:
    """As `timed`, of a program that reads `text` from its input."""
    before = os.times()
    begin = time.perf_counter()
    subprocess.run(words, input=text, text=True, stdout=subprocess.DEVNULL, check=True, env=ENVIRONMENT)
    wall = time.perf_counter() - begin
    after = os.times()
    return Sample(wall, after.children_user + after.children_system - before.children_user - before.children_system)


def alternate(cases: Mapping[str, Callable[[], Sample]], runs: int) -> dict[str, Summary]:
    """Run all cases in turn, each round in another order, `runs` times each after two runs that do not count.

    Who ran before leaves the caches warm or cold: nobody may always follow the same other.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in cases}
    for case in cases.values():
        case()
        case()
    order = list(cases)
    shuffle = random.Random(0).shuffle  # the same orders each time
    for _ in range(runs):
        shuffle(order)
        for name in order:
            samples[name].append(cases[name]())
    return {name: Summary.of(found) for name, found in samples.items()}


def ratio(ours: Summary, other: Summary) -> dict[str, float]:
    """Ours by the other's."""
    return {"p25": ours.p25 / other.p25, "median": ours.median / other.median, "cpu_p25": ours.cpu_p25 / other.cpu_p25}


def machine(python: str) -> dict[str, object]:
    """What the figures belong to."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return {
        "processor": f"{os.cpu_count()} x {model}",
        "memory_gib": memory,
        "kernel": platform.release(),
        "interpreter": f"{python} {version}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", sys.platform),
    }


def load() -> float:
    """Processes that wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def plain(summaries: Mapping[str, Summary]) -> dict[str, dict[str, float]]:
    """For JSON, with digits that mean something."""
    return {
        name: {key: round(value, 3) for key, value in asdict(summary).items()} for name, summary in summaries.items()
    }
