"""Linux system calls that Python's `posix` module lacks: one function each, descriptors in and out.

Everything goes through the raw `_ctypes` module: `import ctypes` alone costs a third of a bare interpreter's
start, and a launch needs a dozen calls. Every function raises OSError with the kernel's errno. What usual launches
do not call is in other_syscalls.py.
Numbers of the newer calls are the same on every architecture (include/uapi/asm-generic/unistd.h).
"""

import errno
import posix
import sys
from _ctypes import FUNCFLAG_CDECL, FUNCFLAG_USE_ERRNO, CFuncPtr, byref, dlopen, dlsym, get_errno

# sched.h, unshare(2)
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

# mount(2)
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000

# fcntl.h (the generic values differ on some architectures: O_PATH does not)
O_PATH = 0x200000
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

# include/uapi/linux/mount.h
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = posix.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

# include/uapi/linux/openat2.h
RESOLVE_NO_XDEV = 0x1
RESOLVE_NO_MAGICLINKS = 0x2
RESOLVE_NO_SYMLINKS = 0x4
RESOLVE_BENEATH = 0x8

CLOSE_RANGE_CLOEXEC = 0x4

# flock(2), the same on macOS
LOCK_SH = 1
LOCK_EX = 2
LOCK_NB = 4

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_CAPABILITY_VERSION = 0x20080522  # include/uapi/linux/capability.h, _LINUX_CAPABILITY_VERSION_3

# include/uapi/linux/nsfs.h: _IOR(0xb7, 0x5, __u64), Linux 6.11
NS_GET_MNTNS_ID = 0x8008B705

KEYCTL_JOIN_SESSION_KEYRING = 1  # include/uapi/linux/keyctl.h

# Of keyctl(2), which is older than the numbers that all architectures share (arch/*/…/syscall*.tbl): by what uname(2)
# says and whether we have 64 bits. The others have that of include/uapi/asm-generic/unistd.h.
_KEYCTL = {
    ("x86_64", True): 250,
    ("x86_64", False): 288,
    ("i", False): 288,  # i386 to i686
    ("arm", False): 311,
    ("aarch64", False): 311,
    ("ppc", True): 271,
    ("ppc", False): 271,
    ("s390", True): 280,
    ("s390", False): 280,
    ("mips", True): 5241,
    ("mips", False): 4282,
    ("sparc", True): 283,
    ("sparc", False): 283,
}
_KEYCTL_GENERIC = 219

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_CLOSE_RANGE = 436
_SYS_OPENAT2 = 437
_SYS_MOUNT_SETATTR = 442

# Of every architecture that Linux has, 64 bits or 32, at most this many bytes (include/uapi/asm-generic/statfs.h).
_STATFS_SIZE = 256
# What a kernel without a call answers, and what a container's seccomp filter answers in its place.
ABSENT = (errno.ENOSYS, errno.EPERM)


class _Function(CFuncPtr):
    """A function of the C library. Its result is a C int, which is what is taken where no type is named."""

    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO


_libc = dlopen(None, 0)  # type: ignore[arg-type]


def function(name: str) -> "_Function":
    """The function of the C library."""
    return _Function(dlsym(_libc, name))


def absent(*arguments: object) -> int:
    """What a system without a call says in its place. Raises OSError."""
    raise OSError(errno.ENOSYS, "not a call of this system")


# Elsewhere the numbers of these calls are other calls': nothing here may be reached by accident.
_LINUX = sys.platform == "linux"
syscall = function("syscall") if _LINUX else absent
_mount = function("mount") if _LINUX else absent
_unshare = function("unshare") if _LINUX else absent


def check(result: int) -> int:
    """The result of a call; raises OSError where that says that it failed."""
    if result == -1:
        code = get_errno()
        raise OSError(code, posix.strerror(code))
    return result


def address(buffer: bytearray) -> object:
    """Where the kernel may write as many bytes as the buffer has."""
    # byref() takes an object of some ctypes type, and any type can be laid over a buffer: none has to be made for it.
    return byref(_Function.from_buffer(buffer))


def _u64(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, sys.byteorder) for value in values)


