"""The way of a launch, top to bottom: request, facts, plan, own view, record, exec."""

import errno
import posix
import sys

from ..containers import record
from ..errors import ShimError, reason, warn
from ..spec.request import FRAMEWORK, LaunchRequest
from ..system import proc
from . import description, execute, planning
from .state import LaunchState

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

# Variables that lead to something of the user's, often below /tmp.
_LEADING = (b"TMPDIR", b"SSH_AUTH_SOCK", b"KRB5CCNAME", b"XAUTHORITY")


def run(request: LaunchRequest, private: "list[str]") -> None:
    """Launch and become the command."""
    state = LaunchState(planning.make_plan(request, private))
    place = open_record(request, state)
    try:
        prepare(request, state)
        settle(request, state, place)
        finish(request, state)
    except BaseException:  # an interrupt comes between two steps as well as in one
        give_up(state)
        raise


def prepare(request: LaunchRequest, state: LaunchState) -> None:
    """Give this process the plan's view of the file system and put it into the sandbox."""
    directory = state.plan.sandbox.fd
    if state.plan.own_view:
        from . import mount_view, namespaces  # an ordinary user's launch without volumes needs neither

        if state.relay is not None:
            from . import init  # noqa: F401 (the view may cover the release itself: nothing is imported inside of it)
        try:
            directory = mount_view.enter(state, framework=request.origin == FRAMEWORK)
        except namespaces.Unenforceable as error:
            without_view(request, state, str(error))
        except BaseException:
            give_up(state)
            raise
    try:
        posix.fchdir(directory)
    except OSError as error:
        give_up(state)
        raise ShimError(f"the sandbox {state.plan.sandbox.path!r}: {reason(error)}") from None


def without_view(request: LaunchRequest, state: LaunchState, why: str) -> None:
    """Go on, or refuse, where the kernel gives no own view."""
    if state.plan.before is not None:
        raise ShimError(f"{why}; the agent's own mounts need it")
    if state.plan.isolates:
        isolate_nothing(request, state, why)
    state.plan = state.plan.but(apart=False)  # then nothing was asked for that is missing now


def isolate_nothing(request: LaunchRequest, state: LaunchState, why: str) -> None:
    """Go on in usage-only mode, or refuse, where the host turns out to give no isolation."""
    warning = planning.why_usage_only(request, why)
    state.plan = planning.usage_only(state.plan)
    if state.telling is not None:
        posix.write(state.telling, planning.USAGE_ONLY_TOLD)
    state.warnings.append(warning)


def give_up(state: LaunchState) -> None:
    """Take back what this launch has made on the host, its record too: it will not become the command.

    After the rights are dropped for good, what root has made stays: empty directories that the next launch takes,
    and the record of a process that has ended, which gc clears.
    """
    from . import rollback  # from the bundle, which is open still

    rollback.take_back(state.notes)
    if isinstance(state.record_place, record.Place):
        record.remove(state.record_place, state.plan.container_id, description.whose(state))
        state.record_place = None


def open_record(request: LaunchRequest, state: LaunchState) -> "record.Place | None":
    """Where the record will go; best effort."""
    directory = record.state_dir(request.config.state_dir)
    try:
        place = record.open_place(directory)
    except OSError as error:
        _without_record(state, record.explain_failure(error, directory))
        return None
    if _is_named(request) and not place.missing and record.which(place, f"{state.plan.container_id}.json") is not None:
        from ..containers import taken

        taken.check_unused(place, state.plan.container_id)
    return place


def _without_record(state: LaunchState, why: str) -> None:
    """Go on without a record, unless it is to say what has to be removed."""
    for mount in state.plan.mounts:
        if mount.base is not None:
            raise ShimError(f"{why}, and what {mount.what} has in {mount.base.path!r} would never be removed")
    state.warnings.append(why)


def _is_named(request: LaunchRequest) -> bool:
    """Whether the container's id is somebody's choice, who may have given it to another: an agent never does."""
    return request.container_id is not None and not request.agent_ids


def settle(request: LaunchRequest, state: LaunchState, place: "record.Place | None") -> None:
    """Say who runs here, best effort; then, in a pid namespace, go on as the child of its init."""
    if place is not None:
        state.record_place = place
        try:
            described = description.describe(state, request.executor_id, request.framework_id)
            # Without it nobody could tell this process from a later one of its pid; macOS has none.
            if described["start_time"] is None and sys.platform == "linux":
                raise OSError(errno.ENOENT, "no start time in /proc/self/stat")
            state.recorded = described
            record.write(place, described, _is_named(request))
        except OSError as error:
            try:
                _without_record(state, record.explain_failure(error, place.path))
            except ShimError:
                give_up(state)
                raise
            state.recorded = None
        except ShimError:
            give_up(state)
            raise
    if state.relay is not None:
        from . import init, wait

        try:
            init.split(state.relay, wait.FORWARDED_FOR_AGENT if request.by_agent else wait.FORWARDED)
        except BaseException:
            give_up(state)
            raise


def name_in_record(state: LaunchState, pid: int) -> None:
    """The command's process in the record, in which its parent stood for it, best effort."""
    if state.recorded is None or not isinstance(state.record_place, record.Place):
        return
    started = proc.start_time(pid)
    try:
        if started is None:
            raise OSError(errno.ENOENT, f"no start time in /proc/{pid}/stat")
        state.recorded.update(pid=pid, start_time=started)
        record.write(state.record_place, state.recorded)
    except OSError as error:
        state.warnings.append(record.explain_failure(error, state.record_place.path))


def finish(
    request: LaunchRequest,
    state: LaunchState,
    variables: "dict[bytes, bytes] | None" = None,
    path: "str | None" = None,
    start: "Callable[..., int]" = posix.execve,
) -> int:
    """The last steps, in an order that cannot be changed: say the warnings, drop rights, become the command.

    `variables` and `path` where they are not the caller's environment and the command's first word; `start` where the
    command is to be a child, whose pid is returned (execute.command).
    """
    try:
        warn(state.warnings)
        if variables is None:
            variables = execute.environment()
        _drop(request, state)
        execute.give_our_pid(variables)
        if state.plan.mounts and not variables.keys().isdisjoint(_LEADING):
            from . import covered_variables  # from the bundle, which is open still

            covered_variables.check(_LEADING, variables, state.plan)
        return execute.command(state.plan.command, variables, path, start, state.plan.mounts)
    except BaseException:
        give_up(state)
        raise


def _drop(request: LaunchRequest, state: LaunchState) -> None:
    """Everything that the command must not have of ours; the ids last, because there may be no way back from them."""
    doing = "closing descriptors that are not the command's"
    try:
        execute.keep_only(request.keep_fds)
        doing = "giving the command its signals"
        execute.restore_signals()
        if state.plan.no_new_privs is not None:
            doing = "setting no_new_privs"
            set_no_new_privs()
        if state.plan.user.switch:
            execute.leave_session_keyring()
            doing = f"becoming uid {state.plan.user.uid}"
            execute.become(state.plan.user)
    except OSError as error:
        raise ShimError(f"{doing}: {reason(error)}") from None


def set_no_new_privs() -> None:
    """From here on no program gains rights by its set-id bits or file capabilities (prctl(2)); for good."""
    from ..system import syscalls

    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
