"""A DEBUG container joins its parent's view: the namespaces of a process that the agent or our record names.

It plans no mounts, so what the parent's were judged to need holds for it (threats 8): the parent's record says it.
"""

import posix

from .. import execute, jsontext, linux, plan, record
from ..errors import ShimError, reason

# What the child joins, and what its parent must (setns(2): a pid namespace is entered by children only).
IN_CHILD = ("ipc", "mnt")
IN_PARENT = ("pid",)


class Parent:
    """Whose view is joined, and what was judged of that view when it was made."""

    __slots__ = ("covered", "mount_namespace", "name", "no_new_privs", "not_as_root", "pid", "started", "uid")

    def __init__(self, name: str, pid: int, started: "int | None") -> None:
        self.name = name
        self.pid = pid
        self.started = started
        # What is recorded of its view, where it has one of its own.
        self.mount_namespace: object = None
        self.no_new_privs = False
        self.not_as_root: str | None = None
        # For whom it was judged, and whether there was anything to judge; None and False where nothing is recorded.
        self.uid: int | None = None
        self.covered = False


def find(container_ids: "list[str]", runtime: str, state: str) -> Parent:
    """The parent of the container `container_ids` (outermost id first)."""
    if len(container_ids) < 2:
        raise ShimError("a DEBUG container without a parent")
    name = ".".join(container_ids[:-1])
    parent = _recorded(name, state)
    if parent is None:
        # A parent launched before the shim was installed: its helper stands in its view, and the agent knows its pid.
        parent = _checkpointed(name, runtime[: -len("/containers/" + container_ids[-1])] + "/pid")
    if parent is None:
        raise ShimError(f"the parent container {name} has no recorded view, and the agent no pid of it")
    return parent


def inherit(parent: Parent, made: plan.Plan) -> None:
    """What the parent's view was judged to need, `made`, which joins it, needs too."""
    if parent.no_new_privs:
        made.no_new_privs = f"{parent.name}, whose view it joins, has it"
    elif parent.covered and made.user.uid not in (0, parent.uid):
        made.no_new_privs = f"the view of {parent.name} was judged for another user"
    made.not_as_root = parent.not_as_root


def enter(parent: Parent, kinds: "tuple[str, ...]" = IN_CHILD) -> None:
    """Enter namespaces of the parent."""
    pid, name = parent.pid, parent.name
    opened = []
    try:
        for kind in kinds:
            fd = posix.open(f"/proc/{pid}/ns/{kind}", posix.O_RDONLY | posix.O_CLOEXEC)
            # Its own pid namespace nobody may join again.
            inode = posix.fstat(fd).st_ino
            if inode == posix.stat(f"/proc/self/ns/{kind}").st_ino:
                if kind == "mnt" and parent.mount_namespace not in (None, inode):
                    # Its helper stands for it in the record until there is the command, and is back on the host then.
                    raise ShimError(
                        f"the parent container {name}, pid {pid}, is not in the view that it was launched in: "
                        "it has just been started, or has left it"
                    )
                posix.close(fd)
                continue
            opened.append(fd)
            owner = linux.owning_user_namespace(fd)
            foreign = posix.fstat(owner).st_ino != posix.stat("/proc/self/ns/user").st_ino
            posix.close(owner)
            if foreign:
                # The task's own, made after its launch: what it mounted there would be root's /etc to us.
                raise ShimError(
                    f"the parent container {name}, pid {pid}, has left the view that it was launched in: "
                    f"its {kind} namespace is of a user namespace of its own"
                )
    except OSError as error:
        raise ShimError(f"the parent container {name}, pid {pid}: {reason(error)}") from None
    # Looked at after the descriptors were opened: a pid that was reused in between has another start time.
    if parent.started is not None and record.start_time(pid) != parent.started:
        raise ShimError(f"the parent container {name} has ended: pid {pid} is another process by now")
    execute.stop_imports()
    try:
        for fd in opened:
            linux.setns(fd, 0)
            posix.close(fd)
    except OSError as error:
        raise ShimError(f"joining the view of {name}, pid {pid}: {reason(error)}") from None


def _recorded(name: str, state: str) -> "Parent | None":
    path = f"{state}/containers/{name}.json"
    try:
        place = record.open_place(state)  # refuses a directory that others could put a record into
        if place.missing:  # what is open is a directory above, which holds no records
            return None
        fd = posix.open(
            f"{name}.json", posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK, dir_fd=place.fd
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    try:
        if posix.fstat(fd).st_uid != posix.geteuid():
            raise ShimError(f"{path}: does not belong to uid {posix.geteuid()}")
        value = jsontext.parse(posix.read(fd, jsontext.MAX_BYTES), path)
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    finally:
        posix.close(fd)
        posix.close(place.fd)
    if not isinstance(value, dict) or value.get("container_id") != name:
        value = {}
    pid, started = value.get("pid"), value.get("start_time")
    if not isinstance(pid, int) or not isinstance(started, int):
        raise ShimError(f"{path}: damaged: no container_id of that name, pid or start_time")
    parent = Parent(name, pid, started)
    namespaces = value.get("namespaces")
    parent.mount_namespace = namespaces.get("mnt") if isinstance(namespaces, dict) else None
    uid = value.get("uid")
    parent.uid = uid if isinstance(uid, int) else None
    parent.covered = value.get("volumes") != [] or "." in name  # itself in another's view, perhaps
    parent.no_new_privs = value.get("no_new_privs") is not False
    why = value.get("not_as_root")
    if "not_as_root" not in value and parent.no_new_privs:
        why = f"the record of {name} is an older release's, which does not say whether it may"
    parent.not_as_root = None if why is None else str(why)
    return parent


def _checkpointed(name: str, path: str) -> "Parent | None":
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return None
    try:
        text = posix.read(fd, 32).strip()
    finally:
        posix.close(fd)
    if not text.isdigit():
        return None
    pid = int(text)
    parent = Parent(name, pid, record.start_time(pid))
    parent.no_new_privs = _has_no_new_privs(pid)
    why = f"nothing is recorded of what covers what in the view of {name}"
    parent.not_as_root = why
    return parent


def _has_no_new_privs(pid: int) -> bool:
    """Whether the process cannot gain rights (proc_pid_status(5), Linux 4.10); who cannot be asked counts as such."""
    try:
        fd = posix.open(f"/proc/{pid}/status", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return True
    try:
        return b"\nNoNewPrivs:\t0\n" not in posix.read(fd, 16384)
    except OSError:
        return True
    finally:
        posix.close(fd)
