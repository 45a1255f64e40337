"""Removes a directory tree that somebody else may be changing at the same time, as root too (threats 10).

Descriptor-relative, one component at a time; never through a link, never across a mount; with two descriptors however
deep it is, for a tree can be deeper than a process may have descriptors and longer than PATH_MAX. The way up is `..`,
and believed only if it leads to the directory that we came from.

Nothing is asked of what lies there but of its own file system, and only names are read of that: a mount's may never
answer. And whoever adds to the tree as fast as it goes does not keep us for ever: there is a bound (`Bound`), and what
is left then is left to the next time.
"""

import errno
import posix
import sys
import time

from ..errors import one_line, reason
from . import syscalls, walk
from .levels import Level
from .levels import inode as inode_of

_OPEN = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
MAX_SECONDS = 120.0
MAX_ENTRIES = 10_000_000
MAX_DEPTH = 100_000


class Bound:
    """How much one walk may look at, and for how long."""

    def __init__(self) -> None:
        self._end = time.monotonic() + MAX_SECONDS
        self._entries = MAX_ENTRIES

    def count(self, depth: int) -> None:
        """One more entry, in a directory that deep. Raises OSError where it is enough."""
        self._entries -= 1
        if self._entries < 0:
            raise OSError(errno.E2BIG, f"stopped after {MAX_ENTRIES} entries; the rest stays")
        if depth > MAX_DEPTH:
            raise OSError(errno.E2BIG, f"stopped {MAX_DEPTH} directories deep; the rest stays")
        if time.monotonic() > self._end:
            raise OSError(errno.E2BIG, f"stopped after {MAX_SECONDS:g} s; the rest stays")


def remove(parent: int, name: str, inode: "tuple[int, int] | None" = None) -> "str | None":
    """Remove the directory `name` of the directory `parent`, only if it is `inode` where that is given.

    None once it is gone; else the first reason why something stays. What can be removed is removed in any case.
    """
    problems: list[str] = []
    bound = Bound()
    try:
        fd = _enter(parent, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{name!r}: {reason(error)}"
    try:
        if inode is not None and inode_of(fd) != inode:
            return f"{name!r} is another directory by now"
        levels = [Level(name, fd)]
        levels[0].pending = _empty(fd, levels, problems, bound)
        _walk(fd, levels, problems, bound)
    except OSError as error:
        problems.append(f"{name!r}: {reason(error)}")
    finally:
        posix.close(fd)
    if not problems:
        try:
            posix.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            problems.append(f"{name!r}: {reason(error)}")
    return one_line(problems[0]) if problems else None


def _walk(top: int, levels: "list[Level]", problems: "list[str]", bound: Bound) -> None:
    """From the top level down and up again until nothing is pending. Raises OSError where it is enough.

    `top` stays the caller's: what is walked by is a descriptor of our own, which is closed however this ends.
    """
    fd = posix.dup(top)
    try:
        while True:
            level = levels[-1]
            if level.pending:
                name = level.pending.pop()
                try:
                    child = _enter(fd, name)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    explanation = "a mount" if error.errno == errno.EXDEV else reason(error)
                    problems.append(f"{_path(levels, name)!r}: {explanation}")
                    continue
                posix.close(fd)
                fd = child
                levels.append(Level(name, fd))
                levels[-1].pending = _empty(fd, levels, problems, bound)
                continue
            if len(levels) == 1:
                return
            up = posix.open("..", _OPEN, dir_fd=fd)
            posix.close(fd)
            fd = up
            if inode_of(fd) != levels[-2].inode:
                problems.append(f"{_path(levels, '')!r}: moved away while it was being removed")
                return
            levels.pop()
            try:
                posix.rmdir(level.name, dir_fd=fd)
            except FileNotFoundError:
                continue
            except OSError as error:
                if not problems:
                    problems.append(f"{_path(levels, level.name)!r}: {reason(error)}")
    finally:
        posix.close(fd)


def _enter(fd: int, name: str) -> int:
    """Open the directory `name` of `fd`; one that its owner has shut against himself is opened by force."""
    if sys.platform != "linux":
        return _enter_non_linux(fd, name)
    try:
        return walk.step(fd, name, _OPEN)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
    pinned = walk.step(fd, name, syscalls.O_PATH | posix.O_DIRECTORY)
    try:
        posix.chmod(f"/proc/self/fd/{pinned}", 0o700)
        return posix.open(f"/proc/self/fd/{pinned}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    finally:
        posix.close(pinned)


def _enter_non_linux(fd: int, name: str) -> int:
    """Where there are no bind mounts, a mount is another device."""
    child = posix.open(name, _OPEN, dir_fd=fd)
    if posix.fstat(child).st_dev != posix.fstat(fd).st_dev:
        posix.close(child)
        raise OSError(errno.EXDEV, posix.strerror(errno.EXDEV))
    return child


def _empty(fd: int, levels: "list[Level]", problems: "list[str]", bound: Bound) -> "list[str]":
    """Remove everything of the directory `fd`, the last of `levels`, that is no directory; the names of those that are.

    Raises OSError where it is enough.
    """
    directories = []
    with posix.scandir(fd) as entries:
        for entry in entries:
            bound.count(len(levels))
            try:
                if entry.is_dir(follow_symlinks=False):  # its directory says so; what is mounted over it is not asked
                    directories.append(entry.name)
                else:
                    posix.unlink(entry.name, dir_fd=fd)
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(f"{_path(levels[-4:], entry.name)!r}: {reason(error)}")
    return directories


def _path(levels: "list[Level]", name: str) -> str:
    """The end of the path, for a message: a deep tree's would fill a screen."""
    parts = [item.name for item in levels] + [name]
    return "/".join(parts if len(parts) < 8 else ["...", *parts[-6:]])
