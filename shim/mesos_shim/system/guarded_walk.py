"""Steps onto no file system that a user answers for (FUSE): the answer may never come, and nothing ends the wait.

Whoever may run fusermount(1) can mount one on a directory of their own, and where /etc/fuse.conf has `user_allow_other`
root is answered too. Opening with O_PATH asks a file system nothing (open(2)), and the kernel tells of the descriptor
which mount it is on. So a name is looked at only once that is known, and by that descriptor.

It mounts no automount either (system/walk.py does): for that somebody would have to answer, too.

release.py uses it as well: it and what it imports must need nothing but the built-in modules.
"""

import errno
import posix

from . import files, mountinfo

_STEP = getattr(posix, "O_PATH", 0) | posix.O_NOFOLLOW | posix.O_CLOEXEC


def step(fd: int, name: str) -> int:
    """An O_PATH descriptor of the entry `name`, a link's own too, of the directory `fd`. Raises OSError.

    So it does where a file system of FUSE is mounted there; that `fd` is on one already is the caller's to know.
    """
    child = posix.open(name, _STEP, dir_fd=fd)
    try:
        mount = mount_id(child)
        if mount != mount_id(fd):
            _refuse_users(mount)
    except BaseException:
        posix.close(child)
        raise
    return child


def walk(path: str) -> int:
    """As `step`, of a whole absolute path that leads through no link."""
    fd = posix.open("/", _STEP)
    for name in path.split("/"):
        if not name:
            continue
        try:
            child = step(fd, name)
        finally:
            posix.close(fd)
        fd = child
    return fd


def mount_id(fd: int) -> int:
    """The id of the mount that `fd` was opened on (proc_pid_fdinfo(5)). Raises OSError."""
    for line in files.read_file(f"/proc/self/fdinfo/{fd}").splitlines():
        if line.startswith(b"mnt_id:"):
            return int(line[7:])
    raise OSError(errno.ENOSYS, "/proc/self/fdinfo: no mnt_id; the kernel is older than 3.15")


def _refuse_users(mount: int) -> None:
    """Raise OSError if the mount is FUSE's, or one that nobody knows any more (proc_pid_mountinfo(5))."""
    for line in mountinfo.read():
        if line.id == mount:
            if line.kind.startswith("fuse"):
                raise OSError(errno.EOPNOTSUPP, "a FUSE mount, which may never answer")
            return
    raise OSError(errno.EOPNOTSUPP, "a mount that has just gone")
