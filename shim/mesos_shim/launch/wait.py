"""Waits for a command as its parent: holds signals, forwards them, reaps.

The rules are those of tini and dumb-init: every signal that reaches us and can be forwarded is, the command gets the
signal mask and dispositions that our caller gave us. The parent sleeps in sigwait(3), so that waiting costs no CPU.
"""

import _signal
import errno
import posix

from ..errors import ShimError, reason

# Caused by our own faults, or not to be caught: these are not for the command.
_OURS = ("SIGKILL", "SIGSTOP", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS")
# Job control: the terminal sends them to the command's process group itself.
_JOB_CONTROL = ("SIGTTIN", "SIGTTOU", "SIGCHLD")
_SI_KERNEL = 0x80  # asm-generic/siginfo.h: sent by the kernel, as a terminal's signals are


def _number(name: str) -> int:
    return int(getattr(_signal, name, 0))


_ALL = frozenset(map(int, _signal.valid_signals()))
FORWARDED = _ALL - {_number(name) for name in _OURS + _JOB_CONTROL}
# What Mesos' own helper forwards: an agent sends any of them on purpose (KILL_CONTAINER of its API; launch.cpp,
# installSignalHandlers). A fault of our own is no matter of these: the kernel ends us whatever we block (signal(7)).
FORWARDED_FOR_AGENT = _ALL - {_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD}
_REPORTS_SENDER = hasattr(_signal, "sigwaitinfo")  # not on macOS
if not _REPORTS_SENDER:
    FORWARDED -= {_signal.SIGPIPE}  # it may be our own
_OF_TERMINAL = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP)


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


def make_process(purpose: str) -> int:
    """fork(2), for `purpose`. Raises ShimError."""
    try:
        return posix.fork()
    except OSError as error:
        raise ShimError(f"no process for {purpose}: {why_no_process(error)}") from None


def why_no_process(error: OSError) -> str:
    """Why there is no new process, and what to do about it (fork(2))."""
    if error.errno != errno.EAGAIN:
        return reason(error)
    return (
        "a limit of processes is reached; end some, or raise it: ulimit -u (this user's), pids.max (the cgroup's), "
        "sysctl kernel.pid_max (the host's)"
    )


def hold_signals(forwarded: "frozenset[int]" = FORWARDED) -> Signals:
    """Block `forwarded`, so that nothing is lost between now and the fork; returns how the caller had it.

    A process that ignores SIGCHLD gets none and loses its children's statuses, so the caller's choice is deferred.
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
                return _reported_status(child, status)
            continue
        _forward(child.pid, number, from_kernel, forwarded is FORWARDED)


def _next_signal(awaited: "set[int] | frozenset[int]") -> "tuple[int, bool]":
    """The next one that came from somebody else, and whether it was the kernel."""
    if not _REPORTS_SENDER:
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


def _reported_status(child: Child, status: int) -> int:
    """The command's status as the init told it; where that was killed, its own."""
    if child.relay is None:
        return status
    reported = posix.read(child.relay, 32)
    posix.close(child.relay)
    return int(reported) if reported.isdigit() else status
