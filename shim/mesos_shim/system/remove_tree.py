"""Removes a directory tree that somebody else may be changing at the same time, as root too (threats 10).

Never through a link, never across a mount. Nothing is asked of what lies there but of its own file system, and only
names are read of that: a mount's may never answer. What is left beyond the walk's bound is left to the next time.
"""

import errno
import posix
import sys

from ..errors import one_line, reason
from . import syscalls, tree_walk, walk

_OPEN = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
MAX_SECONDS = 120.0
MAX_ENTRIES = 10_000_000
MAX_DEPTH = 100_000


def remove(parent: int, name: str, inode: "tuple[int, int] | None" = None) -> "str | None":
    """Remove the directory `name` of the directory `parent`, only if it is `inode` where that is given.

    None once it is gone; else the first reason why something stays. What can be removed is removed in any case.
    """
    try:
        fd = _enter(parent, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{name!r}: {reason(error)}"
    try:
        if inode is not None and tree_walk.inode(fd) != inode:
            return f"{name!r} is another directory by now"
        problems = _contents(fd, name)
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


def _contents(top: int, name: str) -> "list[str]":
    """Remove what is in the directory `top`; why something stays."""
    removal = _Removal(top, name, MAX_SECONDS, MAX_ENTRIES, MAX_DEPTH)
    try:
        removal.run()
    except OSError as error:
        removal.problems.append(f"{name!r}: {reason(error)}; the rest stays")
    return removal.problems


class _Removal(tree_walk.TreeWalk):
    def __init__(self, top: int, name: str, seconds: float, entries: int, depth: int) -> None:
        super().__init__(top, name, seconds, entries, depth)
        self.problems: list[str] = []

    def visit(self) -> "list[str]":
        """Remove everything that is no directory."""
        directories = []
        with posix.scandir(self.fd) as entries:
            for entry in entries:
                self.count()
                try:
                    # Its directory says so; what is mounted over it is not asked.
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.name)
                    else:
                        posix.unlink(entry.name, dir_fd=self.fd)
                except OSError as error:
                    self._stays(entry.name, error)
        return directories

    def open(self, name: str) -> "int | None":
        try:
            return _enter(self.fd, name)
        except OSError as error:
            self._stays(name, error)
            return None

    def leave(self, name: str) -> None:
        try:
            posix.rmdir(name, dir_fd=self.fd)
        except OSError as error:
            if not self.problems:
                self._stays(name, error)

    def moved(self, name: str) -> None:
        self.problems.append(f"{self._path(name)!r}: moved away while it was being removed")

    def _stays(self, name: str, error: OSError) -> None:
        if error.errno != errno.ENOENT:
            explanation = "a mount" if error.errno == errno.EXDEV else reason(error)
            self.problems.append(f"{self._path(name)!r}: {explanation}")

    def _path(self, name: str) -> str:
        """The end of the path, for a message: a deep tree's would fill a screen."""
        parts = [item.name for item in self.levels[-7:]] + [name]
        return "/".join(parts if len(parts) < 8 else ["...", *parts[-6:]])


def _enter(fd: int, name: str) -> int:
    """Open the directory `name` of `fd`; one that its owner has made inaccessible to themselves is opened by force."""
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
