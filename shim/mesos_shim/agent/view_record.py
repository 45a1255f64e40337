"""What a DEBUG container needs of its parent: kept in the parent's runtime directory, which is the agent's.

The record of `ps` and `usage` is best effort. A join is not: without this file no container starts, and a DEBUG
container whose parent has a damaged one is refused. Only the agent, who makes the directory, and we may write there.
"""

import errno
import posix
from _stat import S_IMODE

from ..errors import ShimError, reason
from ..plan.model import Plan
from ..system import files, proc, strict_json

NAME = "mesos-shim.view"
VERSION = 1
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def open_directory(runtime: str) -> int:
    """The runtime directory, opened before a mount can cover it. Raises ShimError if others could write there."""
    try:
        fd = posix.open(runtime, _DIRECTORY)
        status = posix.fstat(fd)
    except OSError as error:
        raise ShimError(f"{runtime}: {reason(error)}") from None
    others = status.st_mode & 0o002 or (status.st_mode & 0o020 and status.st_gid != posix.getegid())
    if not files.is_trusted(status) or others:
        posix.close(fd)
        raise ShimError(
            f"{runtime}: owned by uid {status.st_uid}, mode {S_IMODE(status.st_mode):04o}: users other "
            "than the agent can write there, and DEBUG containers trust what is in it"
        )
    return fd


def myself() -> "tuple[int, int]":
    """This process, as long as it is seen in the agent's /proc."""
    return proc.host_pid(), proc.start_time("self") or 0


def write(directory: int, plan: Plan, helper: "tuple[int, int]", anchor: "tuple[int, int]", covered: bool) -> None:
    """Keep the mount namespace of this process for those who join it. Raises ShimError."""
    try:
        inode = posix.stat("/proc/self/ns/mnt").st_ino
    except OSError as error:
        raise ShimError(f"the container's mount namespace: {reason(error)}") from None
    value = {
        "version": VERSION,
        "anchor": list(anchor),
        "helper": list(helper),
        "mount_namespace": inode,
        "uid": plan.user.uid,
        "covered": covered,
        "no_new_privs": plan.no_new_privs is not None,
        "not_as_root": plan.not_as_root,
    }
    data = strict_json.dump(value).encode("ascii") + b"\n"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
    try:
        fd = posix.open(NAME, flags, 0o600, dir_fd=directory)
        try:
            if posix.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, "no space left")
        finally:
            posix.close(fd)
    except OSError as error:
        raise ShimError(
            f"{NAME} in the container's runtime directory: {reason(error)}; without it no DEBUG container could "
            "join this container"
        ) from None
