"""The same guarantees on kernels without open_tree, mount_setattr, fsopen or openat2, or behind a seccomp filter.

Detached mounts do not exist there, so they are made on a staging tmpfs in our own namespace, and moved from there.
Every path handed to mount(2) is `/proc/self/fd/N`: nobody can rename what that names. What cannot be done fully is
refused; there is no silent half (threats 13).
"""

import errno
import posix
from _stat import S_ISDIR, S_ISLNK

from ..errors import ShimError, reason
from . import mountinfo, other_syscalls, syscalls
from .guarded_walk import mount_id

# mount(2): a remount sets exactly the flags that it is given, so those that are there must be given again.
_OPTIONS = {
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "noatime": 0x400,
    "nodiratime": 0x800,
    "relatime": 0x200000,
    "nosymfollow": 0x100,
}


def step_without_link(fd: int, name: str, flags: int) -> int:
    """What openat2 with RESOLVE_BENEATH and NO_SYMLINKS does for one component."""
    child = posix.open(name, flags | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=fd)
    try:
        if S_ISLNK(posix.fstat(child).st_mode):
            raise OSError(errno.ELOOP, posix.strerror(errno.ELOOP))
    except BaseException:
        posix.close(child)
        raise
    return child


def step_within_mount(fd: int, name: str, flags: int) -> int:
    """What openat2 with RESOLVE_BENEATH, NO_SYMLINKS and NO_XDEV does for one component."""
    # Whose mount it is comes first: a file system that is never to be entered may never answer either.
    child = posix.open(name, syscalls.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=fd)
    try:
        if mount_id(child) != mount_id(fd):
            raise OSError(errno.EXDEV, posix.strerror(errno.EXDEV))
        mode = posix.fstat(child).st_mode
        if S_ISLNK(mode):
            raise OSError(errno.ELOOP, posix.strerror(errno.ELOOP))
        if flags & posix.O_DIRECTORY and not S_ISDIR(mode):
            raise OSError(errno.ENOTDIR, posix.strerror(errno.ENOTDIR))
        if flags & syscalls.O_PATH:
            return child
        opened = posix.open(f"/proc/self/fd/{child}", flags & ~posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except BaseException:
        posix.close(child)
        raise
    posix.close(child)
    return opened


# Where mounts are made. Nobody but root can rename it, nothing of a user's lies in it, and it is no volume's source
# or target: a copy of a source must not contain what is being made.
_PLACE = "/sys"


def open_without_links(path: str, flags: int) -> int:
    """What openat2 with RESOLVE_NO_SYMLINKS does for an absolute path."""
    fd = posix.open("/", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        names = [name for name in path.split("/") if name]
        step = syscalls.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
        for name in names[:-1]:
            child = posix.open(name, step, dir_fd=fd)
            posix.close(fd)
            fd = child
        return posix.open(names[-1], flags | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=fd)
    finally:
        posix.close(fd)


class Staging:
    """A tmpfs over /sys, in our own namespace only, on which mounts are made before they are moved to their places.

    With `only_tmpfs` nothing but a tmpfs is made here: the other calls are there.
    """

    def __init__(self, only_tmpfs: bool = False) -> None:
        self.only_tmpfs = only_tmpfs
        self._root = -1
        self._covered = (-1, -1)
        self._count = 0

    def _mount_point(self, directory: bool) -> "tuple[str, int]":
        """A fresh mount point on the staging tmpfs, its name and a descriptor."""
        if self._root < 0:
            self._root = self._start()
        self._count += 1
        name = str(self._count)
        if directory:
            posix.mkdir(name, 0o700, dir_fd=self._root)
        else:
            posix.close(posix.open(name, posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600, dir_fd=self._root))
        return name, posix.open(name, syscalls.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=self._root)

    def _start(self) -> int:
        try:
            before = posix.stat(_PLACE)
            syscalls.mount("tmpfs", _PLACE, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=0700,size=64k")
            fd = posix.open(_PLACE, syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
            status = posix.fstat(fd)
        except OSError as error:
            raise ShimError(f"this kernel lacks open_tree, and a staging mount at {_PLACE}: {reason(error)}") from None
        if (before.st_dev, before.st_ino) == (status.st_dev, status.st_ino):
            raise ShimError(f"the staging mount at {_PLACE} is not there")
        self._covered = (before.st_dev, before.st_ino)
        return fd

    def tmpfs(self, options: "dict[str, str]", attributes: int) -> int:
        """As other_syscalls.new_tmpfs."""
        name, mount_point = self._mount_point(directory=True)
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
        if attributes & syscalls.MOUNT_ATTR_NOEXEC:
            flags |= syscalls.MS_NOEXEC
        data = ",".join(f"{key}={value}" for key, value in options.items())
        syscalls.mount("tmpfs", f"/proc/self/fd/{mount_point}", "tmpfs", flags, data)
        return self._mounted(name, mount_point)

    def clone(self, source: int, read_only: bool, propagation: int, restrictions: int = 0) -> int:
        """As syscalls.open_tree with OPEN_TREE_CLONE and AT_RECURSIVE, then syscalls.mount_setattr."""
        status = posix.fstat(source)
        name, mount_point = self._mount_point(S_ISDIR(status.st_mode))
        if (status.st_dev, status.st_ino) == self._covered:
            raise ShimError(f"{_PLACE} cannot be a volume's source on a kernel without open_tree")
        syscalls.mount(
            f"/proc/self/fd/{source}", f"/proc/self/fd/{mount_point}", None, syscalls.MS_BIND | syscalls.MS_REC
        )
        tree = self._mounted(name, mount_point)
        syscalls.mount(None, f"/proc/self/fd/{tree}", None, propagation | syscalls.MS_REC)
        if read_only or restrictions:
            restrict(tree, restrictions | (syscalls.MS_RDONLY if read_only else 0))
        return tree

    def _mounted(self, name: str, mount_point: int) -> int:
        before = mount_id(mount_point)
        posix.close(mount_point)
        fd = posix.open(name, syscalls.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=self._root)
        if mount_id(fd) == before:
            raise ShimError(f"the mount made at {_PLACE}/{name} is not there")
        return fd

    def move(self, tree: int, target: int) -> None:
        """As syscalls.move_mount."""
        syscalls.mount(f"/proc/self/fd/{tree}", f"/proc/self/fd/{target}", None, syscalls.MS_MOVE)

    def seal(self, tree: int) -> None:
        """Make the tmpfs `tree` read-only, and only that one mount."""
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV
        syscalls.mount(None, f"/proc/self/fd/{tree}", None, flags)

    def clear(self) -> None:
        """Take the staging tmpfs away."""
        if self._root >= 0:
            other_syscalls.umount(f"/proc/self/fd/{self._root}", other_syscalls.MNT_DETACH)


def restrict(tree: int, restrictions: int) -> None:
    """As mount_setattr with AT_RECURSIVE: MS_RDONLY and so on for the mount `tree` and every mount below it.

    The two calls' flags of read-only, nosuid, nodev and noexec are the same numbers.
    """
    top = mount_id(tree)
    found = list(mountinfo.read())
    below = {top}
    for line in found:  # a child's comes after its parent's
        if line.parent in below:
            below.add(line.id)
    for line in found:
        if line.id in below:
            flags = syscalls.O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
            fd = tree if line.id == top else posix.open(line.path, flags)
            try:
                if mount_id(fd) != line.id:
                    raise ShimError(
                        f"{line.path!r}: a mount below a read-only volume cannot be reached to make it read-only"
                    )
                flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | restrictions | _flags(line.id)
                syscalls.mount(None, f"/proc/self/fd/{fd}", None, flags)
            finally:
                if fd != tree:
                    posix.close(fd)


def _flags(number: int) -> int:
    """What the mount is mounted with now."""
    for line in mountinfo.read():
        if line.id == number:
            return sum(_OPTIONS.get(name, 0) for name in line.options)
    return 0
