"""Which process belongs to which container: by its cgroup, else its mount namespace, else by descent.

A pid alone proves nothing, it is given away again: a recorded process counts with its start time, the boot that it
was started in and the pid namespace that it was seen from. A mount namespace's inode is given away too, to the very
next launch: it counts only where the kernel's unique id says the same (Linux 6.11), or while a known member with its
start time still stands in it.
"""

import os

from ..record import boot_id, host_pid, pid_namespace
from ..registry import Entry
from . import processes
from .processes import Process

# What a container was seen to consist of at an earlier look: pids with their start times.
Known = "dict[str, list[tuple[int, float]]]"


class Members:
    """The processes of every container, by container id; a container with none has ended."""

    __slots__ = ("_first_lives", "by_id", "hidden", "table")

    def __init__(self, table: "dict[int, Process]") -> None:
        self.table = table
        self.by_id: dict[str, list[Process]] = {}
        # Containers of which nothing is seen, and which may run all the same: ids.
        self.hidden: set[str] = set()
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
        if not self.hidden:
            return []
        return [f"containers in other pid namespaces, of which nothing is seen from here: {len(self.hidden)}"]


def is_first(entry: Entry, process: "Process | None", boot: "str | None") -> bool:
    """Whether `process` is the recorded one, not another that was given its pid."""
    if process is None:
        return False
    if entry.start_time is not None and processes.LINUX:
        return process.start == entry.start_time and entry.boot_id in (None, boot)
    # No start time on record (macOS): the record was written by the process itself, so it was there already.
    return not processes.LINUX and process.start <= entry.written + 1


def find(entries: "list[Entry]", table: "dict[int, Process]", known: "dict[str, list[tuple[int, float]]]") -> Members:
    """Assign the processes of `table` to `entries`; `known` are members seen earlier."""
    boot = boot_id()
    foreign, gone = _foreign(entries, boot)
    near = [entry for entry in entries if entry.container_id not in foreign]
    members = Members(table)
    owners: dict[int, Entry] = {}
    for entry in sorted(near, key=lambda item: item.written):  # of two with one process, the inner one has it
        process = table.get(entry.pid)
        if process is not None and is_first(entry, process, boot):
            owners[entry.pid] = entry
            members.note_first(entry, process)
    firsts = dict(owners)
    for entry in near:
        if entry.boot_id in (None, boot):
            for pid, start in known.get(entry.container_id, ()):
                if pid in table and table[pid].start == start:
                    owners.setdefault(pid, entry)
    for pid, entry in _adopted(near, table, boot).items():
        owners.setdefault(pid, entry)
    namespaces = _Namespaces(entries, owners, boot)
    for entry in entries:
        for pid in _cgroup_members(entry):
            if pid in table and entry.boot_id in (None, boot):
                owners.setdefault(pid, entry)
    settled: dict[int, Entry | None] = {}
    for process in table.values():
        owner = _owner(process, table, owners, firsts, namespaces, settled)
        if owner is not None:
            members.by_id.setdefault(owner.container_id, []).append(process)
    for found in members.by_id.values():
        found.sort(key=lambda process: (process.start, process.pid))
    members.hidden = {name for name in foreign - gone if not members.by_id.get(name)}
    return members


# include/linux/proc_ns.h: the pid namespace of the boot, from which every process is seen.
_PID_NAMESPACE_OF_ALL = 0xEFFFFFFC


def _foreign(entries: "list[Entry]", boot: "str | None") -> "tuple[set[str], set[str]]":
    """Containers whose recorded pids are another pid namespace's than that of our /proc: here they mean nothing.

    And those of them whose namespace has ended, and they with it: root sees that from the topmost one.
    """
    if not any(entry.pid_namespace is not None for entry in entries):
        return set(), set()
    ours = pid_namespace(host_pid())
    found = {
        entry.container_id: entry.pid_namespace
        for entry in entries
        if entry.pid_namespace not in (None, ours) and entry.boot_id in (None, boot)
    }
    if found and ours == _PID_NAMESPACE_OF_ALL and os.geteuid() == 0:
        used = _pid_namespaces()
        return set(found), {name for name, namespace in found.items() if namespace not in used}
    return set(found), set()


