"""Which process belongs to which container: by its cgroup, else its mount namespace, else by descent.

A pid alone proves nothing, it is given away again: a recorded process counts with its start time, the boot that it
was started in and the pid namespace that it was seen from. A mount namespace's inode is given away too, to the very
next launch: it counts only where the kernel's unique id says the same (Linux 6.11), or while a known member with its
start time still stands in it.

There are three answers: a container runs, it has ended, or that cannot be told from here (`Members.hidden`, which says
why). Whoever deletes something, or gives an id away, needs the second one.
"""

import os
from typing import NamedTuple

from . import processes, standing
from .processes import Figures, Process
from .registry import Entry
from .sight import FIRST_PIDS, Sight, current_sight

# What a container was seen to consist of at an earlier look: pids with their start times.
Known = "dict[str, list[tuple[int, float]]]"


class Members:
    """The processes of every container, by container id; a container with none has ended."""

    __slots__ = ("_first_lives", "by_id", "hidden", "table")

    def __init__(self, table: "dict[int, Process]") -> None:
        self.table = table
        self.by_id: dict[str, list[Process]] = {}
        # Containers of which nothing is seen, and which may run all the same: by id, why that cannot be told.
        self.hidden: dict[str, str] = {}
        self._first_lives: set[str] = set()

    def of(self, entry: Entry) -> "list[Process]":
        """The members of one container, zombies included, parents before children."""
        return self.by_id.get(entry.container_id, [])

    def alive(self, entry: Entry) -> bool:
        """Whether anything of the container still runs."""
        # Two records can name one process (`mesos-shim run` in a container): it is one's, and the life of both.
        return entry.container_id in self._first_lives or any(not process.zombie for process in self.of(entry))

    def ended(self, entry: Entry) -> bool:
        """Whether nothing of the container runs, and that can be told."""
        return not self.alive(entry) and entry.container_id not in self.hidden

    def one(self, entry: Entry) -> Process:
        """A live process of a container that is alive: the recorded one, else the eldest."""
        if entry.container_id in self._first_lives:
            return self.table[entry.pid]
        return next(process for process in self.of(entry) if not process.zombie)

    def note_first(self, entry: Entry, process: Process) -> None:
        """The recorded process of the container is still there."""
        if not process.zombie:
            self._first_lives.add(entry.container_id)

    def unseen(self) -> "list[str]":
        """What is to be said of containers of which nothing can be told, as warnings."""
        by_reason: dict[str, list[str]] = {}
        for name in sorted(self.hidden):
            by_reason.setdefault(self.hidden[name], []).append(name)
        warnings = []
        for why, names in by_reason.items():
            if why == OTHER_PIDS:
                warnings.append(f"containers in other pid namespaces, which are not visible from here: {len(names)}")
                continue
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            warnings.append(f"cannot find out from here whether {', '.join(names[:_NAMED])}{more} still run: {why}")
        return warnings


# Of so many the ids are said.
_NAMED = 5
OTHER_PIDS = "another pid namespace's, of which nothing is seen from here"


def same_boot(entry: Entry, boot: "str | None") -> bool:
    """Whether the record may be of this boot: a boot whose id cannot be read is not another one."""
    return None in (entry.boot_id, boot) or entry.boot_id == boot


def is_first(entry: Entry, process: "Process | None", boot: "str | None") -> bool:
    """Whether `process` is the recorded one, not another that was given its pid."""
    if process is None:
        return False
    if entry.start_time is not None and processes.LINUX:
        return process.start == entry.start_time and same_boot(entry, boot)
    # No start time on record (macOS): the record was written by the process itself, so it was there already.
    return not processes.LINUX and process.start <= entry.written + 1


