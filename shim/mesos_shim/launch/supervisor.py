"""The starter that forks: a child becomes the command, and its parent stays until the command has ended.

It forwards signals, waits, reports how the command ended and removes what it ran in. The parent imports nothing after
the fork and keeps no descriptor of the command's.
"""

import posix
import sys

from ..containers import record
from ..errors import ShimError, fail, reason, unexpected
from ..system import files, proc, syscalls
from . import description, execute, order
from .order import Step
from .state import USAGE_ONLY_NOTICE, LaunchState
from .wait import Child, make_process

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable, Iterable, Iterator, Sequence

_FAILED = b"!"  # what a child writes that did not become the command
# What an agent takes for a launch that failed.
_EXIT_FAILURE = 1


def fork(state: LaunchState, sequence: "Iterable[Step]", first: "Iterable[Step]" = ()) -> Child:
    """Do `first`, then fork a child that carries out `sequence`. Returns once the command runs, or has failed.

    The child says itself why it failed. Raises ShimError if nothing was started. Whoever calls this calls `clear_away`
    once the child has ended.
    """
    order.carry_out(state, before(state, sequence, first), on_failure=_clear)
    child = state.child
    assert child is not None  # noqa: S101 (the last of those steps makes it)
    if child.usage_only:
        from . import unenforced

        state.plan = unenforced.usage_only(state.plan)
    return child


def before(state: LaunchState, sequence: "Iterable[Step]" = (), first: "Iterable[Step]" = ()) -> "Iterator[Step]":
    """What the parent does before its child carries out `sequence`; its caller's own steps come `first`."""
    yield from first
    more = _does_more(state)
    if more:
        from . import clearing  # now: nothing is read once the command runs

        yield from clearing.first(state)
    yield SUBREAPER
    yield LOCK_SANDBOX
    if more:
        yield from clearing.before_fork(state)
    yield Step("fork", lambda state: _fork(state, sequence))


def after(state: LaunchState) -> "Iterator[Step]":
    """What the parent does once the command has ended: what may be in use still is gc's to remove, by the record."""
    in_use = state.child is not None and not state.child.failed and _lives_on(state, state.child)
    if _does_more(state):
        from . import clearing

        yield from clearing.after(state, in_use)
    if not in_use:
        yield REMOVE_RECORD


def _does_more(state: LaunchState) -> bool:
    """Whether this parent makes or removes more than a record."""
    plan = state.plan
    return (
        state.request.remove
        or "pid" in plan.namespaces
        or any(group.ours for group in plan.cgroups)
        or any(mount.base is not None for mount in plan.mounts)
    )


def _clear(state: LaunchState) -> None:
    """Remove the container's groups, if a launch that fails has made some."""
    if state.cgroups:
        from . import clearing  # loaded when they were made

        clearing.clear(state)


def clear_away(state: LaunchState) -> None:
    """After the command's end."""
    for step in after(state):
        step.run(state)


def become_subreaper(state: LaunchState) -> None:
    """Be who waits for the container: its record names us, and its orphans are ours (PR_SET_CHILD_SUBREAPER)."""
    state.supervisor = {"pid": proc.host_pid(), "start_time": proc.start_time("self") or 0}
    if sys.platform != "linux":
        return
    try:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return  # Linux before 3.4


def lock_sandbox(state: LaunchState) -> None:
    """Keep the sandbox locked for as long as this process runs, best effort.

    gc, which asks for the lock, then knows without a look at /proc that we are here, and systemd-tmpfiles ages nothing
    in it (tmpfiles.d(5)). Shared, for others may launch in the same sandbox. No command has the descriptor: it leads to
    the host's mount namespace. So the lock says nothing of what lives on without us; nor does gc take it for that.
    """
    fd = -1
    try:
        fd = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=state.plan.sandbox.fd)
        syscalls.flock(fd, syscalls.LOCK_SH | syscalls.LOCK_NB)
        state.lock = fd
    except OSError as error:
        if fd >= 0:
            posix.close(fd)
        what = "nothing else keeps systemd-tmpfiles from it"
        if state.remove:
            state.remove = False  # gc could not know whether we still run
            what += ", and gc will not remove it"
        state.warnings.append(f"the sandbox {state.plan.sandbox.path!r} is not locked: {reason(error)}; {what}")


def _fork(state: LaunchState, sequence: "Iterable[Step]") -> None:
    def become(notify_fd: int) -> None:
        state.notify_fd = notify_fd
        order.become(state, sequence)

    by_agent = state.request.by_agent
    name = "mesos-containerizer" if by_agent else "mesos-shim"
    state.child = make_child(become, name, _EXIT_FAILURE if by_agent else None, state.relay)
    state.child.relay = state.init_status


def make_child(
    become: "Callable[[int], None]", name: str, status: "int | None" = None, childs_own: "int | None" = None
) -> Child:
    """Fork a child that becomes the command by calling `become`. Returns once the command runs, or has failed.

    A failure's message is written by the child; it ends with `status`, else with the error's own. `become` is given the
    descriptor over which the child can notify its parent (USAGE_ONLY_NOTICE). `childs_own` is closed in the parent.
    """
    reading, writing = posix.pipe()  # not inherited by an exec: at its success the pipe closes
    child = Child(make_process("the command"), None)
    if child.pid == 0:
        _child(become, name, status, writing)
    posix.close(writing)
    if childs_own is not None:
        posix.close(childs_own)
    notices = b""
    while True:
        more = posix.read(reading, 16)
        if not more:
            break
        notices += more
    posix.close(reading)
    child.failed, child.usage_only = _FAILED in notices, USAGE_ONLY_NOTICE in notices
    return child


def _child(become: "Callable[[int], None]", name: str, status: "int | None", writing: int) -> None:
    code = 125
    try:
        become(writing)
    except ShimError as error:
        code = fail(name, str(error), error.exit_code)
    except BaseException as error:  # noqa: BLE001
        fail(name, unexpected(error), code)
    try:
        posix.write(writing, _FAILED)
    finally:
        posix._exit(code if status is None else status)


def keep_only(state: LaunchState, child: Child, more: "Sequence[int | None]" = ()) -> None:
    """Close what this process, which stays, does not need: all but what it clears away by, and `more`."""
    kept = [state.place.fd if state.place is not None else None, child.relay, state.lock, *more]
    execute.close_others([fd for fd in kept if fd is not None])


def _remove_record(state: LaunchState) -> None:
    if state.place is not None and not state.remains:
        record.remove(state.place, state.plan.container_id, description.whose(state))


def _lives_on(state: LaunchState, child: Child) -> bool:
    """Whether somebody is, or may be, left in the container's groups, or an orphan of it that we have adopted."""
    if state.cgroups:
        from ..system import cgroups

        if not all(cgroups.empty(directory) for directory in state.cgroups):
            return True
    if not child.left or sys.platform != "linux":
        return False
    started = description.started(state)
    left = _children()
    if started is None or left is None:
        return True  # children are left, and nobody says whose they are
    # Children from before our own exec are older than the container.
    return any((proc.start_time(pid, living=True) or 0) >= started for pid in left)


def _children() -> "list[str] | None":
    """Our children's pids; None where the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    try:
        return files.read_file(f"/proc/self/task/{proc.host_pid()}/children").decode("ascii", "replace").split()
    except OSError:
        return None


SUBREAPER = Step("subreaper", become_subreaper)
LOCK_SANDBOX = Step("lock_sandbox", lock_sandbox)
REMOVE_RECORD = Step("remove_record", _remove_record)
