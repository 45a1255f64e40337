"""Stays beside a command: forwards signals, waits, tells how it ended, clears away what it ran in.

The parent imports nothing after the fork and keeps no descriptor of the command's.
"""

import errno
import posix
import sys

from .. import errors
from ..containers import record
from ..errors import ShimError, fail, reason, unexpected
from ..spec.request import LaunchRequest
from ..system import files, proc, syscalls
from . import description, execute, order, planning
from .state import LaunchState
from .wait import Child, Signals, exit_code, hold_signals, make_process, release_signals, wait

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable, Sequence

    from . import temporary_sandbox

_FAILED = b"!"  # what a child tells that did not become the command
# How long a reader of --status-fd may let its pipe be full: signals wait as long.
_PATIENCE_MS = 1000


def run(request: LaunchRequest) -> int:
    """`run --supervise`: launch in a child and end as it ended."""
    if request.status_fd is not None:
        # The parent imports nothing after the fork: wait4 needs the one, `tell` the other.
        import resource  # noqa: F401
        import select  # noqa: F401
    sandbox = None
    if request.remove:
        from . import temporary_sandbox

        sandbox = temporary_sandbox.Sandbox(request)
    try:
        state = LaunchState(planning.make_plan(request, []))
        if sandbox is not None:
            sandbox.judged(state.plan.sandbox)
        place = order.open_record(request, state)
        state.remove = request.remove
        state.status_fd = request.status_fd
        signals = hold_signals()
        child = start(request, state, lambda: _become(request, state, place, signals), "mesos-shim")
        keep_only(state, child, place, [request.status_fd, *(sandbox.descriptors() if sandbox else ())])
        if not child.failed:
            tell(state, _start(state, child))
        status = wait(child, measure=request.status_fd is not None)
        killed = clear_away(state, child, place, sandbox)
        sandbox = None
    finally:
        if sandbox is not None:
            _remove(sandbox)
    if not child.failed:
        tell(state, _end(state, child, status, killed))
    return exit_code(status)


def _become(request: LaunchRequest, state: LaunchState, place: "record.Place | None", signals: Signals) -> None:
    """In the child: the rest of the launch."""
    order.prepare(request, state)
    order.settle(request, state, place)
    release_signals(signals)
    order.finish(request, state)


def start(
    request: LaunchRequest, state: LaunchState, become: "Callable[[], None]", name: str, status: "int | None" = None
) -> Child:
    """Fork a child that becomes the command by calling `become`. Comes back once the command runs, or has failed.

    A failure's message is said in the child; it ends with `status`, else with the error's own. Raises ShimError where
    nothing was started. Who calls this calls `clear` once the child has ended.
    """
    stand_beside(state)
    if "pid" in state.plan.namespaces:
        state.pid_namespace = proc.pid_namespace(proc.host_pid())
    groups = _make_groups(state)
    relay = _make_pid_namespace(request, state)

    def join_and_become(telling: int) -> None:
        state.telling = telling
        if groups:
            from ..system import cgroups

            cgroups.join(groups)
        become()

    try:
        child = fork(join_and_become, name, status, state.relay)
    except BaseException:
        clear(state)
        raise
    child.relay = relay
    if child.usage_only:
        state.plan = planning.usage_only(state.plan)
    return child


def stand_beside(state: LaunchState) -> None:
    """Be who waits for the container: its record names us, its orphans are ours, and we hold its sandbox."""
    state.supervisor = {"pid": proc.host_pid(), "start_time": proc.start_time("self") or 0}
    _adopt_orphans()
    hold(state)


