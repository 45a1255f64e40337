"""Stays beside a command: forwards signals, waits, tells how it ended, clears away what it ran in.

The rules are those of tini and dumb-init: every signal that reaches us and can be forwarded is, the command gets the
signal mask and dispositions that our caller gave us, and we end as it ended. The parent imports nothing after the fork,
keeps no descriptor of the command's, and sleeps in sigwait(3), so that waiting costs no CPU.
"""

import _signal
import posix
import sys

from ..containers import record
from ..errors import ShimError, fail, reason, unexpected
from ..plan.model import Plan
from ..spec.request import LaunchRequest
from ..system import syscalls
from . import execute, order

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable, Sequence

    from . import temporary_sandbox

# Caused by our own faults, or not to be caught: these are not for the command.
_OURS = ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")
# Job control: the terminal sends them to the command's process group itself.
_JOB_CONTROL = ("SIGTTIN", "SIGTTOU", "SIGCHLD")
_FAILED = b"!"  # what a child tells that did not become the command
_SI_KERNEL = 0x80  # asm-generic/siginfo.h: sent by the kernel, as a terminal's signals are


def _number(name: str) -> int:
    return int(getattr(_signal, name, 0))


FORWARDED = frozenset(map(int, _signal.valid_signals())) - {_number(name) for name in _OURS + _JOB_CONTROL}
# What Mesos' own helper forwards: an agent sends any of them on purpose (KILL_CONTAINER of its API; launch.cpp,
# installSignalHandlers). A fault of our own is no matter of these: the kernel ends us whatever we block (signal(7)).
FORWARDED_FOR_AGENT = frozenset(map(int, _signal.valid_signals())) - {
    _number(name) for name in ("SIGKILL", "SIGSTOP", "SIGCHLD")
}
_TELLS_SENDER = hasattr(_signal, "sigwaitinfo")  # not on macOS
if not _TELLS_SENDER:
    FORWARDED -= {_signal.SIGPIPE}  # it may be our own
_OF_TERMINAL = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP)


# How long a reader of --status-fd may let its pipe be full: signals wait as long.
_PATIENCE_MS = 1000


class Child:
    """What was started: its pid, whether it failed before it was the command, and where an init tells its status."""

    __slots__ = ("failed", "left", "pid", "relay", "usage", "usage_only")

    def __init__(self, pid: int, relay: "int | None") -> None:
        self.pid = pid
        self.failed = False
        # Whether it found that the host isolates nothing, and went on as the operator chose.
        self.usage_only = False
        # Whether there were other children of ours when it ended.
        self.left = False
        self.relay = relay
        # getrusage(2)'s structure once it has ended, where it was asked for.
        self.usage: object = None


class Signals:
    """What the caller gave us: the signal mask, and what happens at a child's end; and what we forward meanwhile."""

    __slots__ = ("at_childs_end", "forwarded", "mask")

    def __init__(self, mask: "set[int]", at_childs_end: object, forwarded: "frozenset[int]") -> None:
        self.mask = mask
        self.at_childs_end = at_childs_end
        self.forwarded = forwarded


def hold_signals(forwarded: "frozenset[int]" = FORWARDED) -> Signals:
    """Block `forwarded`, so that nothing is lost between now and the fork; returns how the caller had it.

    Who ignores SIGCHLD gets none, and his children's statuses are thrown away: a caller's choice of that is put off.
    """
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, forwarded | {_signal.SIGCHLD})
    return Signals(mask, _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL), forwarded)


def release_signals(signals: Signals) -> None:
    """As the caller had it: for the child, before it becomes the command."""
    if signals.at_childs_end == _signal.SIG_IGN:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, signals.mask)


def wait(child: Child, measure: bool = False, forwarded: "frozenset[int]" = FORWARDED) -> int:
    """Forward the signals `forwarded` to `child` until it ends; the command's raw wait status (wait(2)).

    They must be blocked. Other children are reaped on the way. With `measure` what it used is kept in `child.usage`.
    """
    awaited = forwarded | {_signal.SIGCHLD}
    while True:
        number, from_kernel = _next_signal(awaited)
        if number == _signal.SIGCHLD:
            status = _reap(child, measure)
            if status is not None:
                return _told(child, status)
            continue
        _forward(child.pid, number, from_kernel, forwarded is FORWARDED)


