"""A DEBUG container joins its parent's namespace: the namespaces of a process that the agent, or we, say stands in it.

It plans no mounts, so what the parent's were checked to need holds for it (threats 8): what we keep of the parent says
it. Whom to join comes from files of the agent's and ours in its runtime directory, which are always there.
"""

import posix

from ..containers import namespaces, record
from ..errors import ShimError, reason
from ..launch import execute
from ..plan import model
from ..system import files, other_syscalls, proc
from . import kept_view

# What the child joins, and what its parent must (setns(2): a pid namespace is entered by children only).
IN_CHILD = ("ipc", "mnt")
IN_PARENT = ("pid",)


class Parent:
    """Whose mount namespace is joined, and what was checked of that mount namespace when it was made."""

    __slots__ = ("covered", "mount_namespace", "name", "no_new_privs", "not_as_root", "pid", "started", "uid")

    def __init__(self, name: str, pid: int, started: "int | None") -> None:
        self.name = name
        self.pid = pid
        self.started = started
        # The inode of its mount namespace, where that is known.
        self.mount_namespace: int | None = None
        self.no_new_privs = False
        self.not_as_root: str | None = None
        # For whom it was checked, and whether there was anything to check; None and False where nothing is recorded.
        self.uid: int | None = None
        self.covered = False


def find(container_ids: "list[str]", runtime: str, state: str, target: "int | None" = None) -> Parent:
    """The parent of the container `container_ids` (outermost id first).

    `target` is whom the agent names (NAMESPACE_MNT_TARGET): the parent's helper, or a task of its command executor that
    has an image's root file system.
    """
    if len(container_ids) < 2:
        raise ShimError("a DEBUG container without a parent")
    name = ".".join(container_ids[:-1])
    above = runtime[: -len("/containers/" + container_ids[-1])]
    kept = kept_view.read(above)
    if kept is not None and target in (None, kept.helper[0]):
        return _kept(name, kept)
    # Launched by an older release, whose helper is back on the host while its record names the command.
    parent = _recorded(name, state) if kept is None else None
    if parent is not None:
        return parent
    pid = _checkpointed(above + "/pid") if target is None else target
    if pid is None:
        raise ShimError(
            f"the parent container {name} has no record of its mount namespace, and the agent knows no pid of it"
        )
    return _unknown(name, pid)


def _kept(name: str, kept: kept_view.View) -> Parent:
    parent = Parent(name, *kept.anchor)
    parent.mount_namespace = kept.mount_namespace
    parent.uid, parent.covered = kept.uid, kept.covered
    parent.no_new_privs, parent.not_as_root = kept.no_new_privs, kept.not_as_root
    return parent


def _unknown(name: str, pid: int) -> Parent:
    """A container that the packaged helper launched: the process that the agent names stands in its mount namespace."""
    parent = Parent(name, pid, proc.start_time(pid))
    if _is_ours(pid):
        raise ShimError(
            f"the parent container {name}, pid {pid}, was launched by mesos-shim, but its mount "
            "namespace is not recorded, because it has just been started or an older release launched it"
        )
    parent.no_new_privs = _has_no_new_privs(pid)
    why = f"the record does not say what covers what in the mount namespace of {name}"
    parent.not_as_root = why
    return parent


def _is_ours(pid: int) -> bool:
    """Whether a helper of ours runs there: an interpreter, which Mesos' own never is. Unreadable counts as such."""
    try:
        program = posix.readlink(f"/proc/{pid}/exe")
    except OSError:
        return True
    return program.rpartition("/")[2].startswith("python")


def inherit(parent: Parent, plan: model.Plan) -> model.Plan:
    """The plan with what the parent's mount namespace, which it joins, was checked to need."""
    no_new_privs, not_as_root = plan.no_new_privs, parent.not_as_root
    if parent.no_new_privs:
        no_new_privs = f"{parent.name}, whose view it joins, has it"
    elif parent.covered and plan.user.uid not in (0, parent.uid):
        no_new_privs = f"the view of {parent.name} was judged for another user"
    if not_as_root is None and parent.covered and parent.uid == 0 and plan.user.uid != 0:
        # Whose task has nothing to gain: nobody asked whose files it lays over root's.
        not_as_root = f"the view of {parent.name} was judged for root"
    return plan.but(no_new_privs=no_new_privs, not_as_root=not_as_root)


