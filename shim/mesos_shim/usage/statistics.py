"""ResourceStatistics of a container, in Mesos' JSON names (include/mesos/mesos.proto)."""

import time

from .. import isolators
from ..containers import processes
from ..containers.counters import Counters
from ..containers.membership import Members, Seen
from ..containers.processes import Figures
from ..containers.registry import Entry
from ..errors import reason

_ATTEMPTS = 5


def of(entry: Entry, members: Members, counters: Counters) -> "dict[str, object]":
    """What the container uses now: seconds, bytes, counts."""
    figures, whole = _figures(entry, members)
    user = sum(item.user + item.children_user for item in figures.values())
    system = sum(item.system + item.children_system for item in figures.values())
    counted = counters.count(entry, (user, system), whole, members.of(entry))
    seen = Seen([item for item in members.of(entry) if not item.zombie], figures, counted)
    found: dict[str, object] = {
        "timestamp": round(time.time(), 3),
        "processes": len(seen.live),
        "threads": sum(figures[item.pid].threads for item in seen.live if item.pid in figures),
    }
    for _, isolator in isolators.reporting(entry.isolation):
        if hasattr(isolator, "report"):
            isolator.report(entry, seen, found)
    return found


def measure(entry: Entry, found: "dict[str, object]") -> "list[str]":
    """Add what takes its time to `found`; what is to be said where that cannot be had."""
    problems = []
    for name, isolator in isolators.reporting(entry.isolation):
        try:
            if hasattr(isolator, "measure"):
                isolator.measure(entry, found)
        except OSError as error:
            problems.append(f"{entry.container_id}: {name}: {reason(error)}")
        if hasattr(isolator, "exceeded"):
            problems += isolator.exceeded(entry, found)
    return problems


def _figures(entry: Entry, members: Members) -> "tuple[dict[int, Figures], bool]":
    """The figures of the members, read parents first, and whether none was missed.

    Parents first: a child that ends in between is then counted once, or missed and noticed. (The other way round it
    would be in its own figures and in its parent's.)
    """
    listed = members.of(entry)
    figures: dict[int, Figures] = {}
    for _ in range(_ATTEMPTS):
        found = {process.pid: processes.figures(process.pid) for process in listed}
        figures = {pid: item for pid, item in found.items() if item is not None}
        if len(figures) == len(listed):
            return figures, True
        listed = [process for process in listed if process.pid in figures]
    return figures, False