def _next_signal(awaited: "set[int] | frozenset[int]") -> "tuple[int, bool]":
    """The next one that came from somebody else, and whether it was the kernel."""
    if not _TELLS_SENDER:
        return _signal.sigwait(awaited), False
    while True:
        found = _signal.sigwaitinfo(awaited)
        # A reader of ours that has gone: ignored or not, what is blocked is kept, and it is not for the command.
        if found.si_signo != _signal.SIGPIPE or found.si_pid != posix.getpid():
            return found.si_signo, found.si_code == _SI_KERNEL


def _forward(pid: int, number: int, from_kernel: bool, stop_too: bool) -> None:
    try:
        # What a terminal sends to its whole foreground group, the command in it has had itself.
        had_it = from_kernel and number in _OF_TERMINAL and posix.getpgid(pid) == posix.getpgrp()
        if not had_it:
            posix.kill(pid, number)
    except OSError:
        return  # it has just ended: SIGCHLD is on its way
    if number == _signal.SIGTSTP and stop_too:
        # A shell waits for us to stop, not for the command; an agent waits for nobody and would never continue us.
        posix.kill(posix.getpid(), _signal.SIGSTOP)


def _reap(child: Child, measure: bool) -> "int | None":
    """Collect all children that have ended: SIGCHLD comes once for many."""
    found = None
    child.left = False
    while True:
        usage: object = None
        try:
            if measure:
                pid, status, usage = posix.wait4(-1, posix.WNOHANG)
            else:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            child.left = True
            return found
        if pid == child.pid:
            found, child.usage = status, usage


def _told(child: Child, status: int) -> int:
    """The command's status as the init told it; where that was killed, its own."""
    if child.relay is None:
        return status
    told = posix.read(child.relay, 32)
    posix.close(child.relay)
    return int(told) if told.isdigit() else status


def exit_code(status: int) -> int:
    """What a shell would say of the wait status: the exit code, or 128 + signal."""
    return 128 + posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)


def end_as(status: int) -> None:
    """End as the command ended, by the same signal too, but without a second core file."""
    if posix.WIFSIGNALED(status):
        import resource

        number = posix.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {number})
        posix.kill(posix.getpid(), number)
    posix._exit(exit_code(status))


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
        made = order.make_plan(request, [])
        if sandbox is not None:
            sandbox.judged(made.sandbox)
        place = order.open_record(request, made)
        made.remove = request.remove
        signals = hold_signals()
        child = start(request, made, lambda: _become(request, made, place, signals), "mesos-shim")
        keep_only(made, child, place, [request.status_fd, *(sandbox.descriptors() if sandbox else ())])
        if not child.failed:
            tell(request, _start(made, child))
        status = wait(child, measure=request.status_fd is not None)
        killed = clear_away(made, child, place, sandbox)
        sandbox = None
    finally:
        if sandbox is not None:
            _remove(sandbox)
    if not child.failed:
        tell(request, _end(made, child, status, killed))
    return exit_code(status)


def _become(request: LaunchRequest, made: Plan, place: "record.Place | None", signals: Signals) -> None:
    """In the child: the rest of the launch."""
    order.prepare(request, made)
    order.settle(request, made, place)
    release_signals(signals)
    order.finish(request, made)


def start(
    request: LaunchRequest, made: Plan, become: "Callable[[], None]", name: str, status: "int | None" = None
) -> Child:
    """Fork a child that becomes the command by calling `become`. Comes back once the command runs, or has failed.

    A failure's message is said in the child; it ends with `status`, else with the error's own. Raises ShimError where
    nothing was started. Who calls this calls `clear` once the child has ended.
    """
    stand_beside(made)
    if "pid" in made.namespaces:
        made.pid_namespace = record.pid_namespace(record.host_pid())
    groups = _make_groups(made)
    relay = _make_pid_namespace(request, made)

    def join_and_become(telling: int) -> None:
        made.telling = telling
        if groups:
            from ..isolators import cgroup

            cgroup.join(groups)
        become()

    child = fork(join_and_become, name, status, made.relay)
    child.relay = relay
    if child.usage_only:
        order.lose_isolation(made)
    return child


