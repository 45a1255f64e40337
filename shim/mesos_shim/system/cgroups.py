"""The kernel's control groups of both versions: found, read, written, joined, removed.

Each controller lives in one hierarchy: its own (version 1) or the unified one (version 2), both on one host where it is
a hybrid. Sources: cgroups(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

import _signal
import errno
import posix
from _stat import S_ISDIR

from ..errors import ShimError, reason
from . import files, paths, proc

if False:  # for the type checker alone: no launch imports typing
    from typing import Iterable

    from . import mountinfo

DIRECTORY = "mesos-shim"
_WRITE = posix.O_WRONLY | posix.O_CLOEXEC
_RETRIES = 50
# Of one container: its user may be allowed to make groups in it.
MAX_GROUPS = 20_000


class Hierarchy:
    """Where a controller is: version 1 or 2, the mount point, and our own group below it ("/" is the top)."""

    __slots__ = ("controller", "mount", "own", "version")

    def __init__(self, controller: str, version: int, mount: str, own: str) -> None:
        self.controller = controller
        self.version = version
        self.mount = mount
        self.own = own

    def directory(self, group: str) -> str:
        """The directory of `group`."""
        return self.mount + (group if group != "/" else "")


class Unavailable(ShimError):
    """This host, or where the launch stands on it, has no such group to give."""


def read(path: str) -> str:
    """A file of the kernel's. Raises OSError."""
    return files.read_file(path).decode("utf-8", "surrogateescape")


def find(controller: str) -> Hierarchy:
    """The hierarchy that has `controller`. Raises Unavailable where there is none."""
    from . import mountinfo  # most launches ask for no group

    try:
        mounts = mountinfo.read()
        groups = read("/proc/self/cgroup")
    except OSError as error:
        raise Unavailable(f"/proc/self: {reason(error)}") from None
    return find_in(controller, mounts, groups)


def find_in(controller: str, mounts: "Iterable[mountinfo.Line]", groups: str) -> Hierarchy:
    """As `find`, among these mounts, by the text of proc_pid_cgroup(5)."""
    unified: tuple[str, str] | None = None
    for mount in mounts:
        if mount.kind == "cgroup" and controller in mount.super_options:
            return Hierarchy(controller, 1, mount.path, _own(groups, controller, mount.root))
        if mount.kind == "cgroup2" and unified is None:
            unified = (mount.path, mount.root)
    if unified is None:
        raise Unavailable(f"no cgroup hierarchy with {controller} is mounted")
    return Hierarchy(controller, 2, unified[0], _own(groups, "", unified[1]))


def _own(groups: str, controller: str, root: str) -> str:
    """Our group, as a path below a mount whose own root is the group `root`."""
    for line in filter(None, groups.split("\n")):
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            if root == "/":
                return path
            if path == root:
                return "/"
            if paths.is_below(path, root):
                return path[len(root) :]
            raise Unavailable(f"this process's cgroup {path} is outside the mounted hierarchy ({root})")
    raise Unavailable(f"/proc/self/cgroup names no group for {controller or 'version 2'}")


def name_for(container_id: str) -> str:
    """What this process calls the groups of a container that it launches."""
    return f"{container_id[:150]}@{posix.getpid()}-{proc.start_time('self') or 0}"


def maker(name: str) -> "tuple[int, int] | None":
    """Pid and start time of the process that made the group `name`, None for a name that is not ours."""
    pid, dash, start = name.rpartition("@")[2].partition("-")
    if "@" in name and dash and paths.is_number(pid) and paths.is_number(start):
        return int(pid), int(start)
    return None


def make_directory(path: str) -> None:
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        pass


def write(path: str, text: str) -> None:
    """One value into a file of the kernel's. Raises OSError."""
    fd = posix.open(path, _WRITE)
    try:
        posix.write(fd, text.encode("ascii"))
    finally:
        posix.close(fd)


def join(directories: "list[str]") -> None:
    """Put this process into the groups. Raises ShimError."""
    for directory in directories:
        try:
            write(f"{directory}/cgroup.procs", "0")
        except OSError as error:
            raise ShimError(f"joining the cgroup {directory}: {reason(error)}") from None


def remove(directories: "list[str]") -> "list[str]":
    """Remove the groups and what was made below them, as far as they are empty; those that stay.

    The kernel itself refuses to remove a group with processes, so nothing that lives is touched.
    """
    stay = []
    for directory in directories:
        if not _remove(directory):
            stay.append(directory)
    return stay


def tree(directory: str) -> "list[str]":
    """The group and all below it, outer before inner.

    A list, not a recursion: whoever may make groups may nest them deeper than Python calls. Nor are more than
    MAX_GROUPS looked at: the kernel refuses to remove a group around those that are left.
    """
    pending = [directory]
    found: list[str] = []
    while pending and len(found) < MAX_GROUPS:
        here = pending.pop()
        found.append(here)
        try:
            pending.extend(f"{here}/{name}" for name in posix.listdir(here) if _is_directory(f"{here}/{name}"))
        except OSError:
            continue  # gone meanwhile, or rmdir will say
    return found


def _remove(directory: str) -> bool:
    gone = [_rmdir(here) for here in reversed(tree(directory))]
    return all(gone)


def _rmdir(directory: str) -> bool:
    for _ in range(_RETRIES):
        try:
            posix.rmdir(directory)
            return True
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY or _members(directory):
                return False
        # The last process has ended, but its group does not know it yet: a few milliseconds.
        _signal.sigtimedwait((), 0.002)
    return False


def empty(directory: str) -> bool:
    """Whether nobody is in the group or in one below it, of which more than MAX_GROUPS are not looked at."""
    pending, seen = [directory], 0
    while pending:
        here = pending.pop()
        seen += 1
        if seen > MAX_GROUPS:
            return False
        try:
            if read(f"{here}/cgroup.procs").split():
                return False
            pending.extend(f"{here}/{name}" for name in posix.listdir(here) if _is_directory(f"{here}/{name}"))
        except OSError:
            if files.exists(here):
                return False
    return True


def _members(directory: str) -> bool:
    try:
        return bool(read(f"{directory}/cgroup.procs").split())
    except OSError:
        return True


def _is_directory(path: str) -> bool:
    try:
        return S_ISDIR(posix.lstat(path).st_mode)
    except OSError:
        return False


def values(path: str) -> "dict[str, int]":
    """The `name number` lines of a file such as cpu.stat; empty where it cannot be read."""
    found = {}
    try:
        for line in read(path).splitlines():
            name, _, value = line.partition(" ")
            if paths.is_number(value):
                found[name] = int(value)
    except OSError:
        pass
    return found


def number(path: str) -> "int | None":
    """The number in a file such as memory.current; None where there is none ("max")."""
    try:
        text = read(path).strip()
    except OSError:
        return None
    return int(text) if paths.is_number(text) else None
