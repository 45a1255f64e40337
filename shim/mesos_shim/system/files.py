"""Reads files, whole or their start, and says whether one is the caller's own or root's."""

import posix
from _stat import S_ISREG

from ..errors import ShimError

_CHUNK = 65536


class Trusted(tuple):  # type: ignore[type-arg]  # tuple[int, ...] is no base class before Python 3.9
    """The uids of `trusted_uids`; where root is not mapped also the one that its files have (threats 6).

    Whether that is so is looked up when a stranger's uid is asked for, which in most launches never happens.
    """

    __slots__ = ()

    def __contains__(self, uid: object) -> bool:
        if tuple.__contains__(self, uid):
            return True
        from . import unmapped

        return unmapped.stands_for_root(uid)


def trusted_uids() -> "tuple[int, ...]":
    """Who may own what a path leads through: root, and the caller, who needs no trick to reach their own."""
    return Trusted((0, posix.geteuid()))


def is_exactly(uid: int, trusted: "tuple[int, ...]") -> bool:
    """Whether the uid is one of these, not only what stands for root where root is not mapped."""
    return any(uid == item for item in trusted)


def is_trusted(status: "posix.stat_result") -> bool:
    """Whether root or the caller owns the file."""
    return status.st_uid in trusted_uids()


def others_write(status: "posix.stat_result") -> bool:
    """Whether others than root and the caller can write the file, as its owner or by its mode."""
    return not is_trusted(status) or bool(status.st_mode & 0o022)


def exists(path: "str | bytes") -> bool:
    """Whether something is there that we can see."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def read_all(fd: int, limit: "int | None" = None) -> bytes:
    """Everything that `fd` has to give; reading stops once it is more than `limit` bytes, for the caller to refuse."""
    chunks: list[bytes] = []
    size = 0
    while limit is None or size <= limit:
        chunk = posix.read(fd, _CHUNK)
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def read_file(path: "str | bytes") -> bytes:
    """A file of the kernel's, whole: nobody knows its length before, and one read(2) may give a page of it.

    Raises OSError.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return read_all(fd)
    finally:
        posix.close(fd)


def read_start(path: "str | bytes", size: int) -> "bytes | None":
    """What one read(2) of at most `size` bytes gives; None where there is nothing to be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        return posix.read(fd, size)
    except OSError:
        return None
    finally:
        posix.close(fd)


def read_trusted(name: str, limit: int, directory: int) -> "tuple[bytes, posix.stat_result]":
    """Content and status of the regular file `name`, root's or the caller's, in a directory. Through no link.

    Raises OSError, and ShimError where it is another kind of file, another's, or longer than `limit` bytes.
    """
    flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK
    fd = posix.open(name, flags, dir_fd=directory)
    try:
        status = posix.fstat(fd)
        if not S_ISREG(status.st_mode):
            raise ShimError("not a regular file")
        if not is_trusted(status):
            raise ShimError(f"belongs to uid {status.st_uid}")
        if status.st_size > limit:
            raise ShimError(f"{status.st_size} bytes, which is too long for a record")
        # Not `limit`: of so large a buffer most would be given back. It may just be growing, so not its size alone.
        return posix.read(fd, min(limit, max(status.st_size, _CHUNK))), status
    finally:
        posix.close(fd)
