"""Where processes stand: in which mount namespaces, pid namespaces and control groups, as far as that is shown.

Each answer has its doubt: what may not be looked at (without CAP_SYS_PTRACE, for example) is not empty.
"""

import os
from typing import Callable, Iterator, Optional

from ..system import syscalls, unmapped
from ..system.cgroups import MAX_GROUPS
from ..system.paths import is_number
from .processes import Process
from .registry import Entry

# Given for a process into which we may not look.
UNREADABLE = -1
# Of every container that it does not begin itself it is older, and it never leaves its namespaces for one.
_INIT = 1
_KERNELS = (0x27E0EB, 0x63677270)  # include/uapi/linux/magic.h: cgroup, cgroup2


def _links(pid: int, kind: str) -> "Iterator[str]":
    """The links of /proc that lead to the process's namespace; where its main thread has ended, other threads'."""
    yield f"/proc/{pid}/ns/{kind}"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        yield f"/proc/{pid}/task/{thread}/ns/{kind}"


def namespace(pid: int, kind: str) -> "int | None":
    """The inode of the process's namespace of that kind, None where it has ended, UNREADABLE where nobody tells us."""
    found = next(filter(None, map(_number, _links(pid, kind))), None)
    if found == UNREADABLE and not _is_ours(pid) and unmapped.is_ordinary():
        return None  # another user's: none of an ordinary user's container
    return found


def _number(link: str) -> "int | None":
    try:
        text = os.readlink(link)
    except PermissionError:
        return UNREADABLE
    except OSError:
        return None
    digits = text.partition("[")[2][:-1]  # mnt:[4026531841]
    return int(digits) if is_number(digits) else UNREADABLE


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.geteuid()
    except OSError:
        return False


def inode(pid: int) -> "int | None":
    """The inode of the process's mount namespace, as `namespace`."""
    return namespace(pid, "mnt")


def unique_id(pid: int) -> "int | None":
    """The kernel's never reused id of the process's mount namespace, None where there is none to be had."""
    return next(filter(None, map(_unique_id, _links(pid, "mnt"))), None)


