"""cgroups/cpu: a share and a quota of the CPU, and exact accounts of it, by control groups.

The share orders containers among each other where CPUs are short; the quota makes what a task was given all that it
gets. Without a limit the group only accounts.
"""

from ..plan.model import Draft
from ..spec.request import LaunchRequest
from ..system import cgroups
from . import groups

if False:  # for the type checker alone: no launch imports typing
    from ..containers.membership import Seen
    from ..containers.registry import Entry

PERIOD_USECS = 100_000
_MIN_QUOTA_USECS = 1000  # the kernel's, kernel/sched/core.c
_TICKS_PER_SECOND = "SC_CLK_TCK"


def missing(request: LaunchRequest) -> "str | None":
    """Why this host gives no CPU group, None if it does."""
    return groups.why_missing(request, "cpu")


def where() -> str:
    """Where the container's group would be."""
    return groups.where("cpu")


def add(request: LaunchRequest, plan: Draft) -> None:
    """The container's group in the hierarchies of cpu and, where version 1 has that apart, cpuacct."""
    cpus = plan.limits.get("cpus")
    groups.add(request, plan, "cpu", _shares(cpus), _weight(cpus))
    if groups.why_missing(request, "cpuacct") is not None:
        return  # version 2 has none: its cpu.stat counts
    agents = [group for group in plan.cgroups if "cpu" in group.controllers and not group.ours]
    if not agents or groups.agents_own(request, cgroups.find("cpuacct")):
        groups.add(request, plan, "cpuacct", [], [])


def _shares(cpus: "float | None") -> "list[tuple[str, str]]":
    """Version 1: 1024 shares a CPU, as Mesos gives them (src/linux/cgroups, at least 2)."""
    if cpus is None:
        return []
    return [
        ("cpu.shares", str(max(2, int(cpus * 1024)))),
        ("cpu.cfs_period_us", str(PERIOD_USECS)),
        ("cpu.cfs_quota_us", str(_quota(cpus))),
    ]


def _weight(cpus: "float | None") -> "list[tuple[str, str]]":
    """Version 2: 100 a CPU, from 1 to 10000: that is a group's default, as 1024 shares are in version 1."""
    if cpus is None:
        return []
    return [
        ("cpu.weight", str(min(10000, max(1, int(cpus * 100))))),
        ("cpu.max", f"{_quota(cpus)} {PERIOD_USECS}"),
    ]


def _quota(cpus: float) -> int:
    return max(_MIN_QUOTA_USECS, int(cpus * PERIOD_USECS))


def report(entry: "Entry", seen: "Seen", found: "dict[str, object]") -> None:
    """Seconds and periods as the kernel counts them: processes that have ended are in it."""
    directory = entry.cgroups.get("cpu")
    if directory is None:
        return
    stat = cgroups.values(f"{directory}/cpu.stat")
    if "user_usec" in stat:
        found["cpus_user_time_secs"] = stat["user_usec"] / 1e6
        found["cpus_system_time_secs"] = stat.get("system_usec", 0) / 1e6
    else:
        _report_cpuacct(entry.cgroups.get("cpuacct", directory), found)
    if "nr_periods" in stat:
        found["cpus_nr_periods"] = stat["nr_periods"]
        found["cpus_nr_throttled"] = stat.get("nr_throttled", 0)
        nanoseconds = stat.get("throttled_time", stat.get("throttled_usec", 0) * 1000)
        found["cpus_throttled_time_secs"] = nanoseconds / 1e9


def _report_cpuacct(directory: str, found: "dict[str, object]") -> None:
    import posix

    stat = cgroups.values(f"{directory}/cpuacct.stat")
    if "user" in stat:
        ticks = posix.sysconf(_TICKS_PER_SECOND)
        found["cpus_user_time_secs"] = stat["user"] / ticks
        found["cpus_system_time_secs"] = stat.get("system", 0) / ticks
