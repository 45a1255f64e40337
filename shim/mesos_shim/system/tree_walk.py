"""The one walk through a tree that others may be changing at the same time: to remove it, or to count what is in it.

Descriptor-relative, one component at a time. A tree can be deeper than a process may have descriptors and longer than
PATH_MAX, so a walk has two, the top and where it is, and keeps the way down as names and inodes. The way up is `..`,
and believed only if it leads to the inode that it came from; else the way is walked again from the top.

Whoever adds to the tree as fast as it is walked does not keep a walk for ever: it has a bound.
"""

import errno
import posix
import time

_UP = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC


class Level:
    """A directory that a walk is in: its name in its parent, its inode, and the directories in it to be visited."""

    __slots__ = ("inode", "name", "pending")

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.inode = inode(fd)
        self.pending: list[str] = []


def inode(fd: int) -> "tuple[int, int]":
    """Device and inode of what `fd` refers to."""
    status = posix.fstat(fd)
    return status.st_dev, status.st_ino


class TreeWalk:
    """A walk through everything below the directory `top`, which stays the caller's; what it does is its subclass'."""

    def __init__(self, top: int, name: str, seconds: float, entries: int, depth: int) -> None:
        self._top = top
        # The directory that it is in, the last of `levels`.
        self.fd = top
        self.levels = [Level(name, top)]
        self._end = time.monotonic() + seconds
        self._seconds, self._entries, self._depth = seconds, entries, depth
        self._left = entries

    def visit(self) -> "list[str]":
        """Do what is to be done in the directory `fd`; the names of the directories in it that are to be visited."""
        raise NotImplementedError

    def open(self, name: str) -> "int | None":
        """Open the directory `name` of `fd`; None if it is not to be visited after all."""
        raise NotImplementedError

    def leave(self, name: str) -> None:
        """All below the directory `name` of `fd` has been visited."""

    def moved(self, name: str) -> None:
        """The directory `name` is no longer where it was: the walk goes on where the way to it is as it was."""

    def count(self) -> None:
        """One more entry of `fd`. Raises OSError where it is enough."""
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.E2BIG, f"stopped after {self._entries} entries")
        if len(self.levels) > self._depth:
            raise OSError(errno.E2BIG, f"stopped {self._depth} directories deep")
        if time.monotonic() > self._end:
            raise OSError(errno.E2BIG, f"stopped after {self._seconds:g} s")

    def run(self) -> None:
        """From the top down and up again until nothing is pending. Raises OSError where it is enough."""
        try:
            self.levels[0].pending = self.visit()
            while self._go_on():
                pass
        finally:
            self._move_to(self._top)

    def _go_on(self) -> bool:
        level = self.levels[-1]
        if level.pending:
            name = level.pending.pop()
            child = self.open(name)
            if child is not None:
                self._move_to(child)
                self.levels.append(Level(name, child))
                self.levels[-1].pending = self.visit()
            return True
        if len(self.levels) == 1:
            return False
        self.levels.pop()
        if self._climb():
            self.leave(level.name)
        else:
            self.moved(level.name)
            self._return()
        return True

    def _climb(self) -> bool:
        """Up to the last of `levels`, if `..` leads there. Raises OSError where no descriptor is left."""
        try:
            up = posix.open("..", _UP, dir_fd=self.fd)
        except (PermissionError, FileNotFoundError):
            return False
        self._move_to(up)
        return inode(up) == self.levels[-1].inode

    def _move_to(self, fd: int) -> None:
        if self.fd != self._top:
            posix.close(self.fd)
        self.fd = fd

    def _return(self) -> None:
        """Walk the way again from the top, as far as it is as it was."""
        self._move_to(self._top)
        for depth, level in enumerate(self.levels[1:], 1):
            child = self.open(level.name)
            if child is not None and inode(child) == level.inode:
                self._move_to(child)
                continue
            if child is not None:
                posix.close(child)
            del self.levels[depth:]
            return
