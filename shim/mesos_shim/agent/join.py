"""A DEBUG container joins its parent's view: the namespaces of a process that the agent or our record names."""

import posix

from .. import execute, jsontext, linux, record
from ..errors import ShimError, reason

# What the child joins, and what its parent must (setns(2): a pid namespace is entered by children only).
IN_CHILD = ("ipc", "mnt")
IN_PARENT = ("pid",)


def parents_view(container_ids: "list[str]", runtime: str, state: str, kinds: "tuple[str, ...]" = IN_CHILD) -> None:
    """Enter namespaces of the parent of the container `container_ids` (outermost id first)."""
    if len(container_ids) < 2:
        raise ShimError("a DEBUG container without a parent")
    parent = ".".join(container_ids[:-1])
    pid, started = _recorded(f"{state}/containers/{parent}.json")
    if pid is None:
        # A parent launched before the shim was installed: its helper stands in its view, and the agent knows its pid.
        pid = _checkpointed(runtime[: -len("/containers/" + container_ids[-1])] + "/pid")
    if pid is None:
        raise ShimError(f"the parent container {parent} has no recorded view, and the agent no pid of it")
    _enter(pid, started, parent, kinds)


def _enter(pid: int, started: "int | None", parent: str, kinds: "tuple[str, ...]") -> None:
    opened = []
    try:
        for kind in kinds:
            fd = posix.open(f"/proc/{pid}/ns/{kind}", posix.O_RDONLY | posix.O_CLOEXEC)
            # Its own pid namespace nobody may join again.
            if posix.fstat(fd).st_ino == posix.stat(f"/proc/self/ns/{kind}").st_ino:
                posix.close(fd)
            else:
                opened.append(fd)
    except OSError as error:
        raise ShimError(f"the parent container {parent}, pid {pid}: {reason(error)}") from None
    # Looked at after the descriptors were opened: a pid that was reused in between has another start time.
    if started is not None and record.start_time(pid) != started:
        raise ShimError(f"the parent container {parent} has ended: pid {pid} is another process by now")
    execute.stop_imports()
    try:
        for fd in opened:
            linux.setns(fd, 0)
            posix.close(fd)
    except OSError as error:
        raise ShimError(f"joining the view of {parent}, pid {pid}: {reason(error)}") from None


def _recorded(path: str) -> "tuple[int | None, int | None]":
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    except OSError:
        return None, None
    try:
        if posix.fstat(fd).st_uid != posix.geteuid():
            raise ShimError(f"{path}: does not belong to uid {posix.geteuid()}")
        value = jsontext.parse(posix.read(fd, jsontext.MAX_BYTES), path)
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    finally:
        posix.close(fd)
    pid, started = (value.get("pid"), value.get("start_time")) if isinstance(value, dict) else (None, None)
    if not isinstance(pid, int) or not isinstance(started, int):
        raise ShimError(f"{path}: damaged: no pid or start_time")
    return pid, started


def _checkpointed(path: str) -> "int | None":
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return None
    try:
        text = posix.read(fd, 32).strip()
    finally:
        posix.close(fd)
    return int(text) if text.isdigit() else None