def enter(parent: Parent, kinds: "tuple[str, ...]" = IN_CHILD) -> None:
    """Enter namespaces of the parent."""
    opened = open_namespaces(parent, kinds)
    execute.stop_imports()
    try:
        for fd in opened:
            other_syscalls.setns(fd, 0)
            posix.close(fd)
    except OSError as error:
        raise ShimError(f"joining the mount namespace of {parent.name}, pid {parent.pid}: {reason(error)}") from None


def check(parent: Parent) -> None:
    """Refuse a parent whose mount namespace cannot be joined; for the packaged helper, which joins it itself."""
    for fd in open_namespaces(parent, IN_CHILD):
        posix.close(fd)


def open_namespaces(parent: Parent, kinds: "tuple[str, ...]") -> "list[int]":
    """Descriptors of those namespaces of the parent that are not ours, in the order in which to join them.

    Raises ShimError unless all of them are what they were when the parent was launched.
    """
    what = f"the parent container {parent.name}"
    if parent.started is None:
        raise ShimError(f"{what}, pid {parent.pid}, has ended")
    recorded = {} if parent.mount_namespace is None else {"mnt": parent.mount_namespace}
    # The namespace says whose the others may be, so it is opened first, if it is to be joined or not. A rootless
    # agent's helper has made a user namespace for it; below root nobody else's is joined.
    wanted = ("mnt", *(kind for kind in kinds if kind != "mnt"))
    found = namespaces.open_those_of(what, parent.pid, parent.started, wanted, recorded, posix.geteuid() or None)
    if "mnt" not in kinds and "mnt" in found:
        posix.close(found.pop("mnt"))
    return list(found.values()) if set(found) - {"user"} else []


def _recorded(name: str, state: str) -> "Parent | None":
    path = f"{state}/containers/{name}.json"
    try:
        place = record.open_place(state)  # refuses a directory that others could put a record into
        if place.missing:  # what is open is a directory above, which holds no records
            return None
        try:
            value, _ = record.read_object(place.fd, f"{name}.json")
        finally:
            posix.close(place.fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    except ShimError as error:
        raise ShimError(f"{path}: {error}") from None
    if value.get("container_id") != name:
        value = {}
    pid, started = value.get("pid"), value.get("start_time")
    if not isinstance(pid, int) or not isinstance(started, int):
        raise ShimError(f"{path}: damaged: no container_id of that name, pid or start_time")
    parent = Parent(name, pid, started)
    held = value.get("namespaces")
    inode = held.get("mnt") if isinstance(held, dict) else None
    parent.mount_namespace = inode if isinstance(inode, int) else None
    uid = value.get("uid")
    parent.uid = uid if isinstance(uid, int) else None
    parent.covered = value.get("volumes") != [] or "." in name  # itself in another's mount namespace, perhaps
    parent.no_new_privs = value.get("no_new_privs") is not False
    why = value.get("not_as_root")
    if "not_as_root" not in value and parent.no_new_privs:
        why = f"an older release wrote the record of {name}, which does not say whether it may"
    parent.not_as_root = None if why is None else str(why)
    return parent


def _checkpointed(path: str) -> "int | None":
    """The pid in an agent's file, None where there is none."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        text = posix.read(fd, 32).strip()
    finally:
        posix.close(fd)
    return int(text) if text.isdigit() else None


def _has_no_new_privs(pid: int) -> bool:
    """Whether the process cannot gain rights (proc_pid_status(5), Linux 4.10); who cannot be asked counts as such."""
    try:
        return b"\nNoNewPrivs:\t0\n" not in files.read_file(f"/proc/{pid}/status")
    except OSError:
        return True
