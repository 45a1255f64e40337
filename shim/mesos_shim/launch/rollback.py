"""Rolls back what a launch that failed had made: the host is left as it was (threats 17).

A launch notes each thing as it is made (`LaunchState.notes`). Nobody looks at the notes of one that succeeds.
Everything is descriptor-relative, and only what is still empty goes: a name in the sandbox may be another directory's
by now. Nothing of anybody's is lost with an empty directory that somebody put in the place of ours.
"""

import posix
from _stat import S_IMODE, S_ISDIR, S_ISREG

from ..system import other_syscalls
from . import sources

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

# What a note is, its first element.
MADE = "made"  # descriptor of the directory, name
METADATA = "dressed"  # descriptor, owner, group, mode, attributes: a directory that was there already
ATTACHED = "attached"  # descriptor of the mount


def roll_back(notes: "list[tuple[object, ...]]") -> None:
    """Undo what `notes` say, the last first. What cannot be undone stays: the launch has an error to report already."""
    while notes:
        kind, *rest = notes.pop()
        try:
            _UNDO[str(kind)](*rest)
        except OSError:
            continue


def _unmake(directory: int, name: str) -> None:
    status = posix.stat(name, dir_fd=directory, follow_symlinks=False)
    if S_ISDIR(status.st_mode):
        if not _is_anothers(directory, name):
            posix.rmdir(name, dir_fd=directory)  # only an empty one goes, and only an empty one can be ours
    elif S_ISREG(status.st_mode) and status.st_size == 0 and status.st_uid == posix.geteuid():
        posix.unlink(name, dir_fd=directory)


def _is_anothers(directory: int, name: str) -> bool:
    """Whether another launch uses the directory `name` by now. Raises OSError."""
    # By no descriptor of its own, for they may be what ran out.
    mark = sources.mark_of(f"/proc/self/fd/{directory}/{name}", follow=False)
    return mark is not None and not mark.endswith(sources.NEW)


def _undress(fd: int, uid: int, gid: int, mode: int, attributes: "dict[str, bytes | None]") -> None:
    for name, value in attributes.items():
        try:
            if value is not None:
                posix.setxattr(fd, name, value)
            else:
                posix.removexattr(fd, name)
        except OSError:
            continue  # there is none to remove
    posix.fchmod(fd, S_IMODE(mode))
    posix.fchown(fd, uid, gid)


def _detach(tree: int) -> None:
    other_syscalls.umount(f"/proc/self/fd/{tree}", other_syscalls.MNT_DETACH)


_UNDO: "dict[str, Callable[..., None]]" = {MADE: _unmake, METADATA: _undress, ATTACHED: _detach}
