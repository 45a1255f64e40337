"""Where a walk through a tree stands that others may be changing at the same time.

A tree can be deeper than a process may have descriptors, so a walk keeps the way down as names and inodes. The way up
is `..`, and believed only if it leads to the inode that it came from.
"""

import posix


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
