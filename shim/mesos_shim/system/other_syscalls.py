"""System calls that usual launches do not make, in the manner of syscalls.py: each raises OSError."""

import posix
import sys

from .syscalls import AT_EMPTY_PATH, absent, address, check, encoded, function, syscall

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

MNT_DETACH = 0x2  # umount2(2)

# statx(2), fcntl.h
AT_NO_AUTOMOUNT = 0x800
AT_SYMLINK_NOFOLLOW = 0x100
AT_STATX_DONT_SYNC = 0x4000
STATX_BASIC_STATS = 0x7FF
STATX_MNT_ID = 0x1000  # Linux 5.8
_STATX_SIZE = 256

# include/uapi/linux/mount.h
FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432

# include/uapi/linux/prctl.h
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_IS_SET = 1

# include/uapi/linux/nsfs.h
NS_GET_USERNS = 0xB701  # _IO(0xb7, 0x1), Linux 4.9
NS_GET_OWNER_UID = 0xB704  # _IO(0xb7, 0x4), Linux 4.11

_statx: "Callable[..., int] | None" = None


def setns(fd: int, kind: int) -> None:
    """Join the namespace that `fd` refers to (setns(2))."""
    check(function("setns")(fd, kind))


def umount(target: str, flags: int) -> None:
    """umount2(2)."""
    check(function("umount2")(encoded(target), flags))


def new_tmpfs(options: "dict[str, str]", attributes: int) -> int:
    """A detached tmpfs mount with `options` (size, mode, uid, gid: tmpfs(5)); fsopen(2), Linux 5.2."""
    context = check(syscall(_SYS_FSOPEN, b"tmpfs", FSOPEN_CLOEXEC))
    try:
        for key, value in options.items():
            check(syscall(_SYS_FSCONFIG, context, FSCONFIG_SET_STRING, key.encode(), encoded(value), 0))
        check(syscall(_SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0))
        return check(syscall(_SYS_FSMOUNT, context, FSMOUNT_CLOEXEC, attributes))
    finally:
        posix.close(context)


def has_ambient(capability: int) -> bool:
    """Whether the capability of that number is ambient: kept by any command that is started (Linux 4.3)."""
    try:
        return check(function("prctl")(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0)) == 1
    except OSError:
        return False  # a kernel without them


def status_at_hand(fd: int, name: str) -> bytearray:
    """The struct statx of an entry, a link's own too, of the directory `fd`, as far as the kernel has it already.

    The empty name is the directory itself. Nothing is asked of a file system that would have to ask somebody (statx(2),
    Linux 4.11).
    """
    global _statx  # noqa: PLW0603 (looked up once: it is called for each file of a tree)
    if _statx is None:
        try:
            _statx = function("statx")
        except OSError:  # glibc before 2.28
            _statx = absent
    flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC | AT_EMPTY_PATH
    buffer = bytearray(_STATX_SIZE)
    check(_statx(fd, encoded(name), flags, STATX_BASIC_STATS | STATX_MNT_ID, address(buffer)))
    return buffer


def owning_user_namespace(fd: int) -> int:
    """A descriptor of the user namespace that owns the namespace `fd` (ioctl_ns(2), NS_GET_USERNS)."""
    return check(function("ioctl")(fd, NS_GET_USERNS))


def owner_of(fd: int) -> int:
    """The uid, as we see it, of the user who made the user namespace `fd` (ioctl_ns(2), NS_GET_OWNER_UID)."""
    buffer = bytearray(8)  # a uid_t, which has 4 of them
    check(function("ioctl")(fd, NS_GET_OWNER_UID, address(buffer)))
    return int.from_bytes(buffer[:4], sys.byteorder)
