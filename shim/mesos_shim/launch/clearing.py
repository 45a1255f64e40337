"""What a parent (supervisor.py) makes for its container besides the record, and removes once that has ended.

That is the sandbox of --rm, cgroups, a pid namespace, and private directories outside of the sandbox.
"""

import posix

from .. import errors
from ..system import proc
from . import description
from .order import Step
from .state import LaunchState

if False:  # for the type checker alone: no launch imports typing
    from typing import Iterator

    from . import temporary_sandbox


def first(state: LaunchState) -> "Iterator[Step]":
    """Before the parent is who waits for the container."""
    if state.request.remove:
        yield MAKE_SANDBOX


def before_fork(state: LaunchState) -> "Iterator[Step]":
    """What the child will be in."""
    if any(group.ours for group in state.plan.cgroups):
        yield MAKE_CGROUPS
    if "pid" in state.plan.namespaces:
        yield PID_NAMESPACE


def after(state: LaunchState, in_use: bool) -> "Iterator[Step]":
    """Once the command has ended: what may be `in_use` still is gc's to remove, by the record."""
    if any(group.ours for group in state.plan.cgroups):
        yield REMOVE_CGROUPS
    if in_use:
        yield KEEP_SANDBOX
        return
    if state.request.remove:
        yield REMOVE_SANDBOX
    if any(mount.base is not None for mount in state.plan.mounts):
        yield REMOVE_PRIVATE


def _adopt_sandbox(state: LaunchState) -> None:
    """Remember the sandbox of --rm as the plan found it; it was made before there was a plan."""
    if state.sandbox is not None:
        state.sandbox.adopt(state.plan.sandbox)


def _make_cgroups(state: LaunchState) -> None:
    from ..isolators import groups

    ours = [group for group in state.plan.cgroups if group.ours]
    groups.make(ours)
    state.cgroups = [group.directory for group in ours]


def _make_pid_namespace(state: LaunchState) -> None:
    """A pid namespace for our children (unshare(2) puts only those into it), and the pipe that its init writes to."""
    from . import namespace_remedies, namespaces

    state.pid_namespace = proc.pid_namespace(proc.host_pid())
    try:
        namespaces.unshare(namespaces.pid_flags(state), state)
    except namespace_remedies.Unenforceable as error:
        from . import unenforced

        unenforced.isolate_nothing(state, str(error))
        return
    state.init_status, state.relay = posix.pipe()


def _keep_sandbox(state: LaunchState) -> None:
    """Say that the sandbox of --rm stays, and who removes it."""
    if state.sandbox is None:
        return
    after = "'mesos-shim gc' removes it when they have ended"
    if not state.remove or description.started(state) is None:
        after = "remove it by hand when they have ended"
    plan = state.plan
    errors.warn(
        [f"--rm: the sandbox {plan.sandbox.path} is not removed: processes of {plan.container_id} still run; {after}"]
    )


def _remove_sandbox(state: LaunchState) -> None:
    if state.sandbox is not None and not remove_sandbox(state.sandbox) and state.remove:
        state.remains = True


def _remove_private(state: LaunchState) -> None:
    """Remove the container's own directories outside of the sandbox; where that fails, gc does it by the record."""
    if state.place is None:
        return  # nothing was made: without a record it is refused
    from . import private_directories  # loaded when the plan was made

    problem = private_directories.remove(state)
    if problem is not None:
        state.remains = True
        errors.warn(
            [f"{state.plan.container_id}: a private directory is not removed: {problem}; 'mesos-shim gc' tries again"]
        )


def remove_sandbox(sandbox: "temporary_sandbox.Sandbox") -> bool:
    """Remove the sandbox of --rm; False, and a warning, where it stays."""
    problem = sandbox.remove()
    if problem is not None:
        errors.warn([f"--rm: the sandbox is not removed: {problem}"])
    return problem is None


def clear(state: LaunchState) -> None:
    """Remove the container's groups as far as they are empty, and say how many processes the kernel killed in them."""
    if not state.cgroups:
        return
    from ..isolators import cgroups_mem
    from ..system import cgroups

    for group in state.plan.cgroups:
        if group.ours and "memory" in group.controllers:
            state.killed = cgroups_mem.killed(group.directory)
    cgroups.remove(state.cgroups)
    killed = state.killed
    if killed:
        limit = f" of {state.plan.limits['mem']:g} MB" if "mem" in state.plan.limits else ""
        what = "a process" if killed == 1 else f"{killed} processes"
        errors.warn(
            [f"{state.plan.container_id}: the kernel killed {what}, because the memory limit{limit} was reached"]
        )


MAKE_SANDBOX = Step("make_sandbox", _adopt_sandbox)
MAKE_CGROUPS = Step("make_cgroups", _make_cgroups)
PID_NAMESPACE = Step("pid_namespace", _make_pid_namespace)
REMOVE_CGROUPS = Step("remove_cgroups", clear)
KEEP_SANDBOX = Step("keep_sandbox", _keep_sandbox)
REMOVE_SANDBOX = Step("remove_sandbox", _remove_sandbox)
REMOVE_PRIVATE = Step("remove_private", _remove_private)
