"""The order of a launch, in one place: a sequence of steps, made from the plan.

`steps` is the sequence of the process that becomes the command. It is carried out by one of three starters:

- `become`: by this process, which becomes the command.
- `supervisor.fork`: by a child. Its parent stays, and has steps of its own before and after (supervisor.py).
- `spawn.spawn`: by this process, which starts the command as a child without a copy of itself, and stays (spawn.py).

`explain` prints what explained.py says of the steps of the same sequences.
"""

import errno
import posix
import sys

from ..containers import record
from ..errors import ShimError, reason, warn
from ..spec.request import FRAMEWORK, LaunchRequest
from . import description, execute, planning
from .state import LaunchState

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable, Iterable, Iterator

    from ..plan.model import Plan

# Variables that lead to something of the user's, often below /tmp.
_LEADING = (b"TMPDIR", b"SSH_AUTH_SOCK", b"KRB5CCNAME", b"XAUTHORITY")


class Step:
    """One step of a launch: what it does, and the name by which explained.py describes it."""

    __slots__ = ("name", "run")

    def __init__(self, name: str, run: "Callable[[LaunchState], object]") -> None:
        self.name = name
        self.run = run

    def describe(self, state: LaunchState) -> "list[dict[str, object]]":
        """What `explain` prints of it."""
        from . import explained  # no launch needs it

        return explained.DESCRIPTIONS[self.name](state)


def run(request: LaunchRequest) -> None:
    """Launch and become the command."""
    state = prepared(request, planning.make_plan(request, []))
    become(state, steps(state))


def prepared(request: LaunchRequest, plan: "Plan") -> LaunchState:
    """The launch of `plan`, nothing of which is done yet."""
    state = LaunchState(request, plan)
    open_record(state)
    return state


def become(state: LaunchState, sequence: "Iterable[Step]") -> None:
    """Become the command, at the end of `sequence`."""
    carry_out(state, sequence)


def carry_out(
    state: LaunchState, sequence: "Iterable[Step]", on_failure: "Callable[[LaunchState], object] | None" = None
) -> None:
    """Run the steps one after the other; if one fails, `abort`, or call `on_failure` instead."""
    try:
        for step in sequence:
            step.run(state)
    except BaseException:  # an interrupt comes between two steps as well as in one
        (on_failure or abort)(state)
        raise


def steps(
    state: LaunchState,
    enter: "Iterable[Step] | None" = None,
    inside: "Iterable[Step]" = (),
    last: "Callable[[LaunchState], Iterable[Step]] | None" = None,
) -> "Iterator[Step]":
    """The steps from the plan to the command, in an order that cannot be changed.

    Each is chosen when its turn has come, for a step before it may have changed the plan. An agent's launch has its
    own steps to `enter` the container's mount namespace, `inside` of it, and at the end (`last`).
    """
    yield JOIN_CGROUPS
    yield from entering(state) if enter is None else enter
    yield RECORD
    if "pid" in state.plan.namespaces:
        yield MOUNT_PROC
    # The namespace may be there although the host turned out to isolate nothing.
    if "pid" in state.plan.namespaces or state.relay is not None:
        yield INIT
    yield from inside
    if last is not None:
        yield from last(state)
        return
    yield RELEASE_SIGNALS
    yield from last_steps(state)


def entering(state: LaunchState) -> "Iterator[Step]":
    """Into the container's mount namespace and its sandbox."""
    if state.plan.own_mount_namespace:
        yield LEAVE_HOST
    yield ENTER


def last_steps(state: LaunchState) -> "Iterator[Step]":
    """From the container's own process to the command."""
    yield WARN
    yield ENVIRONMENT
    # Everything that the command must not have of ours; the ids last, because there may be no way back from them.
    yield KEEP_DESCRIPTORS
    yield RESTORE_SIGNALS
    if state.plan.no_new_privs is not None:
        yield NO_NEW_PRIVS
    if state.plan.user.switch:
        yield LEAVE_KEYRING
        yield BECOME_USER
    yield EXEC


def abort(state: LaunchState) -> None:
    """Roll back what this launch has made on the host, its record too: it will not become the command.

    After the rights are dropped for good, what root has made stays: empty directories that the next launch takes,
    and the record of a process that has ended, which gc clears.
    """
    from . import rollback  # from the bundle, which is open still

    rollback.roll_back(state.notes)
    if state.place is not None:
        record.remove(state.place, state.plan.container_id, description.whose(state))
        state.place = None


def _join_cgroups(state: LaunchState) -> None:
    if state.cgroups:
        from ..system import cgroups

        cgroups.join(state.cgroups)


def _leave_host(state: LaunchState) -> None:
    """A mount namespace of its own for this process, as far as the kernel gives one."""
    from . import namespaces  # an ordinary user's launch without volumes needs none

    try:
        namespaces.leave_host(state)
    except ShimError as error:
        from . import namespace_remedies, unenforced

        if not isinstance(error, namespace_remedies.Unenforceable):
            raise
        unenforced.without_mount_namespace(state, str(error))


