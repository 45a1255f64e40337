"""`run --supervise`: stays beside the command, says on --status-fd how it fares, and ends as it ended."""

import errno
import posix

from .. import errors
from ..errors import reason
from ..spec.request import LaunchRequest
from . import ending, execute, order, planning, supervisor
from .state import LaunchState
from .wait import Child, hold_signals, wait

# How long a reader of --status-fd may let its pipe be full: signals wait as long.
_PATIENCE_MS = 1000


def run(request: LaunchRequest) -> int:
    """Launch in a child and end as it ended."""
    if request.status_fd is not None:
        # The parent imports nothing after the fork: wait4 needs the one, `_notify` the other.
        import resource  # noqa: F401
        import select  # noqa: F401
    sandbox = None
    if request.remove:
        from . import clearing, temporary_sandbox

        sandbox = temporary_sandbox.Sandbox(request)
    try:
        state = LaunchState(request, planning.make_plan(request, []))
        state.sandbox = sandbox
        state.remove = request.remove
        state.status_fd = request.status_fd
        order.open_record(state)
        state.signals = hold_signals()
        child = supervisor.fork(state, order.steps(state))
        supervisor.keep_only(state, child, [request.status_fd, *(sandbox.descriptors() if sandbox else ())])
        if not child.failed:
            _notify(state, _start(state, child))
        status = wait(child, measure=request.status_fd is not None)
        sandbox = None
        supervisor.clear_away(state)
    finally:
        if sandbox is not None:
            clearing.remove_sandbox(sandbox)
    if not child.failed:
        _notify(state, _end(state, child, status))
    return ending.exit_code(status)


def _notify(state: LaunchState, event: "dict[str, object]") -> None:
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
        errors.warn([f"--status-fd {state.status_fd}: {reason(error)}"])
        state.status_fd = None


def _start(state: LaunchState, child: Child) -> "dict[str, object]":
    return {
        "event": "start",
        "container_id": state.plan.container_id,
        "pid": child.pid,
        "mode": state.plan.mode,
        "isolation": list(state.plan.isolation),
    }


def _end(state: LaunchState, child: Child, status: int) -> "dict[str, object]":
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
    if state.killed is not None:
        event["oom_kills"] = state.killed
    return event
