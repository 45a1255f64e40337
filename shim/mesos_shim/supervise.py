"""Stays beside a command: forwards signals, waits, tells how it ended.

The rules are those of tini and dumb-init: every signal that reaches us and can be forwarded is, the command gets the
signal mask and dispositions that our caller gave us, and we end as it ended. The parent imports nothing after the fork
and sleeps in sigwait(3), so that waiting costs no CPU.
"""

import _signal
import posix
import sys

from . import launch, record
from .errors import ShimError, fail, reason, unexpected
from .plan import Plan
from .request import LaunchRequest

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

# Caused by our own faults, or not to be caught: these are not for the command.
_OURS = ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")
# Job control: the terminal sends them to the command's process group itself.
_JOB_CONTROL = ("SIGTTIN", "SIGTTOU", "SIGCHLD")


def _number(name: str) -> int:
    return int(getattr(_signal, name, 0))


FORWARDED = frozenset(range(1, 32)) - {_number(name) for name in _OURS + _JOB_CONTROL}


def hold_signals() -> "set[int]":
    """Block what we forward, so that nothing is lost between now and the fork; returns the caller's mask."""
    return _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED | {_signal.SIGCHLD})  # type: ignore[no-any-return]


def release_signals(mask: "set[int]") -> None:
    """The caller's mask again: for the child, before it becomes the command."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


def wait(pid: int) -> int:
    """Forward signals to `pid` until it ends; its raw wait status (wait(2)). Other children are reaped on the way."""
    awaited = FORWARDED | {_signal.SIGCHLD}
    while True:
        number = _signal.sigwait(awaited)
        if number == _signal.SIGCHLD:
            status = _reap(pid)
            if status is not None:
                return status
            continue
        try:
            posix.kill(pid, number)
        except OSError:
            continue  # it has just ended: SIGCHLD is on its way


def _reap(pid: int) -> "int | None":
    """Collect all children that have ended: SIGCHLD comes once for many."""
    found = None
    while True:
        try:
            child, status = posix.waitpid(-1, posix.WNOHANG)
        except ChildProcessError:
            return found
        if child == 0:
            return found
        if child == pid:
            found = status


def exit_code(status: int) -> int:
    """What a shell would say of the wait status: the exit code, or 128 + signal."""
    return 128 + posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)


def run(request: LaunchRequest) -> int:
    """`run --supervise`: launch in a child and end as it ended."""
    made = launch.make_plan(request, [])
    place = launch.open_record(request, made)
    mask = hold_signals()
    pid, failed = start(lambda: _become(request, made, place, mask), "mesos-shim")
    if not failed:
        tell(request, {"event": "start", "container_id": made.container_id, "pid": pid})
    status = wait(pid)
    if place is not None:
        record.remove(place, made.container_id)
    if failed:
        return exit_code(status)
    tell(request, _end(made, status))
    return exit_code(status)


def _become(request: LaunchRequest, made: Plan, place: "record.Place | None", mask: "set[int]") -> None:
    """In the child: the rest of the launch."""
    launch.prepare(request, made)
    launch.write_record(request, made, place)
    release_signals(mask)
    launch.finish(request, made)


def start(become: "Callable[[], None]", name: str, status: "int | None" = None) -> "tuple[int, bool]":
    """Fork a child that becomes the command by calling `become`; its pid, and whether it failed to.

    Its message is said there; it ends with `status`, else with the error's own. Comes back once the command runs.
    """
    reading, writing = posix.pipe()  # not inherited by an exec: at its success the pipe closes
    pid = posix.fork()
    if pid == 0:
        _child(become, name, status, writing)
    posix.close(writing)
    failed = bool(posix.read(reading, 1))
    posix.close(reading)
    return pid, failed


def _child(become: "Callable[[], None]", name: str, status: "int | None", writing: int) -> None:
    code = 125
    try:
        become()
    except ShimError as error:
        code = fail(name, str(error), error.exit_code)
    except BaseException as error:  # noqa: BLE001
        fail(name, unexpected(error), code)
    try:
        posix.write(writing, b"!")
    finally:
        posix._exit(code if status is None else status)


def _end(made: Plan, status: int) -> "dict[str, object]":
    event: dict[str, object] = {"event": "exit", "container_id": made.container_id}
    if posix.WIFSIGNALED(status):
        event["signal"] = posix.WTERMSIG(status)
    else:
        event["exit_code"] = posix.WEXITSTATUS(status)
    return event


def tell(request: LaunchRequest, event: "dict[str, object]") -> None:
    """One JSON line on --status-fd; a reader that has gone does not end the command."""
    if request.status_fd is None:
        return
    from . import jsontext

    try:
        posix.write(request.status_fd, jsontext.dump(event).encode("ascii") + b"\n")
    except OSError as error:
        sys.stderr.write(f"mesos-shim: warning: --status-fd {request.status_fd}: {reason(error)}\n")
        request.status_fd = None
