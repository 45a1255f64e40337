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
_MAX_PID = 1 << 31


class View:
    """Whose mount namespace it is, and what was found of it when it was made."""

    __slots__ = ("anchor", "covered", "helper", "mount_namespace", "no_new_privs", "not_as_root", "uid")

    def __init__(self, value: "dict[str, object]", where: str) -> None:
        # Who stands in it as long as the container runs, and the helper, whom the agent knows: pid and start time.
        self.anchor = _process(value.get("anchor"), where)
        self.helper = _process(value.get("helper"), where)
        inode = value.get("mount_namespace")
        if type(inode) is not int:
            raise ShimError(f"{where}: damaged: {inode!r} is not a mount namespace")
        self.mount_namespace = inode
        uid = value.get("uid")
        self.uid = uid if isinstance(uid, int) else None
        self.covered = value.get("covered") is not False
        self.no_new_privs = value.get("no_new_privs") is not False
        why = value.get("not_as_root")
        self.not_as_root = None if why is None else str(why)


def _process(value: object, where: str) -> "tuple[int, int]":
    if isinstance(value, list) and len(value) == 2 and all(type(item) is int and item > 0 for item in value):
        pid, started = value
        if pid < _MAX_PID:
            return pid, started
    raise ShimError(f"{where}: damaged: {value!r} is not a pid and a start time")


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


def read(runtime: str) -> "View | None":
    """What is kept in the runtime directory `runtime`, None where there is nothing. Raises ShimError."""
    path = f"{runtime}/{NAME}"
    directory = open_directory(runtime)
    try:
        text, _ = files.read_trusted(NAME, strict_json.MAX_BYTES, directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    except ShimError as error:
        raise ShimError(f"{path}: not a file of the agent's: {error}") from None
    finally:
        posix.close(directory)
    value = strict_json.parse(text, path)
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ShimError(f"{path}: damaged, or another release's: not version {VERSION}")
    return View(value, path)