def _unique_id(link: str) -> "int | None":
    try:
        fd = os.open(link, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return syscalls.mount_namespace_id(fd)
    except OSError:
        return None
    finally:
        os.close(fd)


class Namespaces:
    """Containers by their mount namespaces."""

    def __init__(
        self,
        entries: "list[Entry]",
        owners: "dict[int, Entry]",
        boot: "Optional[str]",
        same_boot: "Callable[[Entry, Optional[str]], bool]",
    ) -> None:
        self._by_inode: dict[int, list[Entry]] = {}
        # Containers by (namespace, id) of whom a known member stands in it: so the number is theirs.
        self._standing: set[tuple[int, str]] = set()
        # Ids of containers in whose namespace, by its number alone, somebody stands; and of those who may not be asked
        # the start of the youngest: nobody is a container's who was there before it.
        self._doubtful: set[str] = set()
        self._unreadable = -1.0
        for entry in entries:
            if "mnt" in entry.namespaces:
                self._by_inode.setdefault(entry.namespaces["mnt"], []).append(entry)
        for pid, entry in owners.items():
            if "mnt" in entry.namespaces and inode(pid) == entry.namespaces["mnt"]:
                self._standing.add((entry.namespaces["mnt"], entry.container_id))
        self._this_boot = {entry.container_id for entry in entries if same_boot(entry, boot)}

    def owner(self, process: Process) -> "Entry | None":
        """The container in whose mount namespace the process is."""
        if not self._by_inode:
            return None
        pid = process.pid
        number = inode(pid)
        if number == UNREADABLE and pid != _INIT:
            self._unreadable = max(self._unreadable, process.start)
        doubtful = []
        for entry in self._by_inode.get(number or 0, ()):
            unique = entry.namespaces.get("mnt_id")
            if unique is not None:
                found = unique_id(pid)
                if found == unique:
                    return entry
                # One that has just ended has none to tell, and is nobody's any more.
                if found is None and inode(pid) in (number, UNREADABLE):
                    doubtful.append(entry.container_id)
            elif entry.container_id in self._this_boot:
                if (number, entry.container_id) in self._standing:
                    return entry
                doubtful.append(entry.container_id)
        self._doubtful.update(doubtful)
        return None

    def doubt(self, entry: Entry) -> "str | None":
        """Why nobody seen in the container's namespace does not say that nobody is in it."""
        if "mnt" not in entry.namespaces:
            return None
        if entry.container_id in self._doubtful:
            return "a process stands in a mount namespace of its number, and the kernel does not say whether in its own"
        if self._unreadable >= (entry.start_time or 0):
            return "we may not ask every process for its mount namespace (CAP_SYS_PTRACE)"
        return None

    def share(self, one: Entry, other: Entry, firsts: "dict[int, Entry]") -> bool:
        """Whether the container `one`, which has no namespace of its own, runs in that of `other`."""
        if one is other or "mnt" in one.namespaces:
            return False
        return one.pid in firsts and inode(one.pid) == other.namespaces.get("mnt")


class PidNamespaces:
    """The pid namespaces that are in use; `all_seen` from the first one, by root."""

    def __init__(self, table: "dict[int, Process]", all_seen: bool) -> None:
        self._all_seen = all_seen
        self._used: set[int | None] = set()
        self._unreadable = -1.0
        for process in table.values() if all_seen else ():
            number = namespace(process.pid, "pid")
            self._used.add(number)
            if number == UNREADABLE and process.pid != _INIT:
                self._unreadable = max(self._unreadable, process.start)

    def may_hold(self, entry: Entry) -> bool:
        """Whether there may be a process in the container's namespace."""
        number = entry.pid_namespace
        if not self._all_seen or number is None or number in self._used:
            return True
        return self._unreadable >= (entry.start_time or 0)


class Groups:
    """The processes in containers' control groups."""

    def __init__(self) -> None:
        self._doubts: dict[str, str] = {}

    def doubt(self, entry: Entry) -> "str | None":
        """Why nobody seen in the container's groups does not say that they are empty."""
        return self._doubts.get(entry.container_id)

    def members(self, entry: Entry) -> "set[int]":
        """Every process in the container's cgroups and in those that it made below them."""
        found: set[int] = set()
        for directory in set(entry.cgroups.values()):
            problem = _collect(directory, found)
            if problem is not None:
                self._doubts[entry.container_id] = f"its cgroup {directory}: {problem}"
        if 0 in found:
            found.discard(0)
            self._doubts[entry.container_id] = "a process of another pid namespace is in its cgroup"
        return found


def _collect(directory: str, found: "set[int]") -> "str | None":
    """Add the pids of the group and of those below it; why there may be others."""
    if not os.path.exists(directory):
        return None if _on_cgroups(directory) else "no cgroups are mounted there"
    number = 0
    problem: str | None = None

    def note(error: OSError) -> None:
        nonlocal problem
        if not isinstance(error, FileNotFoundError):
            problem = error.strerror

    for path, _, _ in os.walk(directory, onerror=note):
        number += 1
        if number > MAX_GROUPS:
            return f"more than {MAX_GROUPS} groups in it"
        try:
            with open(f"{path}/cgroup.procs", "rb") as file:
                found.update(int(line) for line in file.read().split())
        except FileNotFoundError:
            continue  # removed meanwhile, as only an empty group can be
        except OSError as error:
            problem = error.strerror  # of a threaded group: it has members that it does not list (cgroups(7))
    return problem


def _on_cgroups(path: str) -> bool:
    """Whether what is left of the way to `path` is on a hierarchy of cgroups: then the group itself has gone."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    try:
        fd = os.open(path, syscalls.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return syscalls.file_system_type(fd) in _KERNELS
    except OSError:
        return False
    finally:
        os.close(fd)
