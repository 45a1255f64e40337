"""The places of mounts that lie inside another mount of the same mount namespace: made, looked for, opened."""

import posix
from _stat import S_IFDIR, S_ISDIR, S_ISLNK

from ..errors import ShimError, reason
from ..plan.model import AGENTS, Mount
from ..system import paths, syscalls, walk
from ..system.credentials import with_rights_of
from ..system.walk import Status
from . import sources
from .state import LaunchState

_DIRECTORY = syscalls.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def look_for(mount: Mount, parent: Mount, root: int, state: LaunchState) -> None:
    """Refuse it where the task's user could not find it in a framework's source, and so may not learn of it."""
    with_rights_of(state.plan.user, lambda: make(mount, parent, root, state))


def make(mount: Mount, parent: Mount, root: int, state: LaunchState) -> None:
    """The place of a child inside its parent's source: made where that is fresh, else it must be there."""
    below = paths.relative(mount.target, parent.target)
    levels = mount.covers.levels[-len(below) :]
    fd = posix.dup(root)
    try:
        for depth, name in enumerate(below):
            last = depth == len(below) - 1
            if last and mount.covers.kind != S_IFDIR:
                if parent.fresh:
                    make_file(fd, name, mount.what, state)
                return
            # What the agent has mounted there hides the directory that the mount point is a copy of.
            hidden = mount.covers.fd if last and mount.action == AGENTS else -1
            child = _make_level(fd, name, levels[depth], parent, mount, state, hidden)
            posix.close(fd)
            fd = child
    except OSError as error:
        raise ShimError(f"{mount.what}: {mount.target!r} in {parent.what}: {reason(error)}") from None
    finally:
        posix.close(fd)


def _make_level(
    fd: int, name: str, level: Status, parent: Mount, mount: Mount, state: LaunchState, level_fd: int
) -> int:
    if parent.fresh:
        return enter_or_copy(fd, name, level, mount.what, state, level_fd)
    try:
        return walk.step(fd, name, _DIRECTORY, within_mount=False)
    except OSError as error:
        raise ShimError(
            f"{mount.what}: {mount.target!r} has no place in {parent.what}: {name!r}: {reason(error)}"
        ) from None


def enter_or_copy(fd: int, name: str, level: Status, what: str, state: LaunchState, level_fd: int = -1) -> int:
    """The directory `name`, as a step on the way to a mount point; made as a copy of `level` where it is not there.

    `level_fd` is a descriptor of what is copied, where its path leads elsewhere by now.
    """
    try:
        child, made = sources.enter_or_make(fd, name, [name], what, state)
        sources.finish_level(child, made, level, state, level_fd)
    except OSError as error:
        raise ShimError(f"{what}: the mount point {level.path!r}: {reason(error)}") from None
    return child


def make_file(fd: int, name: str, what: str, state: LaunchState) -> None:
    """An empty file `name` for a file to be mounted on, if there is none."""
    directory = posix.dup(fd)
    state.notes.append(("made", directory, name))
    try:
        flags = posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_CLOEXEC
        made = posix.open(name, flags, 0o644, dir_fd=fd)
    except OSError as error:
        state.notes.pop()
        posix.close(directory)
        if isinstance(error, FileExistsError):
            return
        raise
    posix.close(made)


def open_inside(tree: int, mount: Mount, parent: Mount) -> int:
    """The place of a child in its parent's attached copy `tree`, compared with what was checked."""
    fd = posix.dup(tree)
    try:
        for name in paths.relative(mount.target, parent.target):
            child = walk.step(fd, name, syscalls.O_PATH, within_mount=False)
            posix.close(fd)
            fd = child
        if S_ISDIR(posix.fstat(fd).st_mode) != (mount.covers.kind == S_IFDIR) or _is_link(fd):
            raise ShimError(f"{mount.what}: {mount.target!r} was replaced in {parent.what}")
        result, fd = fd, -1
        return result
    except OSError as error:
        raise ShimError(f"{mount.what}: {mount.target!r} in {parent.what}: {reason(error)}") from None
    finally:
        if fd >= 0:
            posix.close(fd)


def _is_link(fd: int) -> bool:
    return S_ISLNK(posix.fstat(fd).st_mode)
