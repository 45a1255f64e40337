"""ResourceStatistics of a container, in Mesos' JSON names (include/mesos/mesos.proto)."""

import time

from ..registry import Entry
from . import disk, processes
from .counters import Counters
from .membership import Members
from .processes import Figures

_ATTEMPTS = 5


def of(entry: Entry, members: Members, counters: Counters) -> "dict[str, object]":
    """What the container uses now: seconds, bytes, counts."""
    found: dict[str, object] = {"timestamp": round(time.time(), 3)}
    figures, whole = _figures(entry, members)
    live = [item for item in members.of(entry) if not item.zombie]
    found["processes"] = len(live)
    found["threads"] = sum(item.threads for pid, item in figures.items() if not members.table[pid].zombie)
    user = sum(item.user + item.children_user for item in figures.values())
    system = sum(item.system + item.children_system for item in figures.values())
    counted = counters.count(entry, (user, system), whole, members.of(entry))
    found["cpus_user_time_secs"], found["cpus_system_time_secs"] = (round(item, 3) for item in counted)
    if entry.cpus is not None:
        found["cpus_limit"] = entry.cpus
    found["mem_rss_bytes"] = sum(item.rss for item in figures.values())
    if entry.mem is not None:
        found["mem_limit_bytes"] = int(entry.mem * (1 << 20))
    if "disk/du" in entry.isolation:
        used = disk.used(entry.sandbox)
        if used is not None:
            found["disk_used_bytes"] = used
    return found


def _figures(entry: Entry, members: Members) -> "tuple[dict[int, Figures], bool]":
    """The figures of the members, read parents first: a child that ends is then counted once, or missed and noticed.

    (Child first, and one that ends in between would be in its own figures and in its parent's.)
    """
    listed = members.of(entry)
    figures: dict[int, Figures] = {}
    for _ in range(_ATTEMPTS):
        figures = {}
        gone = set()
        for process in listed:
            found = processes.figures(process.pid)
            if found is None:
                gone.add(process.pid)
            else:
                figures[process.pid] = found
        if not gone:
            return figures, True
        listed = [process for process in listed if process.pid not in gone]
    return figures, False
