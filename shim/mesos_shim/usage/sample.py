"""One look at all containers."""

from typing import NamedTuple

from ..containers import membership, processes, registry
from ..containers.counters import Counters
from ..containers.registry import Entry
from ..errors import unexpected
from . import statistics


class Used(NamedTuple):
    """A running container and its ResourceStatistics, empty where nobody asked for them."""

    entry: Entry
    statistics: "dict[str, object]"

    def public(self) -> "dict[str, object]":
        """What `usage --format json` prints of it."""
        return {**self.entry.public(), "statistics": self.statistics}


class Sample(NamedTuple):
    """What one look found: running containers, ids of records whose container has ended, warnings."""

    used: "list[Used]"
    ended: "list[str]"
    warnings: "list[str]"


def running(state: str) -> Sample:
    """Which containers run of those whose record is in `state`, without what they use. Raises ShimError."""
    entries, warnings = registry.read_all(state)
    previous = Counters(state, locked=False).previous_members(entries)
    members = membership.find(entries, processes.table() if entries else {}, previous)
    ended = [entry.container_id for entry in entries if members.ended(entry)]
    return Sample([Used(entry, {}) for entry in entries if members.alive(entry)], ended, warnings + members.unseen())


def take(state: str) -> Sample:
    """Look at every container whose record is in `state`. Raises ShimError where nothing can be read."""
    entries, warnings = registry.read_all(state)
    counters = Counters(state)
    try:
        members = membership.find(entries, processes.table(), counters.previous_members(entries))
        used, ended = [], []
        for entry in entries:
            if members.alive(entry):
                try:
                    used.append(Used(entry, statistics.of(entry, members, counters)))
                except Exception as error:  # whatever it is, the others are counted
                    warnings.append(f"{entry.container_id}: not counted: {unexpected(error)}")
                    counters.keep(entry)
            elif members.ended(entry):
                ended.append(entry.container_id)
            else:
                counters.keep(entry)
    finally:
        counters.save()
    # Not under the counters' lock, for which others wait: a disk can be large.
    for item in used:
        warnings += statistics.measure(item.entry, item.statistics)
    warnings += members.unseen()
    for warning in (counters.warning, processes.reader_warning() if used else None):
        if warning is not None:
            warnings.append(warning)
    return Sample(used, ended, warnings)
