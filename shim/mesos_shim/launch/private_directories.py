"""Private directories outside of the sandbox: a directory of each container's own in the operator's `base`.

The base is root's, or the caller's who launches for themselves, and nobody else may write it. In it is one directory
for each container, 0700, in which what it covers is copied level by level. So nobody's task reaches another's through
the base.

Its name says which container it is, and which process made it, in which pid namespace and since which boot: gc can
tell without a record whether anybody can still use it.
"""

import posix

from ..errors import ShimError, reason
from ..plan.model import Mount
from ..plan.private_bases import WHAT
from ..system import remove_tree, syscalls, walk
from ..system.files import trusted_uids
from ..system.walk import Resolved, resolve
from . import mount_points, sources
from .state import LaunchState

_OPEN = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NONBLOCK


def make(parent: int, mount: Mount, state: LaunchState) -> int:
    """The source of `mount` in the base `parent`, made as a copy of what it covers. An O_PATH descriptor."""
    try:
        fd = _own(parent, mount, state)
        try:
            for name, level in zip(mount.source_parts[1:], mount.covers.levels):
                child = mount_points.enter_or_copy(fd, name, level, mount.what, state)
                posix.close(fd)
                fd = child
            return posix.open(".", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
        finally:
            posix.close(fd)
    except OSError as error:
        raise ShimError(f"{mount.what}: in {_path(mount)!r}: {reason(error)}") from None


def _own(parent: int, mount: Mount, state: LaunchState) -> int:
    """The container's own directory in the base: a new one, or that of a mount before this one."""
    name, path = mount.source_parts[0], _path(mount)
    recorded = [inode for directory, *inode in state.private if directory == path]
    if not recorded and not sources.new_directory(parent, name, state):
        raise ShimError(f"{mount.what}: {path!r} already exists, although only this launch has that name; remove it")
    fd = walk.step(parent, name, _OPEN)
    try:
        status = posix.fstat(fd)
        inode = [status.st_dev, status.st_ino]
        if status.st_uid != posix.geteuid() or inode not in (recorded or [inode]):
            raise ShimError(f"{mount.what}: {path!r} was replaced while the launch was being prepared")
        if not recorded:
            posix.fchmod(fd, 0o700)  # whatever the umask and the base's set-group-id
            state.private.append((path, status.st_dev, status.st_ino))
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _path(mount: Mount) -> str:
    return f"{'' if mount.base is None else mount.base.path}/{mount.source_parts[0]}"


def remove(state: LaunchState) -> "str | None":
    """Remove what this launch, or its child, has made in bases, the container having ended. The first problem."""
    problem = None
    done = []
    for mount in state.plan.mounts:
        if mount.base is None or _path(mount) in done:
            continue
        done.append(_path(mount))
        found = _removed(mount.base, mount.source_parts[0])
        problem = problem or found
    return problem


def _removed(planned: Resolved, name: str) -> "str | None":
    """Why the directory `name` is not removed from the base, None once it is gone."""
    try:
        found = resolve(planned.path, WHAT, trusted_uids(), strict=True)
    except (ShimError, OSError) as error:
        return reason(error) if isinstance(error, OSError) else str(error)
    try:
        if not planned.same(found.fd):
            return f"{planned.path!r} is another directory by now"
        return remove_tree.remove(found.fd, name)
    finally:
        posix.close(found.fd)