def encoded(path: "str | bytes") -> bytes:
    """A path or a text as the kernel takes it."""
    return path.encode(sys.getfilesystemencoding(), "surrogateescape") if isinstance(path, str) else path


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones (unshare(2))."""
    check(_unshare(flags))


def mount(source: "str | None", target: str, kind: "str | None", flags: int, data: "str | None" = None) -> None:
    """The classic mount(2). Paths are `/proc/self/fd/N` wherever somebody else could rename what they name."""
    arguments = [None if text is None else encoded(text) for text in (source, target, kind)]
    check(_mount(*arguments, flags, None if data is None else encoded(data)))


def open_tree(fd: int, flags: int) -> int:
    """A descriptor for the mount at `fd`; with OPEN_TREE_CLONE a detached copy (open_tree(2), Linux 5.2)."""
    return check(syscall(_SYS_OPEN_TREE, fd, b"", flags | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH))


def move_mount(tree: int, target: int) -> None:
    """Attach the detached mount `tree` on what the descriptor `target` refers to (move_mount(2), Linux 5.2)."""
    check(syscall(_SYS_MOVE_MOUNT, tree, b"", target, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH))


def mount_setattr(fd: int, flags: int, set_: int = 0, clear: int = 0, propagation: int = 0) -> None:
    """Change the mount at `fd`, with AT_RECURSIVE all below it at once (mount_setattr(2), Linux 5.12)."""
    attributes = _u64(set_, clear, propagation, 0)
    check(syscall(_SYS_MOUNT_SETATTR, fd, b"", flags | AT_EMPTY_PATH, attributes, len(attributes)))


def has_mount_calls() -> bool:
    """Whether the kernel has the calls that make and move detached mounts, all of them, and lets us use them.

    Asked once, without doing anything: a launch uses the new calls or the classic ones, never a mixture that would
    leave a detached mount without a way to attach it.
    """
    try:
        for call in (_probe_open_tree, _probe_move_mount, _probe_mount_setattr):
            call()
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise
    return True


def _probe_open_tree() -> None:
    _expect_bad_descriptor(syscall(_SYS_OPEN_TREE, -1, b"", AT_EMPTY_PATH))


def _probe_move_mount() -> None:
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _expect_bad_descriptor(syscall(_SYS_MOVE_MOUNT, -1, b"", -1, b"", flags))


def _probe_mount_setattr() -> None:
    attributes = _u64(MOUNT_ATTR_RDONLY, 0, 0, 0)
    _expect_bad_descriptor(syscall(_SYS_MOUNT_SETATTR, -1, b"", AT_EMPTY_PATH, attributes, len(attributes)))


def _expect_bad_descriptor(result: int) -> None:
    try:
        check(result)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise


def openat2(fd: int, path: str, flags: int, resolve: int) -> int:
    """openat(2) with bounds on how the path may be walked (openat2(2), Linux 5.6)."""
    how = _u64(flags | posix.O_CLOEXEC, 0, resolve)
    return check(syscall(_SYS_OPENAT2, fd, encoded(path), how, len(how)))


def close_range(first: int, last: int, flags: int) -> None:
    """Act on every descriptor from `first` to `last` (close_range(2), Linux 5.9; with CLOEXEC 5.11)."""
    # The upper bound is unsigned: ~0 means all.
    check(syscall(_SYS_CLOSE_RANGE, first, last, flags))


def flock(fd: int, operation: int) -> None:
    """Lock the open file, or give the lock back (flock(2)); not every file system has such locks."""
    check(function("flock")(fd, operation))


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2) with one argument; the others must be 0 for the options that we use."""
    return check(function("prctl")(option, argument, 0, 0, 0))


def death_signal() -> int:
    """The signal that this process gets when its parent ends (PR_SET_PDEATHSIG); 0 for none."""
    data = bytearray(8)  # an int, in as much room as `address` takes
    check(function("prctl")(PR_GET_PDEATHSIG, address(data), 0, 0, 0))
    return int.from_bytes(data[:4], sys.byteorder)


def _capability_header() -> bytes:
    return _CAPABILITY_VERSION.to_bytes(4, sys.byteorder) + bytes(4)  # pid 0: this thread


def capabilities() -> "tuple[int, int, int]":
    """This thread's effective, permitted and inheritable capabilities, as bits (capget(2))."""
    data = bytearray(24)  # twice the three sets, 32 bits each: the lower half first
    check(function("capget")(_capability_header(), address(data)))
    words = [int.from_bytes(data[start : start + 4], sys.byteorder) for start in range(0, 24, 4)]
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set them (capset(2)); an ambient one that is no longer both permitted and inheritable goes too."""
    sets = (effective, permitted, inheritable)
    words = [bits >> shift & 0xFFFFFFFF for shift in (0, 32) for bits in sets]
    data = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    check(function("capset")(_capability_header(), data))


def set_file_ids(uid: int, gid: int) -> None:
    """The ids by which this thread opens files, and those alone (setfsuid(2)). Raises OSError where it may not."""
    for name, wanted in (("setfsgid", gid), ("setfsuid", uid)):
        change = function(name)
        change(wanted)
        if change(-1) & 0xFFFFFFFF != wanted:  # they tell nothing but the id before; -1 is nobody's
            raise OSError(errno.EPERM, posix.strerror(errno.EPERM))


def new_session_keyring() -> None:
    """An empty session keyring for this process and what it becomes, in the place of the one it has (keyctl(2))."""
    check(syscall(_keyctl(posix.uname().machine, sys.maxsize > 2**32), KEYCTL_JOIN_SESSION_KEYRING, None))


def _keyctl(machine: str, is_64: bool) -> int:
    for (name, bits), number in _KEYCTL.items():
        if bits == is_64 and machine.startswith(name):
            return number
    return _KEYCTL_GENERIC


def file_system_type(fd: int) -> int:
    """The magic number of the file system of `fd` (fstatfs(2), include/uapi/linux/magic.h)."""
    buffer = bytearray(_STATFS_SIZE)
    check(function("fstatfs")(fd, address(buffer)))
    # f_type is the first field, a word (32 bits on s390x: its words are big-endian, so the first four bytes are it).
    width = 8 if sys.maxsize > 2**32 else 4
    if sys.byteorder == "big" and posix.uname().machine == "s390x":
        width = 4
    return int.from_bytes(buffer[:width], sys.byteorder) & 0xFFFFFFFF


def mount_namespace_id(fd: int) -> int:
    """The kernel's unique, never reused id of the mount namespace `fd` (ioctl NS_GET_MNTNS_ID, Linux 6.11)."""
    buffer = bytearray(8)
    check(function("ioctl")(fd, NS_GET_MNTNS_ID, address(buffer)))
    return int.from_bytes(buffer, sys.byteorder)
