"""disk/du: how much disk a sandbox, and private directories elsewhere, take.

Counted as du(1) counts: allocated blocks, each inode once. No other mount is entered; a mount may have files of several
devices, as an overlay has whose layers are on different file systems, or btrfs with its subvolumes.

It is a user's tree, looked at for all: it has a bound, beyond which there is no figure, and nothing in it is asked that
may never answer: an attribute of what is mounted there is taken as the kernel has it at hand.
"""

import errno
import os
import stat
import struct
import sys
from typing import NamedTuple, Optional

from ..errors import ShimError
from ..system import guarded_walk, other_syscalls, paths, syscalls, walk
from ..system.files import trusted_uids
from ..system.tree_walk import TreeWalk, inode
from ..system.walk import resolve

if False:  # for the type checker alone
    from ..containers.registry import Entry

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What lies on the way need not be readable (O_PATH is not on macOS).
_SEARCH = _OPEN | getattr(os, "O_PATH", 0)
# No descriptor is left, to us or on the host: what was not looked at is not nothing.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
MAX_SECONDS = 30.0
MAX_ENTRIES = 5_000_000
MAX_DEPTH = 100_000


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


def exceeded(entry: "Entry", found: "dict[str, object]") -> "list[str]":
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
    Raises OSError without descriptors, and where there is more than anyone will wait for.
    """
    top = _resolved(path) if pin is None or pin[1] is None else _open_way(path, pin)
    if top is None:
        return None
    try:
        count = _Count(top)
        count.run()
        return count.total
    finally:
        os.close(top)


class _Count(TreeWalk):
    def __init__(self, top: int) -> None:
        super().__init__(top, "", MAX_SECONDS, MAX_ENTRIES, MAX_DEPTH)
        self._root = _status(top, "")
        # Before Linux 5.8 only the device tells of a mount, and a file's may be that of an overlay's layer.
        self._overlay = self._root.mount is None and _is_overlay(top)
        self._seen: set[tuple[int, int]] = set()
        self.total = self._root.blocks * 512

    def visit(self) -> "list[str]":
        """Count what is in the directory."""
        pending: list[str] = []
        try:
            with os.scandir(self.fd) as entries:
                for entry in entries:
                    self.count()
                    self._add(entry.name, pending)
        except OSError as error:
            _gone(error)
        return pending

    def open(self, name: str) -> "int | None":
        """None where it is gone, is none or a mount, or is not ours to look into."""
        try:
            return os.open(name, _OPEN, dir_fd=self.fd) if sys.platform != "linux" else walk.step(self.fd, name, _OPEN)
        except OSError as error:
            _gone(error)
            return None

    def _add(self, name: str, pending: "list[str]") -> None:
        try:
            found = _status(self.fd, name)
        except OSError as error:
            _gone(error)
            return
        if self._is_mounted(found):
            return
        if stat.S_ISDIR(found.mode):
            pending.append(name)
        elif found.links > 1:
            number = (found.device, found.number)
            if number in self._seen:
                return
            self._seen.add(number)
        self.total += found.blocks * 512

    def _is_mounted(self, found: "_Status") -> bool:
        """Whether something is mounted on the entry."""
        if found.mount is not None:
            return found.mount != self._root.mount
        if self._overlay and not stat.S_ISDIR(found.mode):
            return False
        return found.device != self._root.device


class _Status(NamedTuple):
    """What is asked of an entry; `mount` is the id of the mount that it is in, None where the kernel does not tell."""

    links: int
    mode: int
    number: int
    blocks: int
    device: int
    mount: Optional[int]


# In struct statx: mask, nlink, mode, ino, blocks, dev_major, dev_minor, mnt_id (include/uapi/linux/stat.h).
_STATX = struct.Struct("=I12xI8xH2xQ8xQ80xIIQ")
_OVERLAYFS = 0x794C7630  # include/uapi/linux/magic.h


def _status(fd: int, name: str) -> _Status:
    """What the entry `name` of the directory `fd` is, or, without a name, the directory itself. Raises OSError."""
    if sys.platform == "linux":
        try:
            data = other_syscalls.status_at_hand(fd, name)
            mask, links, mode, number, blocks, major, minor, mount = _STATX.unpack_from(data)
            mount_id = mount if mask & other_syscalls.STATX_MNT_ID else None
            return _Status(links, mode, number, blocks, os.makedev(major, minor), mount_id)
        except OSError as error:
            if error.errno not in syscalls.ABSENT:
                raise
    status = os.stat(name, dir_fd=fd, follow_symlinks=False) if name else os.fstat(fd)
    return _Status(status.st_nlink, status.st_mode, status.st_ino, status.st_blocks, status.st_dev, None)


def _is_overlay(fd: int) -> bool:
    return sys.platform == "linux" and syscalls.file_system_type(fd) == _OVERLAYFS


def _open_way(path: str, pin: "tuple[str, tuple[int, int] | None]") -> "int | None":
    """The directory `path`, through no link at all and through the very directory of `pin`."""
    parts = paths.split(path)
    fd = os.open("/", _SEARCH)
    try:
        for depth, name in enumerate(parts):
            child = _step(fd, name)
            os.close(fd)
            fd = child
            if paths.join(parts[: depth + 1]) == pin[0] and inode(fd) != pin[1]:
                return None
        return os.open(".", _OPEN, dir_fd=fd)
    except OSError as error:
        _gone(error)
        return None
    finally:
        os.close(fd)


def _step(fd: int, name: str) -> int:
    return guarded_walk.step(fd, name) if sys.platform == "linux" else os.open(name, _SEARCH, dir_fd=fd)


def _resolved(path: str) -> "int | None":
    """The directory `path`, through no link and through nothing that anybody could have put there."""
    try:
        if sys.platform != "linux":
            return os.open(path, _OPEN)
        found = resolve(path, "the sandbox", trusted_uids(), take_step=guarded_walk.step)
    except ShimError:
        return None
    except OSError as error:
        _gone(error)
        return None
    try:
        return os.open(".", _OPEN, dir_fd=found.fd) if found.path == paths.normal(path) else None
    except OSError as error:
        _gone(error)
        return None
    finally:
        os.close(found.fd)


def _gone(error: OSError) -> None:
    """Take the error for one of a tree that others change and protect, unless it is ours."""
    if error.errno in (*_EXHAUSTED, errno.E2BIG):
        raise error