def find(
    entries: "list[Entry]", table: "dict[int, Process]", previous: "dict[str, list[tuple[int, float]]]"
) -> Members:
    """Assign the processes of `table` to `entries`; `previous` are members seen earlier."""
    sight = current_sight()
    boot = sight.boot
    near = [entry for entry in entries if sight.counts_pids_of(entry.pid_namespace)]
    members = Members(table)
    owners: dict[int, Entry] = {}
    for entry in sorted(near, key=lambda item: item.written):  # of two with one process, the inner one has it
        process = table.get(entry.pid)
        if process is not None and is_first(entry, process, boot):
            owners[entry.pid] = entry
            members.note_first(entry, process)
    firsts = dict(owners)
    for entry in near:
        if same_boot(entry, boot):
            for pid, start in previous.get(entry.container_id, ()):
                if pid in table and table[pid].start == start:
                    owners.setdefault(pid, entry)
    for pid, entry in _adopted(near, table, boot).items():
        owners.setdefault(pid, entry)
    namespaces = standing.Namespaces(entries, owners, boot, same_boot)
    groups = standing.Groups()
    for entry in entries:
        for pid in groups.members(entry):
            if pid in table and same_boot(entry, boot):
                owners.setdefault(pid, entry)
    resolved: dict[int, Entry | None] = {}
    for process in table.values():
        owner = _owner(process, table, owners, firsts, namespaces, resolved)
        if owner is not None:
            members.by_id.setdefault(owner.container_id, []).append(process)
    for found in members.by_id.values():
        found.sort(key=lambda process: (process.start, process.pid))
    _doubt(entries, members, sight, namespaces, groups)
    return members


def _doubt(
    entries: "list[Entry]", members: Members, sight: Sight, namespaces: standing.Namespaces, groups: standing.Groups
) -> None:
    """Of containers of which nothing is seen to live: whether that says that they have ended."""
    used: standing.PidNamespaces | None = None
    for entry in entries:
        if members.alive(entry):
            continue
        why = sight.hiding
        if why is None and not sight.counts_pids_of(entry.pid_namespace):
            if used is None:
                used = standing.PidNamespaces(members.table, sight.pids == FIRST_PIDS and os.geteuid() == 0)
            why = OTHER_PIDS if used.may_hold(entry) else None
        elif why is None:
            why = _doubt_of_first(entry, members.table.get(entry.pid), sight)
        why = why or namespaces.doubt(entry) or groups.doubt(entry)
        if why is not None:
            members.hidden[entry.container_id] = why


def _doubt_of_first(entry: Entry, process: "Process | None", sight: Sight) -> "str | None":
    """Whether the process with the recorded pid, which is not taken for the recorded one, may be it all the same."""
    if process is None or process.zombie or not processes.LINUX:
        return None
    if not sight.counts_time_of(entry.time_namespace):
        return "its start time was recorded in another time namespace"
    if process.start == entry.start_time:
        return f"pid {entry.pid} started when it did, though another boot is recorded"
    return None


def _adopted(entries: "list[Entry]", table: "dict[int, Process]", boot: "str | None") -> "dict[int, Entry]":
    """Children of a container's supervisor, which adopts its orphans (launch/supervisor.py).

    Those that it had before it launched the container, in the life before its own exec, are older.
    """
    supervisors: dict[int, Entry] = {}
    for entry in entries:
        if entry.supervisor is not None and same_boot(entry, boot):
            pid, start = entry.supervisor
            if pid in table and table[pid].start == start:
                supervisors[pid] = entry
    found = {}
    for process in table.values():
        adopter = supervisors.get(process.parent)
        if adopter is not None and process.start >= (adopter.start_time or 0):
            found[process.pid] = adopter
    return found


def _owner(
    process: Process,
    table: "dict[int, Process]",
    owners: "dict[int, Entry]",
    firsts: "dict[int, Entry]",
    namespaces: "standing.Namespaces",
    resolved: "dict[int, Entry | None]",
) -> "Entry | None":
    """The container of `process`, found by walking up to an ancestor whose own is settled, then down again."""
    way = []
    here: Process | None = process
    while here is not None and here.pid not in resolved:
        resolved[here.pid] = None  # also ends a circle in a table that changed while it was read
        way.append(here)
        parent = table.get(here.parent)
        here = parent if parent is not None and parent.start <= here.start else None
    inherited = resolved[here.pid] if here is not None else None
    for step in reversed(way):
        own = owners.get(step.pid)
        if own is None:
            own = namespaces.owner(step)
            if own is not None and own.supervisor == (step.pid, step.start):
                own = None  # a 1.x agent's helper stands in its container's namespace, and is none of its processes
            # A container that joined another's namespace (DEBUG) keeps its own descendants.
            if inherited is not None and (own is None or namespaces.share(inherited, own, firsts)):
                own = inherited
        resolved[step.pid] = inherited = own
    return resolved[process.pid]


class Seen(NamedTuple):
    """What one look saw of a container: its live processes, all members' figures, seconds of CPU (user, system)."""

    live: "list[Process]"
    figures: "dict[int, Figures]"
    cpu: "list[float]"