def stand_beside(made: Plan) -> None:
    """Be who waits for the container: its record names us, its orphans are ours, and we hold its sandbox."""
    made.supervisor = {"pid": record.host_pid(), "start_time": record.start_time("self") or 0}
    _adopt_orphans()
    hold(made)


def hold(made: Plan) -> None:
    """Keep the sandbox locked for as long as this process runs, best effort.

    gc, which asks for the lock, then knows without a look at /proc that we are here, and systemd-tmpfiles ages nothing
    in it (tmpfiles.d(5)). Shared, for others may launch in the same sandbox. No command has the descriptor: it leads to
    the host's view. So the lock says nothing of what lives on without us; nor does gc take it for that.
    """
    fd = -1
    try:
        fd = posix.open(".", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=made.sandbox.fd)
        syscalls.flock(fd, syscalls.LOCK_SH | syscalls.LOCK_NB)
        made.lock = fd
    except OSError as error:
        if fd >= 0:
            posix.close(fd)
        what = "nothing else keeps systemd-tmpfiles from it"
        if made.remove:
            made.remove = False  # gc could not know whether we still run
            what += ", and gc will not remove it"
        made.warnings.append(f"the sandbox {made.sandbox.path!r} is not locked: {reason(error)}; {what}")


def fork(
    become: "Callable[[int], None]", name: str, status: "int | None" = None, childs_own: "int | None" = None
) -> Child:
    """As `start`, of the fork alone. The descriptor `childs_own` is closed in the parent.

    `become` is given the descriptor over which the child can tell what its parent is to know (USAGE_ONLY).
    """
    reading, writing = posix.pipe()  # not inherited by an exec: at its success the pipe closes
    child = Child(posix.fork(), None)
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
    child.failed, child.usage_only = _FAILED in told, order.USAGE_ONLY_TOLD in told
    return child


def _adopt_orphans() -> None:
    """What the container leaves behind stays known, and counted, as long as we wait (PR_SET_CHILD_SUBREAPER)."""
    if sys.platform != "linux":
        return
    try:
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    except OSError:
        return  # Linux before 3.4


def _make_groups(made: Plan) -> "list[str]":
    ours = [group for group in made.cgroups if group.ours]
    if ours:
        from ..isolators import cgroup

        cgroup.make(ours)
    return [group.directory for group in ours]


def _make_pid_namespace(request: LaunchRequest, made: Plan) -> "int | None":
    """A pid namespace for our children (unshare(2) puts only those into it), and the pipe that its init tells over."""
    if "pid" not in made.namespaces:
        return None
    from . import mount_view

    try:
        mount_view.unshare(mount_view.pid_flags(made), made)
    except mount_view.Unenforceable as error:
        try:
            order.cannot(request, made, str(error))
        except ShimError:
            clear(made)
            raise
        return None
    relay, made.relay = posix.pipe()
    return relay


def keep_only(made: Plan, child: Child, place: "record.Place | None", more: "Sequence[int | None]" = ()) -> None:
    """Close what this process, which stays, does not need: all but what it clears away by, and `more`."""
    kept = [place.fd if place is not None else None, child.relay, made.lock, *more]
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
    made: Plan, child: Child, place: "record.Place | None", sandbox: "temporary_sandbox.Sandbox | None" = None
) -> "int | None":
    """After the command's end: its groups, its `sandbox` and its record, unless something of the container may run.

    What stays is gc's to remove, which the record tells it. Returns how many processes were killed for memory.
    """
    left = not child.failed and _lives_on(made, child, place)
    killed = clear(made)
    if not left:
        gone = sandbox is None or _remove(sandbox) or not made.remove
        if place is not None and _private_removed(made) and gone:
            record.remove(place, made)
    elif sandbox is not None:
        after = "'mesos-shim gc' removes it when they have ended"
        if not made.remove or _started(made, place) is None:
            after = "remove it by hand when they have ended"
        _warn(
            f"--rm: the sandbox {made.sandbox.path} is not removed: processes of {made.container_id} still run; {after}"
        )
    return killed