def _pid_namespaces() -> "set[int]":
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}/ns/pid").st_ino)
            except OSError:
                continue  # a zombie has none
    return found


def _adopted(entries: "list[Entry]", table: "dict[int, Process]", boot: "str | None") -> "dict[int, Entry]":
    """Children of a container's supervisor, which adopts its orphans (supervise.py).

    Those that it had before it launched the container, in the life before its own exec, are older.
    """
    supervisors: dict[int, Entry] = {}
    for entry in entries:
        if entry.supervisor is not None and entry.boot_id in (None, boot):
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
    namespaces: "_Namespaces",
    settled: "dict[int, Entry | None]",
) -> "Entry | None":
    """The container of `process`, found by walking up to an ancestor whose own is settled, then down again."""
    way = []
    here: Process | None = process
    while here is not None and here.pid not in settled:
        settled[here.pid] = None  # also ends a circle in a table that changed while it was read
        way.append(here)
        parent = table.get(here.parent)
        here = parent if parent is not None and parent.start <= here.start else None
    inherited = settled[here.pid] if here is not None else None
    for step in reversed(way):
        own = owners.get(step.pid)
        if own is None:
            own = namespaces.owner(step.pid)
            if own is not None and own.supervisor == (step.pid, step.start):
                own = None  # a 1.x agent's helper stands in its container's view, and is none of its processes
            # A container that joined another's namespace (DEBUG) keeps its own descendants.
            if inherited is not None and (own is None or namespaces.share(inherited, own, firsts)):
                own = inherited
        settled[step.pid] = inherited = own
    return settled[process.pid]


class _Namespaces:
    """Containers by their mount namespaces."""

    def __init__(self, entries: "list[Entry]", owners: "dict[int, Entry]", boot: "str | None") -> None:
        self._by_inode: dict[int, list[Entry]] = {}
        self._boot = boot
        self._standing: set[tuple[int, str]] = set()
        for entry in entries:
            if "mnt" in entry.namespaces:
                self._by_inode.setdefault(entry.namespaces["mnt"], []).append(entry)
        for pid, entry in owners.items():
            if "mnt" in entry.namespaces and inode(pid) == entry.namespaces["mnt"]:
                self._standing.add((entry.namespaces["mnt"], entry.container_id))

    def owner(self, pid: int) -> "Entry | None":
        """The container in whose mount namespace the process is."""
        if not self._by_inode:
            return None
        number = inode(pid)
        for entry in self._by_inode.get(number or 0, ()):
            unique = entry.namespaces.get("mnt_id")
            if unique is not None:
                if unique_id(pid) == unique:
                    return entry
            elif entry.boot_id in (None, self._boot) and (number, entry.container_id) in self._standing:
                return entry
        return None

    def share(self, one: Entry, other: Entry, firsts: "dict[int, Entry]") -> bool:
        """Whether the container `one`, which has no namespace of its own, runs in that of `other`."""
        if one is other or "mnt" in one.namespaces:
            return False
        return one.pid in firsts and inode(one.pid) == other.namespaces.get("mnt")


def inode(pid: int) -> "int | None":
    """The inode of the process's mount namespace, None where it may not be seen."""
    try:
        text = os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None
    digits = text[5:-1]  # mnt:[4026531841]
    return int(digits) if digits.isdigit() else None


def unique_id(pid: int) -> "int | None":
    """The kernel's never reused id of the process's mount namespace, None where there is none to be had."""
    from .. import linux

    try:
        fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return linux.mount_namespace_id(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


def _cgroup_members(entry: Entry) -> "set[int]":
    """Every process in the container's cgroups and in those that it made below them."""
    if not entry.cgroups:
        return set()
    found: set[int] = set()
    for directory in set(entry.cgroups.values()):
        for path, _, _ in os.walk(directory):
            try:
                with open(f"{path}/cgroup.procs", "rb") as file:
                    found.update(int(line) for line in file.read().split())
            except (OSError, ValueError):
                continue
    found.discard(0)  # a process of a pid namespace that is not ours to see
    return found
