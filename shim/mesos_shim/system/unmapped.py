"""Root's files where root is not mapped: a user namespace that knows nobody but its caller (user_namespaces(7)).

What belongs to somebody whom the namespace does not know is shown as the overflow uid's: root's files, and those of
every other user. None of it is the caller's, and the namespace gives its root no right over it (kernel/capability.c,
capable_wrt_inode_uidgid), so the mode says what can be written, as it does where the owner is known. Whose it is among
the unknown cannot be told: threats 6 say what follows from that.
"""

import posix

if False:  # for the type checker alone: no launch imports typing
    from typing import Any

FIRST_USERS = 0xEFFFFFFD  # the inode of the first user namespace (include/uapi/linux/nsfs.h, fs/proc/generic.c)
_MAP = "/proc/self/uid_map"
_MOST = 65536  # of 340 lines (user_namespaces(7))
_OVERFLOW = 65534


def stands_for_root(uid: object) -> bool:
    """Whether root's files look as if they were those of `uid`, to a caller who serves nobody else."""
    return uid == _overflow_uid() and root_is_missing()


def root_is_missing() -> bool:
    """Whether the namespace maps neither the system's root nor the uid that stands for whoever is not mapped.

    Its uid 0 is the system's root, unless it is the only user: then it is the caller by another number (unshare -r). In
    a container's namespace with users of its own, the overflow uid is one of them, or its root serves them.
    """
    ids = _ids()
    if ids is None or _is_mapped(_overflow_uid(), ids):
        return False
    return not _is_mapped(0, ids) or sum(count for _, _, count in ids) == 1


def is_nested() -> bool:
    """Whether this is another user namespace than the first, the only one whose root may use `trusted.` attributes."""
    try:
        return posix.stat("/proc/self/ns/user").st_ino != FIRST_USERS
    except OSError:
        return False


def may_be_any_group(gid: int) -> bool:
    """Whether groups that this namespace does not know are shown as `gid`: then nobody can tell which one it is."""
    return gid == _number("/proc/sys/kernel/overflowgid") and is_nested()


def is_ordinary() -> bool:
    """Whether the caller has no right over what is other users': by uid, or because that is 0 by its number alone."""
    return posix.geteuid() != 0 or root_is_missing()


def outside(uid: int) -> int:
    """What `uid` is called in the namespace around this one."""
    for first, there, count in _ids() or []:
        if first <= uid < first + count:
            return int(there + uid - first)
    return uid


def _is_mapped(uid: int, ids: "list[Any]") -> bool:
    return any(first <= uid < first + count for first, _, count in ids)


def _ids() -> "list[Any] | None":
    """The lines of the map: first uid inside, first uid outside, how many; None where there is none to read."""
    text = _read(_MAP)
    return None if text is None else [[int(word) for word in line.split()] for line in text.splitlines()]


def _overflow_uid() -> int:
    return _number("/proc/sys/kernel/overflowuid")


def _number(path: str) -> int:
    text = _read(path)
    return _OVERFLOW if text is None else int(text)


def _read(path: str) -> "bytes | None":
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None  # no /proc, or no such kernel
    try:
        return posix.read(fd, _MOST)
    finally:
        posix.close(fd)