def _private_removed(made: Plan) -> bool:
    """Remove the container's own directories outside of the sandbox; where that fails, gc does it by the record."""
    if all(mount.base is None for mount in made.mounts):
        return True
    from . import private_directories  # loaded when the plan was made

    problem = private_directories.remove(made)
    if problem is not None:
        _warn(f"{made.container_id}: a private directory is not removed: {problem}; 'mesos-shim gc' tries again")
    return problem is None


def _remove(sandbox: "temporary_sandbox.Sandbox") -> bool:
    problem = sandbox.remove()
    if problem is not None:
        _warn(f"--rm: the sandbox is not removed: {problem}")
    return problem is None


def _lives_on(made: Plan, child: Child, place: "record.Place | None") -> bool:
    """Whether somebody is, or may be, left in the container's groups, or an orphan of it that we have adopted."""
    ours = [group.directory for group in made.cgroups if group.ours]
    if ours:
        from ..isolators import cgroup

        if not all(cgroup.empty(directory) for directory in ours):
            return True
    if not child.left or sys.platform != "linux":
        return False
    started = _started(made, place)
    left = _children()
    if started is None or left is None:
        return True  # children are left, and nobody tells us whose they are
    # Children from before our own exec are older than the container.
    return any((record.start_time(pid, living=True) or 0) >= started for pid in left)


def _started(made: Plan, place: "record.Place | None") -> "int | None":
    """When the container's first process started, which its record says; None without one."""
    if place is None:
        return None
    try:
        found = record.read(record.reopened(place), made.container_id).get("start_time")
    except OSError:
        return None
    return found if isinstance(found, int) else None


def _children() -> "list[str] | None":
    """Our children's pids; None where the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    try:
        fd = posix.open(f"/proc/self/task/{record.host_pid()}/children", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        return posix.read(fd, 1 << 20).decode("ascii", "replace").split()
    except OSError:
        return None
    finally:
        posix.close(fd)


def clear(made: Plan) -> "int | None":
    """Remove the container's groups as far as they are empty; how many processes the kernel killed for memory."""
    ours = [group for group in made.cgroups if group.ours]
    if not ours:
        return None
    from ..isolators import cgroup, cgroups_mem

    killed = None
    for group in ours:
        if "memory" in group.controllers:
            killed = cgroups_mem.killed(group.directory)
    cgroup.remove([group.directory for group in ours])
    if killed:
        limit = f" of {made.limits['mem']:g} MB" if "mem" in made.limits else ""
        what = "a process" if killed == 1 else f"{killed} processes"
        _warn(f"{made.container_id}: the kernel killed {what}: out of memory, the limit{limit} was reached")
    return killed


def _warn(text: str) -> None:
    order.warn([text])


def _start(made: Plan, child: Child) -> "dict[str, object]":
    return {
        "event": "start",
        "container_id": made.container_id,
        "pid": child.pid,
        "mode": made.mode,
        "isolation": list(made.isolation),
    }


def _end(made: Plan, child: Child, status: int, killed: "int | None") -> "dict[str, object]":
    event: dict[str, object] = {"event": "exit", "container_id": made.container_id}
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


def tell(request: LaunchRequest, event: "dict[str, object]") -> None:
    """One JSON line on --status-fd; a reader that has gone does not end the command."""
    if request.status_fd is None:
        return
    import select

    from ..system import strict_json

    try:
        # A pipe that is writable has room for a whole line of this size (pipe(7), PIPE_BUF).
        poll = select.poll()
        poll.register(request.status_fd, select.POLLOUT)
        if not poll.poll(_PATIENCE_MS):
            raise BlockingIOError(11, "its reader does not read")
        posix.write(request.status_fd, strict_json.dump(event).encode("ascii") + b"\n")
    except OSError as error:
        _warn(f"--status-fd {request.status_fd}: {reason(error)}")
        request.status_fd = None
