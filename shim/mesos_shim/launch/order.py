"""The way of a launch, top to bottom: request, facts, plan, own view, record, exec."""

import errno
import posix
import sys

from ..containers import record
from ..errors import ShimError, reason, warn
from ..plan import model
from ..spec.request import CALLER, FRAMEWORK, LaunchRequest
from ..system import credentials, proc
from . import description, execute
from .planning import cannot, make_plan

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable


def run(request: LaunchRequest, private: "list[str]") -> None:
    """Launch and become the command."""
    made = make_plan(request, private)
    place = open_record(request, made)
    try:
        prepare(request, made)
        settle(request, made, place)
        finish(request, made)
    except BaseException:  # an interrupt comes between two steps as well as in one
        give_up(made)
        raise


def prepare(request: LaunchRequest, made: model.Plan) -> None:
    """Give this process the plan's view of the file system and put it into the sandbox."""
    directory = made.sandbox.fd
    if made.own_view:
        from . import mount_view, namespaces  # an ordinary user's launch without volumes needs neither

        if made.relay is not None:
            from . import init  # noqa: F401 (the view may cover the release itself: nothing is imported inside of it)
        try:
            directory = mount_view.enter(made, framework=request.origin == FRAMEWORK)
        except namespaces.Unenforceable as error:
            without_view(request, made, str(error))
        except BaseException:
            give_up(made)
            raise
    try:
        posix.fchdir(directory)
    except OSError as error:
        give_up(made)
        raise ShimError(f"the sandbox {made.sandbox.path!r}: {reason(error)}") from None


def without_view(request: LaunchRequest, made: model.Plan, why: str) -> None:
    """Go on, or refuse, where the kernel gives no own view."""
    if made.before is not None:
        raise ShimError(f"{why}; the agent's own mounts need it")
    if made.isolates:
        cannot(request, made, why)
    made.apart = False  # then nothing was asked for that is missing now


def give_up(made: model.Plan) -> None:
    """Take back what this launch has made on the host, its record too: it will not become the command.

    After the rights are dropped for good, what root has made stays: empty directories that the next launch takes,
    and the record of a process that has ended, which gc clears.
    """
    from . import rollback  # from the bundle, which is open still

    rollback.take_back(made.made)
    if isinstance(made.record_place, record.Place):
        record.remove(made.record_place, made.container_id, description.whose(made))
        made.record_place = None


def open_record(request: LaunchRequest, made: model.Plan) -> "record.Place | None":
    """Where the record will go; best effort."""
    state = record.state_dir(request.config.state_dir)
    try:
        place = record.open_place(state)
    except OSError as error:
        _without_record(made, record.explain_failure(error, state))
        return None
    if _is_named(request) and not place.missing and record.which(place, f"{made.container_id}.json") is not None:
        from ..containers import taken

        taken.check_unused(place, made.container_id)
    return place


def _without_record(made: model.Plan, why: str) -> None:
    """Go on without a record, unless it is to say what has to be removed."""
    for mount in made.mounts:
        if mount.base is not None:
            raise ShimError(f"{why}, and what {mount.what} has in {mount.base.path!r} would never be removed")
    made.warnings.append(why)


def _is_named(request: LaunchRequest) -> bool:
    """Whether the container's id is somebody's choice, who may have given it to another: an agent never does."""
    return request.container_id is not None and not request.agent_ids


def settle(request: LaunchRequest, made: model.Plan, place: "record.Place | None") -> None:
    """Say who runs here, best effort; then, in a pid namespace, go on as the child of its init."""
    if place is not None:
        made.record_place = place
        try:
            described = description.describe(made, request.executor_id, request.framework_id)
            # Without it nobody could tell this process from a later one of its pid; macOS has none.
            if described["start_time"] is None and sys.platform == "linux":
                raise OSError(errno.ENOENT, "no start time in /proc/self/stat")
            made.recorded = described
            record.write(place, described, _is_named(request))
        except OSError as error:
            try:
                _without_record(made, record.explain_failure(error, place.path))
            except ShimError:
                give_up(made)
                raise
            made.recorded = None
        except ShimError:
            give_up(made)
            raise
    if made.relay is not None:
        from . import init, wait

        try:
            init.split(made.relay, wait.FORWARDED_FOR_AGENT if request.by_agent else wait.FORWARDED)
        except BaseException:
            give_up(made)
            raise


def name_in_record(made: model.Plan, pid: int) -> None:
    """The command's process in the record, in which its parent stood for it, best effort."""
    if made.recorded is None or not isinstance(made.record_place, record.Place):
        return
    started = proc.start_time(pid)
    try:
        if started is None:
            raise OSError(errno.ENOENT, f"no start time in /proc/{pid}/stat")
        made.recorded.update(pid=pid, start_time=started)
        record.write(made.record_place, made.recorded)
    except OSError as error:
        made.warnings.append(record.explain_failure(error, made.record_place.path))


def finish(
    request: LaunchRequest,
    made: model.Plan,
    variables: "dict[bytes, bytes] | None" = None,
    path: "str | None" = None,
    start: "Callable[..., int]" = posix.execve,
) -> int:
    """The last steps, in an order that cannot be changed: say the warnings, drop rights, become the command.

    `variables` and `path` where they are not the caller's environment and the command's first word; `start` where the
    command is to be a child, whose pid is returned (execute.command).
    """
    try:
        warn(made.warnings)
        if variables is None:
            variables = execute.environment()
        _drop(request, made)
        return execute.command(made.command, variables, path, start)
    except BaseException:
        give_up(made)
        raise


def _drop(request: LaunchRequest, made: model.Plan) -> None:
    """Everything that the command must not have of ours; the ids last, because there may be no way back from them."""
    doing = "closing descriptors that are not the command's"
    try:
        execute.keep_only(request.keep_fds)
        doing = "giving the command its signals"
        execute.restore_signals()
        if made.no_new_privs is not None:
            doing = "setting no_new_privs"
            set_no_new_privs()
        if made.user.switch:
            execute.leave_session_keyring()
            doing = f"becoming uid {made.user.uid}"
            credentials.become(made.user)
    except OSError as error:
        raise ShimError(f"{doing}: {reason(error)}") from None


def set_no_new_privs() -> None:
    """From here on no program gains rights by its set-id bits or file capabilities (prctl(2)); for good."""
    from ..system import syscalls

    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


__all__ = ["CALLER", "make_plan", "run"]
