"""Starts the command beside this process without a copy of it: the view is made here.

A forked copy of the interpreter costs a third of a bare one's start: most of what either of the two then touches is
copied page by page. posix_spawn(3) lends the memory to the child until it is the command (vfork(2)), which leaves no
code of ours to run in between; so this process becomes what the command is to be, as far as there is a way back.
What has none (a namespace of pids or users, cgroups) or is the child's alone is left to supervisor.start, which forks.
So are the ids of another user, who for a moment could signal, stop and kill a helper that had them (threats 23).

This process stays in the command's view, as Mesos' own helper does: an agent has its pid, and takes that for where the
container is. Who stays uses what is open already, and no path but those in /proc.
"""

import _signal
import posix
import sys

from .. import errors
from ..containers import record
from ..spec.request import LaunchRequest
from ..system import paths, proc
from . import order, supervisor, wait
from .state import LaunchState

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

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
        and _tells_failures()
    )


def _tells_failures() -> bool:
    try:
        name, _, version = (posix.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return True  # another C library's
    numbers = version.split(".")
    return name != "glibc" or not all(map(paths.is_number, numbers)) or tuple(map(int, numbers)) >= _GLIBC


def start(
    request: LaunchRequest,
    state: LaunchState,
    place: "record.Place | None",
    signals: wait.Signals,
    enter: "Callable[[], None]",
    variables: "dict[bytes, bytes] | None" = None,
    path: "str | None" = None,
) -> wait.Child:
    """Call `enter`, which makes the view and goes into it, start the command there, and come back.

    It ignores no signal, whatever our caller did. `variables` and `path` as in order.finish. Any error means that
    nothing runs, and that the host is as it was.
    """
    supervisor.stand_beside(state)
    pid = 0
    try:
        enter()
        # As of a launch that becomes its command: this process stands for it until there is one.
        state.first = {"pid": posix.getpid(), "start_time": state.supervisor["start_time"] or None}
        order.settle(request, state, place)
        said = len(state.warnings)
        pid = order.finish(
            request,
            state,
            variables,
            path,
            lambda *what: posix.posix_spawn(*what, setsigmask=signals.mask, setsigdef=signals.forwarded),
        )
        order.name_in_record(state, pid)
        posix.chdir("/")  # no core of ours in the sandbox
        errors.warn(state.warnings[said:])
    except BaseException:
        if pid:
            posix.kill(pid, _signal.SIGKILL)
            posix.waitpid(pid, 0)
        order.give_up(state)
        raise
    return wait.Child(pid, None)
