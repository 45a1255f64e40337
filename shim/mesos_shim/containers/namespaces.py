"""Opens the namespaces of a container's process for root to join: `enter` and a DEBUG container, by one function.

Between any two of our calls the task can make new ones, below a user namespace of its own, and what a process of root's
meets there is the task's doing (threats 27). So nothing is taken as the process has it:

- one descriptor of /proc/PID is asked throughout. It stands for that one process as a pidfd does (the inode holds the
  `struct pid`, fs/proc/base.c), on every kernel; whoever has the pid later is not found through it;
- the mount namespace must be the recorded one;
- the user namespace is the one that owns that mount namespace. The process is not asked for its own;
- each of the others must be owned by that one or by ours;
- after the last was opened the process is asked once more, whether all are still its own and it still runs.
"""

import errno
import posix

from ..errors import ShimError, reason
from ..system import other_syscalls, proc, syscalls

# All but that of users. Those that the shim never makes are joined too, where the container's process has them.
KINDS = ("mnt", "pid", "ipc", "net", "uts", "cgroup", "time")


def open_those_of(
    what: str,
    pid: int,
    started: "int | float | None",
    kinds: "tuple[str, ...]",
    recorded: "dict[str, int]",
    uid: "int | None" = None,
) -> "dict[str, int]":
    """Descriptors of the `kinds` of namespaces of the process that are not ours, in the order in which to join them.

    `recorded` is what its record says of its mount namespace: `mnt` and `mnt_id`, or nothing where it was given none.
    One that a user namespace other than ours owns is accepted if the user `uid` made that; it comes first, as "user",
    because it gives the right to the others.
    Raises ShimError, which begins with `what`, where the process has ended or is not in the namespace of its launch.
    """
    what = f"{what}, pid {pid},"
    found: dict[str, int] = {}
    process = -1
    try:
        process = posix.open(f"/proc/{pid}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        _check_life(process, started, what)
        for kind in kinds:
            _open(process, kind, found)
        if "mnt" in kinds:
            _check_mounts(found, recorded, what)
        owner = _check_owners(found, recorded, uid, what)
        _ask_again(process, kinds, found, what)
        _check_life(process, started, what)
    except (OSError, ShimError) as error:
        _close(found)
        if isinstance(error, ShimError):
            raise
        if isinstance(error, FileNotFoundError) or error.errno == errno.ESRCH:
            raise ShimError(f"{what} has ended") from None
        raise ShimError(f"{what} its namespaces: {reason(error)}") from None
    finally:
        if process >= 0:
            posix.close(process)
    return found if owner is None else {"user": owner, **found}


def _check_life(process: int, started: "int | float | None", what: str) -> None:
    """Refuse a process that has ended, and one that was given the pid of the recorded one."""
    now = proc.start_time(f"self/fd/{process}")
    if now is None or started not in (None, now):
        raise ShimError(f"{what} has ended")


def _open(process: int, kind: str, found: "dict[str, int]") -> None:
    """Put a descriptor of the process's namespace into `found`, unless it is ours."""
    ours = _ours(kind)
    if ours is None:
        return  # a kind that this kernel does not have
    fd = posix.open(f"ns/{kind}", posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=process)
    if posix.fstat(fd).st_ino == ours:
        posix.close(fd)  # nobody may join their own pid or user namespace again
    else:
        found[kind] = fd


def _ours(kind: str) -> "int | None":
    try:
        return posix.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return None


def _check_mounts(found: "dict[str, int]", recorded: "dict[str, int]", what: str) -> None:
    """Refuse a mount namespace that is not the one of the launch."""
    inode = recorded.get("mnt")
    fd = found.get("mnt")
    if inode is None:
        return  # then the owner alone says whose it is
    if fd is None or posix.fstat(fd).st_ino != inode or recorded.get("mnt_id") not in (None, _unique_id(fd)):
        # A 1.x agent's helper stands for the command in the record until there is one, and is back on the host then.
        raise ShimError(
            f"{what} is not in the mount namespace that it was launched in; either it has just been "
            "started (try again), or it has left that namespace"
        )


def _unique_id(fd: int) -> "int | None":
    try:
        return syscalls.mount_namespace_id(fd)
    except OSError:
        return None


def _check_owners(found: "dict[str, int]", recorded: "dict[str, int]", uid: "int | None", what: str) -> "int | None":
    """The user namespace to join, None where that is ours; refuses namespaces that anybody else's owns."""
    ours = posix.stat("/proc/self/ns/user").st_ino
    accepted = [ours]
    joined: int | None = None
    try:
        for kind, fd in found.items():
            owner = other_syscalls.owning_user_namespace(fd)
            inode = posix.fstat(owner).st_ino
            if kind == "mnt" and inode != ours and "mnt" in recorded and other_syscalls.owner_of(owner) == uid:
                joined = owner
                accepted.append(inode)
                continue
            posix.close(owner)
            if inode not in accepted:
                # The task's own, made after its launch: what it mounted there would be root's /etc to us.
                raise ShimError(
                    f"{what} has left the mount namespace that it was launched in: its {kind} namespace "
                    "belongs to a user namespace of its own"
                )
    except BaseException:
        if joined is not None:
            posix.close(joined)
        raise
    return joined


def _ask_again(process: int, kinds: "tuple[str, ...]", found: "dict[str, int]", what: str) -> None:
    """Refuse where the process has changed a namespace since the first was opened."""
    for kind in kinds:
        before = posix.fstat(found[kind]).st_ino if kind in found else _ours(kind)
        if before is not None and posix.stat(f"ns/{kind}", dir_fd=process).st_ino != before:
            raise ShimError(
                f"{what} has just left the mount namespace that it was launched in: its {kind} namespace is new"
            )


def _close(found: "dict[str, int]") -> None:
    for fd in found.values():
        posix.close(fd)
