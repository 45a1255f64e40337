"""disk/du: how much disk a sandbox, and private directories elsewhere, take.

Counted as du(1) counts: allocated blocks, each inode once, one file system.

The walk has three descriptors open, however wide or deep the tree is. The way up is `..`, believed only if it leads to
the directory that we came from; else the way is walked again from the top.
"""

import os
import stat
import sys

from .. import paths
from ..errors import ShimError
from ..resolve import resolve, trusted_uids

if False:  # for the type checker alone
    from ..registry import Entry

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What lies on the way need not be readable (O_PATH is not on macOS).
_SEARCH = _OPEN | getattr(os, "O_PATH", 0)
# No descriptor is left, to us or on the host: what was not looked at is not nothing.
_EXHAUSTED = (24, 23)  # EMFILE, ENFILE


class _Level:
    """A directory that we are in: its name in its parent, which it is, and the directories in it to be visited."""

    __slots__ = ("inode", "name", "pending")

    def __init__(self, name: str, inode: "tuple[int, int]", pending: "list[str]") -> None:
        self.name = name
        self.inode = inode
        self.pending = pending


def measure(entry: "Entry", found: "dict[str, object]") -> None:
    """Bytes of the sandbox and of its own directories elsewhere, and of each that has a size.

    Nothing of what is gone or not ours to look into. Raises OSError without descriptors.
    """
    sandbox = (entry.sandbox, entry.sandbox_inode)
    sizes = [used(entry.sandbox, sandbox), *(used(path, (path, inode)) for path, inode in entry.private)]
    if any(size is not None for size in sizes):
        found["disk_used_bytes"] = sum(size or 0 for size in sizes)
    counted = [(path, limit, used(path, _pin(path, sandbox))) for path, limit in entry.quotas.items()]
    if counted:
        found["disk_statistics"] = [
            {"source": {"type": "PATH", "path": {"root": path}}, "limit_bytes": limit, "used_bytes": size}
            for path, limit, size in counted
            if size is not None
        ]


def over(entry: "Entry", found: "dict[str, object]") -> "list[str]":
    """Which directories of `entry` have outgrown their sizes, of what `measure` found. Nothing stops them."""
    grown = []
    for item in found.get("disk_statistics", []):  # type: ignore[attr-defined]
        if item["used_bytes"] > item["limit_bytes"]:
            path = item["source"]["path"]["root"]
            grown.append(f"{entry.container_id}: {path!r} takes {item['used_bytes']} bytes of {item['limit_bytes']}")
    return grown


def _pin(path: str, sandbox: "tuple[str, tuple[int, int] | None]") -> "tuple[str, tuple[int, int] | None] | None":
    """What is known of a private directory: that it lies in the sandbox, or that root made it elsewhere."""
    return sandbox if paths.is_below(path, sandbox[0]) else None


def used(path: str, pin: "tuple[str, tuple[int, int] | None] | None" = None) -> "int | None":
    """Bytes below `path`, None where it is not there. No link is followed and no mount entered.

    `pin` is a directory on the way, or `path` itself, and which it was: whoever may rename it may have put another's in
    its place. Where that is not known (an older release's record) the way may lead through nothing of that kind.
    """
    top = _resolved(path) if pin is None or pin[1] is None else _open_way(path, pin)
    if top is None:
        return None
    try:
        walk = _Walk(top)
    except OSError:
        os.close(top)
        raise
    try:
        return walk.total()
    finally:
        walk.close()


class _Walk:
    """A walk over everything below the directory `top`, which it closes at the end."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._here = os.dup(top)
        status = os.fstat(top)
        self._device = status.st_dev
        self._seen: set[int] = set()
        self._total = status.st_blocks * 512
        self._levels: list[_Level] = []

    def close(self) -> None:
        os.close(self._here)
        os.close(self._top)

    def total(self) -> int:
        self._visit("", self._here)
        while self._levels:
            level = self._levels[-1]
            if not level.pending:
                self._levels.pop()
                if self._levels:
                    self._up()
                continue
            name = level.pending.pop()
            child = _open(name, self._here)
            if child is not None:
                self._visit(name, child)
        return self._total

    def _visit(self, name: str, fd: int) -> None:
        """Stand in the directory `fd`, and count what is in it."""
        self._stand(fd)
        pending: list[str] = []
        self._levels.append(_Level(name, _inode(fd), pending))
        try:
            names = os.listdir(fd)
        except OSError as error:
            _gone(error)
            return
        for item in names:
            try:
                status = os.stat(item, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                _gone(error)
                continue
            if status.st_dev != self._device:
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(item)
            elif status.st_nlink > 1:
                if status.st_ino in self._seen:
                    continue
                self._seen.add(status.st_ino)
            self._total += status.st_blocks * 512

    def _stand(self, fd: int) -> None:
        if fd != self._here:
            os.close(self._here)
            self._here = fd

    def _up(self) -> None:
        """Back in the innermost level that is left; where that was moved, in the innermost that was not."""
        above = _open("..", self._here)
        if above is not None and _inode(above) == self._levels[-1].inode:
            self._stand(above)
            return
        if above is not None:
            os.close(above)
        self._stand(os.dup(self._top))
        for depth, level in enumerate(self._levels[1:], 1):
            child = _open(level.name, self._here)
            if child is not None and _inode(child) == level.inode:
                self._stand(child)
                continue
            if child is not None:
                os.close(child)
            del self._levels[depth:]
            return


def _open_way(path: str, pin: "tuple[str, tuple[int, int] | None]") -> "int | None":
    """The directory `path`, through no link at all and through the very directory of `pin`."""
    parts = paths.split(path)
    fd: int | None = os.open("/", _SEARCH)
    for depth, name in enumerate(parts):
        above, fd = fd, _open(name, fd, _OPEN if depth == len(parts) - 1 else _SEARCH)
        os.close(above)  # type: ignore[arg-type]
        if fd is None:
            return None
        if paths.join(parts[: depth + 1]) == pin[0] and _inode(fd) != pin[1]:
            os.close(fd)
            return None
    return fd


def _resolved(path: str) -> "int | None":
    if sys.platform != "linux":
        return _open(path)
    try:
        found = resolve(path, "the sandbox", trusted_uids())
    except ShimError:
        return None
    try:
        return _open(".", found.fd)
    finally:
        os.close(found.fd)


def _open(name: str, directory: "int | None" = None, flags: int = _OPEN) -> "int | None":
    """The directory `name`, None where it is gone, is none, or is not ours to look into."""
    try:
        return os.open(name, flags, dir_fd=directory)
    except OSError as error:
        _gone(error)
        return None


def _gone(error: OSError) -> None:
    """Take the error for one of a tree that others change and protect, unless it is ours."""
    if error.errno in _EXHAUSTED:
        raise error


def _inode(fd: int) -> "tuple[int, int]":
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