def hold(state: LaunchState) -> None:
    """Keep the sandbox locked for as long as this process runs, best effort.

    gc, which asks for the lock, then knows without a look at /proc that we are here, and systemd-tmpfiles ages nothing
    in it (tmpfiles.d(5)). Shared, for others may launch in the same sandbox. No command has the descriptor: it leads to
    the host's view. So the lock says nothing of what lives on without us; nor does gc take it for that.
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


def fork(
    become: "Callable[[int], None]", name: str, status: "int | None" = None, childs_own: "int | None" = None
) -> Child:
    """As `start`, of the fork alone. The descriptor `childs_own` is closed in the parent.

    `become` is given the descriptor over which the child can tell what its parent is to know (USAGE_ONLY).
    """
    reading, writing = posix.pipe()  # not inherited by an exec: at its success the pipe closes
    child = Child(make_process("the command"), None)
    if child.pid == 0:
        _child(become, name, status, writing)
    posix.close(writing)
    if childs_own is not None:
        posix.close(childs_own)
    told = b""
    while True:
        more = posix.read(reading, 16)
        if not more:
            break
        told += more
    posix.close(reading)
    child.failed, child.usage_only = _FAILED in told, planning.USAGE_ONLY_TOLD in told
    return child


def _adopt_orphans() -> None:
    """What the container leaves behind stays known, and counted, as long as we wait (PR_SET_CHILD_SUBREAPER)."""
    if sys.platform != "linux":
        return
    try:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return  # Linux before 3.4


def _make_groups(state: LaunchState) -> "list[str]":
    ours = [group for group in state.plan.cgroups if group.ours]
    if ours:
        from ..isolators import groups

        groups.make(ours)
    return [group.directory for group in ours]


def _make_pid_namespace(request: LaunchRequest, state: LaunchState) -> "int | None":
    """A pid namespace for our children (unshare(2) puts only those into it), and the pipe that its init tells over."""
    if "pid" not in state.plan.namespaces:
        return None
    from . import namespaces

    try:
        namespaces.unshare(namespaces.pid_flags(state), state)
    except namespaces.Unenforceable as error:
        try:
            order.isolate_nothing(request, state, str(error))
        except ShimError:
            clear(state)
            raise
        return None
    relay, state.relay = posix.pipe()
    return relay


def keep_only(
    state: LaunchState, child: Child, place: "record.Place | None", more: "Sequence[int | None]" = ()
) -> None:
    """Close what this process, which stays, does not need: all but what it clears away by, and `more`."""
    kept = [place.fd if place is not None else None, child.relay, state.lock, *more]
    execute.close_others([fd for fd in kept if fd is not None])


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


def clear_away(
    state: LaunchState, child: Child, place: "record.Place | None", sandbox: "temporary_sandbox.Sandbox | None" = None
) -> "int | None":
    """After the command's end: its groups, its `sandbox` and its record, unless something of the container may run.

    What stays is gc's to remove, which the record tells it. Returns how many processes were killed for memory.
    """
    left = not child.failed and _lives_on(state, child, place)
    killed = clear(state)
    if not left:
        gone = sandbox is None or _remove(sandbox) or not state.remove
        if place is not None and _private_removed(state) and gone:
            record.remove(place, state.plan.container_id, description.whose(state))
    elif sandbox is not None:
        after = "'mesos-shim gc' removes it when they have ended"
        if not state.remove or _started(state, place) is None:
            after = "remove it by hand when they have ended"
        plan = state.plan
        _warn(
            f"--rm: the sandbox {plan.sandbox.path} is not removed: processes of {plan.container_id} still run; {after}"
        )
    return killed


def _private_removed(state: LaunchState) -> bool:
    """Remove the container's own directories outside of the sandbox; where that fails, gc does it by the record."""
    if all(mount.base is None for mount in state.plan.mounts):
        return True
    from . import private_directories  # loaded when the plan was made

    problem = private_directories.remove(state)
    if problem is not None:
        _warn(f"{state.plan.container_id}: a private directory is not removed: {problem}; 'mesos-shim gc' tries again")
    return problem is None


def _remove(sandbox: "temporary_sandbox.Sandbox") -> bool:
    problem = sandbox.remove()
    if problem is not None:
        _warn(f"--rm: the sandbox is not removed: {problem}")
    return problem is None


