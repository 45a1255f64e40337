"""The starter that spawns: the command is a child, started without a copy of this process, which makes the namespace.

A forked copy of the interpreter costs a third of a bare one's start: most of what either of the two then touches is
copied page by page. posix_spawn(3) lends the memory to the child until it is the command (vfork(2)), which leaves no
code of ours to run in between; so this process becomes what the command is to be, as far as there is a way back.
What has none (a namespace of pids or users, cgroups) or is the child's alone is left to supervisor.fork.
So are the ids of another user, who for a moment could signal, stop and kill a helper that had them (threats 23).

This process stays in the command's namespace, as Mesos' own helper does: an agent has its pid, and takes that for
where the container is. Who stays uses what is open already, and no path but those in /proc.
"""

import _signal
import errno
import posix
import sys

from ..containers import record
from ..system import paths, proc
from . import order, supervisor, wait
from .order import Step
from .state import LaunchState

if False:  # for the type checker alone: no launch imports typing
    from typing import Iterable, Iterator

# Before it, glibc's posix_spawn could not tell that the program was not executed (its NEWS, 2.24).
_GLIBC = (2, 24)


def possible(state: LaunchState, signals: wait.Signals) -> bool:
    """Whether the command of this plan can be started so."""
    return (
        sys.platform == "linux"
        and not state.plan.user.switch
        and not state.plan.new_user_namespace
        and not state.plan.namespaces
        and not any(group.ours for group in state.plan.cgroups)
        # In an agent's pid namespace without a /proc of its own only the child can learn who it is to everybody else.
        and proc.host_pid() == posix.getpid()
        # posix_spawn can have a child take signals by default, not ignore them.
        and signals.at_childs_end != _signal.SIG_IGN
        and _reports_failures()
    )


def _reports_failures() -> bool:
    try:
        name, _, version = (posix.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return True  # another C library's
    numbers = version.split(".")
    return name != "glibc" or not all(map(paths.is_number, numbers)) or tuple(map(int, numbers)) >= _GLIBC


def spawn(
    state: LaunchState, sequence: "Iterable[Step]", signals: wait.Signals, first: "Iterable[Step]" = ()
) -> wait.Child:
    """Do `first`, then carry out `sequence` here, but start the command as a child at its end, and come back.

    The command ignores no signal, whatever our caller did. Any error means that nothing runs, and that the host is as
    it was.
    """
    state.start = lambda *what: posix.posix_spawn(*what, setsigmask=signals.mask, setsigdef=signals.forwarded)
    order.carry_out(state, steps(state, sequence, first), on_failure=_abort)
    state.child = wait.Child(state.pid, None)
    return state.child


def steps(state: LaunchState, sequence: "Iterable[Step]", first: "Iterable[Step]") -> "Iterator[Step]":
    """What this process does around the steps of the command's."""
    yield from first
    yield supervisor.SUBREAPER
    yield supervisor.LOCK_SANDBOX
    yield STAND_IN
    yield from sequence
    yield NAME_COMMAND
    yield LEAVE_SANDBOX
    yield order.WARN


def _stand_in(state: LaunchState) -> None:
    """Be the container's first process until there is its command, as if this launch became that."""
    state.first = {"pid": posix.getpid(), "start_time": state.supervisor["start_time"] or None}


def name_command(state: LaunchState) -> None:
    """Put the command's process into the record, in which we stood for it; best effort."""
    if state.recorded is None or state.place is None:
        return
    started = proc.start_time(state.pid)
    try:
        if started is None:
            raise OSError(errno.ENOENT, f"no start time in /proc/{state.pid}/stat")
        state.recorded.update(pid=state.pid, start_time=started)
        record.write(state.place, state.recorded)
    except OSError as error:
        state.warnings.append(record.explain_failure(error, state.place.path))


def _leave_sandbox(state: LaunchState) -> None:
    posix.chdir("/")  # no core of ours in the sandbox


def _abort(state: LaunchState) -> None:
    if state.pid:
        posix.kill(state.pid, _signal.SIGKILL)
        posix.waitpid(state.pid, 0)
    order.abort(state)


STAND_IN = Step("stand_in", _stand_in)
NAME_COMMAND = Step("name_command", name_command)
LEAVE_SANDBOX = Step("leave_sandbox", _leave_sandbox)
