"""Control groups of both versions, as far as a container needs them: found, made, joined, read, removed.

Each controller lives in one hierarchy: its own (version 1) or the unified one (version 2), both on one host where it is
a hybrid. A container's group is made below the group that the launch runs in, in a directory `mesos-shim`, and is
called `<container id>@<pid>-<start time>` after the process that made it: so gc knows whose it was without a record.

Sources: cgroups(7), Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst, systemd's CGROUP_DELEGATION.md.
"""

import _signal
import posix

from ..containers import record
from ..errors import ShimError, reason
from ..plan.model import Plan
from ..spec.request import LaunchRequest
from ..system import paths

DIRECTORY = "mesos-shim"
_SYSTEMD = "/run/systemd/system"  # sd_booted(3)
_EBUSY = 16
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


class Leaf:
    """The group that a container will get in one hierarchy; or the one that the agent has put it into (not `ours`)."""

    __slots__ = ("controllers", "delegate", "directory", "ours", "settings", "step_aside", "version")

    def __init__(self, version: int, base: str, name: str) -> None:
        self.version = version
        self.ours = True
        # The group below which it is made: there, and in `mesos-shim` below it, version 2 must switch controllers on.
        self.delegate = base
        # Whether we are the only process in it, and must step aside for that.
        self.step_aside = False
        self.directory = f"{base}/{DIRECTORY}/{name}"
        self.controllers: list[str] = []
        self.settings: list[tuple[str, str]] = []


class Unavailable(ShimError):
    """This host, or where the launch stands on it, has no such group to give."""


def read(path: str, limit: int = 1 << 20) -> str:
    """A file of the kernel's. Raises OSError."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        chunks = []
        while True:
            chunk = posix.read(fd, 65536)
            chunks.append(chunk)
            if not chunk or sum(map(len, chunks)) > limit:
                return b"".join(chunks).decode("utf-8", "surrogateescape")
    finally:
        posix.close(fd)


def find(controller: str) -> Hierarchy:
    """The hierarchy that has `controller`. Raises Unavailable where there is none."""
    try:
        mounts = read("/proc/self/mountinfo")
        groups = read("/proc/self/cgroup")
    except OSError as error:
        raise Unavailable(f"/proc/self: {reason(error)}") from None
    return find_in(controller, mounts, groups)


def find_in(controller: str, mountinfo: str, groups: str) -> Hierarchy:
    """As `find`, from the texts of proc_pid_mountinfo(5) and proc_pid_cgroup(5)."""
    unified: tuple[str, str] | None = None
    for line in mountinfo.splitlines():
        words = line.split(" ")
        tail = words[words.index("-") + 1 :] if "-" in words else []
        if len(tail) < 3:
            continue
        if tail[0] == "cgroup" and controller in tail[2].split(","):
            return Hierarchy(controller, 1, words[4], _own(groups, controller, words[3]))
        if tail[0] == "cgroup2" and unified is None:
            unified = (words[4], words[3])
    if unified is None:
        raise Unavailable(f"no cgroup hierarchy with {controller} is mounted")
    return Hierarchy(controller, 2, unified[0], _own(groups, "", unified[1]))


def _own(groups: str, controller: str, root: str) -> str:
    """Our group, as a path below a mount whose own root is the group `root`."""
    for line in groups.splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            if root == "/":
                return path
            if path == root:
                return "/"
            if paths.is_below(path, root):
                return path[len(root) :]
            raise Unavailable(f"our cgroup {path} lies outside of what is mounted ({root})")
    raise Unavailable(f"/proc/self/cgroup names no group for {controller or 'version 2'}")


def why_missing(request: LaunchRequest, controller: str) -> "str | None":
    """Why a container of `request` gets no group with `controller`, None if it does; makes nothing."""
    try:
        found = find(controller)
        if not agents_own(request, found):
            leaf(found, "any")
    except Unavailable as error:
        return str(error)
    return None


def agents_own(request: LaunchRequest, hierarchy: Hierarchy) -> bool:
    """Whether the agent's own isolation has put this launch into a group of its container.

    The group says so itself: an agent calls it by the container's id (`mesos/<id>` by default). Its flags need not be
    known, and a change of them cannot be missed.
    """
    parts = paths.split(hierarchy.own)
    return any(name in parts for name in request.agent_ids)


def add(
    request: LaunchRequest,
    plan: Plan,
    controller: str,
    first: "list[tuple[str, str]]",
    second: "list[tuple[str, str]]",
) -> None:
    """Plan a group with `controller`, with the settings `first` in version 1, `second` in version 2."""
    hierarchy = find(controller)
    if agents_own(request, hierarchy):
        found = Leaf(hierarchy.version, "", "")
        found.ours, found.directory = False, hierarchy.directory(hierarchy.own)
        found.controllers = [controller]
        plan.cgroups.append(found)
        return
    found = leaf(hierarchy, name_for(plan.container_id))
    for item in plan.cgroups:
        if item.directory == found.directory:
            found = item
            break
        if item.ours and item.version == hierarchy.version == 2:  # a process is in one group of version 2 only
            raise Unavailable(f"{controller} can be had in {found.delegate} only, and {item.controllers[0]} in another")
    else:
        plan.cgroups.append(found)
    found.controllers.append(controller)
    found.settings.extend(first if hierarchy.version == 1 else second)


def leaf(hierarchy: Hierarchy, name: str) -> Leaf:
    """The group `name` to be made for a container. Raises Unavailable where none may be made; makes nothing."""
    if hierarchy.version == 1:
        base = hierarchy.directory(hierarchy.own)
        if not posix.access(base, posix.W_OK | posix.X_OK):
            remedy = "run it as root" if posix.geteuid() else "mount the cgroup hierarchy writable"
            raise Unavailable(f"the cgroup {base} is not ours to divide; {remedy}")
        return Leaf(1, base, name)
    found = Leaf(2, _delegated(hierarchy), name)
    found.step_aside = found.delegate == hierarchy.directory(hierarchy.own) and _occupants(found.delegate) != []
    return found


def _delegated(hierarchy: Hierarchy) -> str:
    """The nearest group of version 2, from our own upwards, that we may divide and whose children may have limits."""
    parts = paths.split(hierarchy.own)
    why = ""
    for depth in range(len(parts), -1, -1):
        where = hierarchy.directory(paths.join(parts[:depth]))
        problem = _not_ours(hierarchy, parts[:depth])
        if problem is not None:
            raise Unavailable(why or problem)
        try:
            if hierarchy.controller not in read(f"{where}/cgroup.controllers").split():
                why = why or (
                    f"the cgroup {where} has no {hierarchy.controller} controller: enable it above "
                    f"('+{hierarchy.controller}' in the cgroup.subtree_control there; under systemd Delegate=yes)"
                )
                continue
            if hierarchy.controller in read(f"{where}/cgroup.subtree_control").split():
                return where
            if not set(_occupants(where)) - {str(posix.getpid())}:
                return where
        except OSError as error:
            raise Unavailable(f"{where}: {reason(error)}") from None
        # "No internal processes": cgroups(7).
        why = why or (
            f"the cgroup {where} has processes of its own, so its children can have no {hierarchy.controller} limits: "
            "under systemd start the service with DelegateSubgroup= (254), or use the agent's own cgroups isolators"
        )
    raise Unavailable(why)


def _occupants(where: str) -> "list[str]":
    """The processes that keep the group's controllers from its children; the top of all has no such rule."""
    if not _exists(f"{where}/cgroup.type"):
        return []
    return read(f"{where}/cgroup.procs").split()