def enter_mount_tree(state: LaunchState) -> None:
    """Give this process the plan's mounts and put it into the sandbox."""
    directory = state.plan.sandbox.fd
    if state.plan.own_mount_namespace:
        from . import mount_view

        if state.relay is not None:
            from . import init  # noqa: F401 (the mount namespace may cover the release itself: nothing is imported inside of it)
        directory = mount_view.enter(state, framework=state.request.origin == FRAMEWORK)
    try:
        posix.fchdir(directory)
    except OSError as error:
        raise ShimError(f"the sandbox {state.plan.sandbox.path!r}: {reason(error)}") from None


def open_record(state: LaunchState) -> None:
    """Open the place of the record; best effort."""
    directory = record.state_dir(state.request.config.state_dir)
    try:
        place = record.open_place(directory)
    except OSError as error:
        _without_record(state, record.explain_failure(error, directory))
        return
    name = f"{state.plan.container_id}.json"
    if _is_named(state.request) and not place.missing and record.which(place, name) is not None:
        from ..containers import taken

        taken.check_unused(place, state.plan.container_id)
    state.place = place


def _without_record(state: LaunchState, why: str) -> None:
    """Go on without a record, unless it is to say what has to be removed."""
    for mount in state.plan.mounts:
        if mount.base is not None:
            raise ShimError(f"{why}, so what {mount.what} has in {mount.base.path!r} would never be removed")
    state.warnings.append(why)


def _is_named(request: LaunchRequest) -> bool:
    """Whether the container's id is somebody's choice, who may have given it to another: an agent never does."""
    return request.container_id is not None and not request.agent_ids


def _write_record(state: LaunchState) -> None:
    """Record who runs here, best effort."""
    if state.place is None:
        return
    try:
        described = description.describe(state)
        # Without it nobody could tell this process from a later one of its pid; macOS has none.
        if described["start_time"] is None and sys.platform == "linux":
            raise OSError(errno.ENOENT, "no start time in /proc/self/stat")
        state.recorded = described
        record.write(state.place, described, _is_named(state.request))
    except OSError as error:
        _without_record(state, record.explain_failure(error, state.place.path))
        state.recorded = None


def _mount_proc(state: LaunchState) -> None:
    from . import init

    init.mount_proc()


def _leave_init(state: LaunchState) -> None:
    """Go on as the child of the pid namespace's first process."""
    from . import init, wait

    if state.relay is not None:
        init.split(state.relay, wait.FORWARDED_FOR_AGENT if state.request.by_agent else wait.FORWARDED)


def _release_signals(state: LaunchState) -> None:
    if state.signals is not None:
        from . import wait

        wait.release_signals(state.signals)


def _warn(state: LaunchState) -> None:
    warn(state.warnings)
    state.warnings.clear()


def _take_environment(state: LaunchState) -> None:
    if state.variables is None:
        state.variables = execute.environment()
    execute.give_our_pid(state.variables)


def _keep_descriptors(state: LaunchState) -> None:
    _attempt("closing descriptors that are not the command's", execute.keep_only, state.request.keep_fds)


def _restore_signals(state: LaunchState) -> None:
    _attempt("giving the command its signals", execute.restore_signals)


def _set_no_new_privs(state: LaunchState) -> None:
    """From here on no program gains rights by its set-id bits or file capabilities (prctl(2)); for good."""
    from ..system import syscalls

    _attempt("setting no_new_privs", syscalls.prctl, syscalls.PR_SET_NO_NEW_PRIVS, 1)


def _leave_keyring(state: LaunchState) -> None:
    execute.leave_session_keyring()


def _become_user(state: LaunchState) -> None:
    _attempt(f"becoming uid {state.plan.user.uid}", execute.become, state.plan.user)


def _attempt(doing: str, call: "Callable[..., object]", *arguments: object) -> None:
    try:
        call(*arguments)
    except OSError as error:
        raise ShimError(f"{doing}: {reason(error)}") from None


def _exec(state: LaunchState) -> None:
    variables = state.variables or {}
    if state.plan.mounts and not variables.keys().isdisjoint(_LEADING):
        from . import covered_variables  # from the bundle, which is open still

        covered_variables.check(_LEADING, variables, state.plan)
    state.pid = execute.command(state.plan.command, variables, state.path, state.start, state.plan.mounts)


JOIN_CGROUPS = Step("join_cgroups", _join_cgroups)
LEAVE_HOST = Step("leave_host", _leave_host)
ENTER = Step("enter", enter_mount_tree)
RECORD = Step("record", _write_record)
MOUNT_PROC = Step("mount_proc", _mount_proc)
INIT = Step("init", _leave_init)
RELEASE_SIGNALS = Step("release_signals", _release_signals)
WARN = Step("warn", _warn)
ENVIRONMENT = Step("environment", _take_environment)
KEEP_DESCRIPTORS = Step("keep_descriptors", _keep_descriptors)
RESTORE_SIGNALS = Step("restore_signals", _restore_signals)
NO_NEW_PRIVS = Step("no_new_privs", _set_no_new_privs)
LEAVE_KEYRING = Step("leave_keyring", _leave_keyring)
BECOME_USER = Step("become", _become_user)
EXEC = Step("exec", _exec)
