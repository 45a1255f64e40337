"""Private directories outside of the sandbox: a directory of each container's own in the operator's `base`.

The base is root's, or the caller's who launches for himself, and nobody else may write it; in it lies one directory a
container, 0700, in which what it covers is copied level by level. So nobody's task reaches another's through the base.

Its name says which container it is, and which process made it, in which pid namespace and since which boot: gc can
tell without a record whether anybody can still use it.
"""

import posix

from ..containers import record
from ..errors import ShimError, reason
from ..plan.model import Mount, Plan
from ..system import remove_tree, syscalls
from ..system.walk import S_IFDIR, Missing, Resolved, resolve, trusted_uids
from . import sources

WHAT = "configuration: private_directories: base"
_OPEN = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NONBLOCK


def base(path: str, trusted: "tuple[int, ...]") -> Resolved:
    """The directory `path`, judged: nobody but `trusted` may put anything into it. Raises ShimError."""
    try:
        found = resolve(path, WHAT, trusted)
    except Missing as error:
        raise Missing(f"{error}; make it, root's and mode 0755") from None
    status = found.status
    if found.kind != S_IFDIR:
        raise ShimError(f"{WHAT}: {path!r} is not a directory")
    if found.controller is not None or status.st_uid not in trusted:
        raise ShimError(f"{WHAT}: {path!r} belongs to uid {status.st_uid}; chown it to root")
    if status.st_mode & 0o022:  # with an access list the group's bits are its mask
        raise ShimError(f"{WHAT}: {path!r}: mode {status.st_mode & 0o7777:04o} lets others write it; chmod go-w it")
    return found


def name_for(container_id: str) -> str:
    """What this process calls the directories of a container that it launches. Raises ShimError without a /proc."""
    pid = record.host_pid()
    try:
        start, boot, namespace = record.start_time("self"), record.boot_id(), record.pid_namespace(pid)
    except OSError:
        start = boot = namespace = None
    if start is None or boot is None or namespace is None:
        raise ShimError(
            f"{WHAT}: /proc does not tell this launch's start time, boot and pid namespace, without which nobody "
            "could tell later whose directory it is; mount it, or leave the base out"
        )
    return f"{container_id[:150]}@{pid}-{start}@{boot_mark(boot)}-{namespace}"


def boot_mark(boot_id: str) -> str:
    """The part of the boot's id that is in a name."""
    return boot_id.replace("-", "")[:16]


def make(parent: int, mount: Mount, plan: Plan) -> int:
    """The source of `mount` in the base `parent`, made as a copy of what it covers. An O_PATH descriptor."""
    try:
        fd = _own(parent, mount, plan)
        try:
            for name, level in zip(mount.source_parts[1:], mount.covers.levels):
                child = sources.enter_or_copy(fd, name, level, mount.what, plan)
                posix.close(fd)
                fd = child
            return posix.open(".", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
        finally:
            posix.close(fd)
    except OSError as error:
        raise ShimError(f"{mount.what}: in {_path(mount)!r}: {reason(error)}") from None


def _own(parent: int, mount: Mount, plan: Plan) -> int:
    """The container's own directory in the base: a new one, or that of a mount before this one."""
    name, path = mount.source_parts[0], _path(mount)
    known = [inode for made, *inode in plan.private if made == path]
    if not known and not sources.new_directory(parent, name, plan):
        raise ShimError(f"{mount.what}: {path!r} is there already; nobody but this launch has that name: remove it")
    fd = sources.step(parent, name, _OPEN)
    try:
        status = posix.fstat(fd)
        inode = [status.st_dev, status.st_ino]
        if status.st_uid != posix.geteuid() or inode not in (known or [inode]):
            raise ShimError(f"{mount.what}: {path!r} was replaced while the launch was being prepared")
        if not known:
            posix.fchmod(fd, 0o700)  # whatever the umask and the base's set-group-id
            plan.private.append((path, status.st_dev, status.st_ino))
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _path(mount: Mount) -> str:
    return f"{'' if mount.base is None else mount.base.path}/{mount.source_parts[0]}"


def remove(plan: Plan) -> "str | None":
    """Remove what this launch, or its child, has made in bases, the container having ended. The first problem."""
    problem = None
    done = []
    for mount in plan.mounts:
        if mount.base is None or _path(mount) in done:
            continue
        done.append(_path(mount))
        found = _removed(mount.base, mount.source_parts[0])
        problem = problem or found
    return problem


def _removed(judged: Resolved, name: str) -> "str | None":
    """Why the directory `name` is not removed from the base, None once it is gone."""
    try:
        found = resolve(judged.path, WHAT, trusted_uids())
    except (ShimError, OSError) as error:
        return reason(error) if isinstance(error, OSError) else str(error)
    try:
        if not judged.same(found.fd):
            return f"{judged.path!r} is another directory by now"
        return remove_tree.remove(found.fd, name)
    finally:
        posix.close(found.fd)