def _lives_on(state: LaunchState, child: Child, place: "record.Place | None") -> bool:
    """Whether somebody is, or may be, left in the container's groups, or an orphan of it that we have adopted."""
    ours = [group.directory for group in state.plan.cgroups if group.ours]
    if ours:
        from ..system import cgroups

        if not all(cgroups.empty(directory) for directory in ours):
            return True
    if not child.left or sys.platform != "linux":
        return False
    started = _started(state, place)
    left = _children()
    if started is None or left is None:
        return True  # children are left, and nobody tells us whose they are
    # Children from before our own exec are older than the container.
    return any((proc.start_time(pid, living=True) or 0) >= started for pid in left)


def _started(state: LaunchState, place: "record.Place | None") -> "int | None":
    """When the container's first process started, which its record says; None without one."""
    if place is None:
        return None
    try:
        found = record.read(record.reopened(place), state.plan.container_id).get("start_time")
    except OSError:
        return None
    return found if isinstance(found, int) else None


def _children() -> "list[str] | None":
    """Our children's pids; None where the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    try:
        return files.read_file(f"/proc/self/task/{proc.host_pid()}/children").decode("ascii", "replace").split()
    except OSError:
        return None


def clear(state: LaunchState) -> "int | None":
    """Remove the container's groups as far as they are empty; how many processes the kernel killed for memory."""
    ours = [group for group in state.plan.cgroups if group.ours]
    if not ours:
        return None
    from ..isolators import cgroups_mem
    from ..system import cgroups

    killed = None
    for group in ours:
        if "memory" in group.controllers:
            killed = cgroups_mem.killed(group.directory)
    cgroups.remove([group.directory for group in ours])
    if killed:
        limit = f" of {state.plan.limits['mem']:g} MB" if "mem" in state.plan.limits else ""
        what = "a process" if killed == 1 else f"{killed} processes"
        _warn(f"{state.plan.container_id}: the kernel killed {what}: out of memory, the limit{limit} was reached")
    return killed


def _warn(text: str) -> None:
    errors.warn([text])


def _start(state: LaunchState, child: Child) -> "dict[str, object]":
    return {
        "event": "start",
        "container_id": state.plan.container_id,
        "pid": child.pid,
        "mode": state.plan.mode,
        "isolation": list(state.plan.isolation),
    }


def _end(state: LaunchState, child: Child, status: int, killed: "int | None") -> "dict[str, object]":
    event: dict[str, object] = {"event": "exit", "container_id": state.plan.container_id}
    if posix.WIFSIGNALED(status):
        event["signal"] = posix.WTERMSIG(status)
    else:
        event["exit_code"] = posix.WEXITSTATUS(status)
    usage = child.usage
    if usage is not None:
        event["rusage"] = {
            "user_time_secs": round(usage.ru_utime, 6),  # type: ignore[attr-defined]
            "system_time_secs": round(usage.ru_stime, 6),  # type: ignore[attr-defined]
            "max_rss_bytes": usage.ru_maxrss * execute.MAXRSS_UNIT,  # type: ignore[attr-defined]
        }
    if killed is not None:
        event["oom_kills"] = killed
    return event


def tell(state: LaunchState, event: "dict[str, object]") -> None:
    """One JSON line on --status-fd; a reader that has gone does not end the command."""
    if state.status_fd is None:
        return
    import select

    from ..system import strict_json

    try:
        # A pipe that is writable has room for a whole line of this size (pipe(7), PIPE_BUF).
        poll = select.poll()
        poll.register(state.status_fd, select.POLLOUT)
        if not poll.poll(_PATIENCE_MS):
            raise BlockingIOError(errno.EAGAIN, "its reader does not read")
        posix.write(state.status_fd, strict_json.dump(event).encode("ascii") + b"\n")
    except OSError as error:
        _warn(f"--status-fd {state.status_fd}: {reason(error)}")
        state.status_fd = None
