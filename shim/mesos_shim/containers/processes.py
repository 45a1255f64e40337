"""The host's processes: who they are (one pass for all), and what single ones of them use.

On Linux the pass reads /proc/PID/stat itself: 7 µs a process, where psutil needs 200. What members use is read by
psutil, elsewhere both. Without psutil on Linux the same file gives the same figures.
"""

import os
import sys
from types import ModuleType
from typing import NamedTuple, Optional

from ..errors import ShimError
from ..system import files, proc
from ..system.paths import is_number

LINUX = sys.platform == "linux"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

NO_PSUTIL = "psutil is missing: install it beside mesos_shim (lib/psutil of the release), or by the system's packages"


class Process(NamedTuple):
    """A process as the pass found it. `start`: clock ticks since boot on Linux, seconds since 1970 elsewhere.

    One whose main thread has ended while others run is no zombie, though its state says so (pthread_exit(3) in main).
    """

    pid: int
    parent: int
    start: float
    zombie: bool


class Figures(NamedTuple):
    """What a process has used: seconds, its waited-for children's included in `children_…`; bytes; threads."""

    user: float
    system: float
    children_user: float
    children_system: float
    rss: int
    threads: int


def table() -> "dict[int, Process]":
    """Every process of the host by its pid. Raises ShimError where nothing can read them."""
    return _linux_table() if LINUX else _psutil_table()


def _stat(pid: int) -> "Optional[list[bytes]]":
    """The fields of /proc/PID/stat from the third on (proc_pid_stat(5)), None where the process has gone."""
    try:
        fields = proc.stat(pid)
    except OSError:
        return None
    return fields if len(fields) > 21 else None


def _linux_table() -> "dict[int, Process]":
    found: dict[int, Process] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        names = []
    for name in names:
        if is_number(name):
            fields = _stat(int(name))
            if fields is not None:
                parent, start = int(fields[proc.PARENT]), int(fields[proc.START])
                found[int(name)] = Process(int(name), parent, start, proc.is_zombie(fields))
    if not found:
        raise ShimError("/proc shows no process: mount proc there")
    return found


def _psutil_table() -> "dict[int, Process]":
    psutil = psutil_module()
    if psutil is None:
        raise ShimError(NO_PSUTIL)
    found: dict[int, Process] = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                zombie = process.status() == "zombie"
                found[process.pid] = Process(process.pid, process.ppid() or 0, process.create_time(), zombie)
        except psutil.Error:
            continue
    return found


def psutil_module() -> "ModuleType | None":
    """psutil, where it can be loaded: one of another platform or Python, or half of one, is none."""
    try:
        import psutil
    except (ImportError, NotImplementedError, OSError):
        return None
    return psutil if hasattr(psutil, "Process") else None


def reader_warning() -> "str | None":
    """What is to be said where psutil is missing and /proc takes its place."""
    return None if psutil_module() is not None else f"{NO_PSUTIL}; reading /proc instead"


def figures(pid: int) -> "Optional[Figures]":
    """What the process has used, None where it has gone or may not be looked at."""
    psutil = psutil_module()
    return _psutil_figures(psutil, pid) if psutil is not None else _proc_figures(pid)


def _psutil_figures(psutil: ModuleType, pid: int) -> "Optional[Figures]":
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            rss = process.memory_info().rss
            threads = process.num_threads()
    except psutil.Error:
        return None
    children = (getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0))
    return Figures(times.user, times.system, *children, rss, threads)


def _proc_figures(pid: int) -> "Optional[Figures]":
    fields = _stat(pid)
    # The size in stat is not kept up to date (proc_pid_stat(5)).
    sizes = (files.read_start(f"/proc/{pid}/statm", 4096) or b"").split()
    if fields is None or len(sizes) < 2:
        return None
    user, system, children_user, children_system = (int(field) / _TICKS for field in fields[proc.CPU])
    return Figures(user, system, children_user, children_system, int(sizes[1]) * _PAGE, int(fields[proc.THREADS]))
