"""Bases of private directories: who may write them, and what a container's own directory in one is called.

A base is root's, or the caller's who launches for themselves, and nobody else may write it.

A directory's name says which container it is, and which process made it, in which pid namespace and since which boot:
gc can tell without a record whether anybody can still use it.
"""

from _stat import S_IFDIR, S_IMODE

from ..errors import ShimError
from ..system import proc
from ..system.walk import Missing, Resolved, resolve

WHAT = "configuration: private_directories: base"


def base(path: str, trusted: "tuple[int, ...]") -> Resolved:
    """The directory `path`, checked: nobody but `trusted` may put anything into it. Raises ShimError."""
    try:
        found = resolve(path, WHAT, trusted, strict=True)
    except Missing as error:
        raise Missing(f"{error}; create it with owner root and mode 0755") from None
    status = found.status
    if found.kind != S_IFDIR:
        raise ShimError(f"{WHAT}: {path!r} is not a directory")
    if found.controller is not None or status.st_uid not in trusted:
        raise ShimError(f"{WHAT}: {path!r} belongs to uid {status.st_uid}; chown it to root")
    if status.st_mode & 0o022:  # with an access list the group's bits are its mask
        raise ShimError(f"{WHAT}: {path!r}: mode {S_IMODE(status.st_mode):04o} lets others write it; chmod go-w it")
    return found


def name_for(container_id: str) -> str:
    """What this process calls the directories of a container that it launches. Raises ShimError without a /proc."""
    pid = proc.host_pid()
    try:
        start, boot, namespace = proc.start_time("self"), proc.boot_id(), proc.pid_namespace(pid)
    except OSError:
        start = boot = namespace = None
    if start is None or boot is None or namespace is None:
        raise ShimError(
            f"{WHAT}: /proc does not show this launch's start time, boot and pid namespace, so 'mesos-shim gc' "
            "could not recognize its directory later; mount /proc, or remove the base"
        )
    return f"{container_id[:150]}@{pid}-{start}@{boot_mark(boot)}-{namespace}"


def boot_mark(boot_id: str) -> str:
    """The part of the boot's id that is in a name."""
    return boot_id.replace("-", "")[:16]