def _not_ours(hierarchy: Hierarchy, parts: "list[str]") -> "str | None":
    """Why the group may not be divided by us, or None. Under systemd only what it delegated is (single writer)."""
    where = hierarchy.directory(paths.join(parts))
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
        if not posix.access(where + name, posix.W_OK):
            return f"the cgroup {where} is not delegated to uid {posix.geteuid()}; {_SCOPE}"
    if not _exists(_SYSTEMD):
        return None
    for depth in range(len(parts), -1, -1):
        directory = hierarchy.directory(paths.join(parts[:depth]))
        for attribute in ("trusted.delegate", "user.delegate"):
            try:
                if posix.getxattr(directory, attribute) == b"1":
                    return None
            except OSError:
                continue
    if posix.geteuid() != 0:
        return None  # whoever gave it to an ordinary user delegated it
    return f"the cgroup {where} is systemd's and not delegated; {_SCOPE}"


_SCOPE = "systemd-run --scope -p Delegate=yes (with --user for an ordinary user) starts a command in one that is"


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def name_for(container_id: str) -> str:
    """What this process calls the groups of a container that it launches."""
    return f"{container_id[:150]}@{posix.getpid()}-{record.start_time('self') or 0}"


def maker(name: str) -> "tuple[int, int] | None":
    """Pid and start time of the process that made the group `name`, None for a name that is not ours."""
    pid, dash, start = name.rpartition("@")[2].partition("-")
    if "@" in name and dash and paths.is_number(pid) and paths.is_number(start):
        return int(pid), int(start)
    return None


def make(leaves: "list[Leaf]") -> None:
    """Make the groups and set their limits; on a failure nothing of them stays. Raises ShimError."""
    try:
        for item in leaves:
            _make(item)
    except BaseException:
        remove([item.directory for item in leaves])
        raise


def _make(item: Leaf) -> None:
    common = f"{item.delegate}/{DIRECTORY}"
    try:
        _mkdir(common)
        if item.step_aside:
            _mkdir(f"{common}/{name_for('launcher')}")
            write(f"{common}/{name_for('launcher')}/cgroup.procs", "0")
        if item.version == 2:
            for where in (item.delegate, common):
                missing = set(item.controllers) - set(read(f"{where}/cgroup.subtree_control").split())
                if missing:
                    write(f"{where}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))
        posix.mkdir(item.directory, 0o755)
    except OSError as error:
        raise ShimError(f"making the cgroup {item.directory}: {reason(error)}") from None
    for file, value in item.settings:
        try:
            write(f"{item.directory}/{file}", value)
        except FileNotFoundError:
            if not file.startswith(OPTIONAL):
                raise ShimError(f"{item.directory}/{file}: this kernel has no such limit") from None
        except OSError as error:
            raise ShimError(f"{item.directory}/{file}: {value!r}: {reason(error)}") from None


# Kernels without swap accounting lack these files; there a limit holds for memory alone.
OPTIONAL = ("memory.memsw.", "memory.swap.")


def _mkdir(path: str) -> None:
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
            if error.errno != _EBUSY or _members(directory):
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
            if _exists(here):
                return False
    return True


def _members(directory: str) -> bool:
    try:
        return bool(read(f"{directory}/cgroup.procs").split())
    except OSError:
        return True


def _is_directory(path: str) -> bool:
    try:
        return posix.lstat(path).st_mode & 0o170000 == 0o040000
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
