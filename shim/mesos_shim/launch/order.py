"""The way of a launch, top to bottom: request, facts, plan, own view, record, exec."""

import posix
import sys

from ..containers import record
from ..errors import ShimError, reason
from ..plan import model
from ..spec import config as configuration
from ..spec import policy
from ..spec.request import CALLER, FRAMEWORK, LaunchRequest
from ..system import credentials
from . import execute, rollback

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

FILESYSTEM_SHARED = "filesystem/shared"
# These report and do nothing to a launch.
_REPORTING = ("posix/cpu", "posix/mem", "disk/du")
# What a child tells its parent once it is so.
USAGE_ONLY_TOLD = b"u"
_BASIC = (FILESYSTEM_SHARED, *_REPORTING)


def new_id() -> str:
    """An id for a container that was given none."""
    try:
        return f"run-{posix.urandom(6).hex()}"
    except OSError as error:
        raise ShimError(f"an id for the container: {reason(error)}") from None


def make_plan(request: LaunchRequest, private: "list[str]") -> model.Plan:
    """The plan for `request` on this host. Reads only; refuses what cannot be."""
    user = credentials.of_user(request.user, request.user_named, request.own_as_is)
    if user.switch:  # as in launch.cpp: who is that user already keeps what it has
        user.groups += [gid for gid in request.groups if gid not in user.groups]
    if request.info is not None and request.origin == FRAMEWORK:
        policy.check(request.info, request.config)
    if sys.platform != "linux":
        return _usage_only_elsewhere(request, user)
    from ..plan import facts  # Linux only

    idle = _idle(request)  # before an isolator adds what is its own
    more = any(name not in _BASIC for name in request.isolation)
    if more:
        from .. import isolators

        isolators.extend(request)
    found = facts.find(request, user, private)
    result = model.Plan(request.container_id or new_id(), found.sandbox, user)
    result.isolation = request.isolation
    result.command = request.command
    result.warnings.extend(found.warnings)
    if request.info is not None:
        result.warnings.extend(request.info.warnings)
    volumes = found.volumes
    _limit(request, result)
    problem = None
    if more:
        try:
            isolators.add(request, result)
        except ShimError as error:
            problem = str(error)
    if volumes and FILESYSTEM_SHARED not in request.isolation:
        problem = f"{len(volumes)} volumes, but {FILESYSTEM_SHARED} is not among the isolators"
    if idle:
        names = ", ".join(idle)
        result.warnings.append(f"configuration: {names}: not done, {FILESYSTEM_SHARED} is not among the isolators")
    if any(item.quota for item in found.private) and "disk/du" not in request.isolation:
        result.warnings.append("private_directories: no size is counted: disk/du is not among the isolators")
    if problem is not None:
        cannot(request, result, problem)
    elif FILESYSTEM_SHARED in request.isolation or more:
        if found.bases:
            from . import private_directories  # loaded when the bases were judged

            found.own = private_directories.name_for(result.container_id)
        result.mounts = model.arrange(found, volumes, found.tmpfs, request.origin == FRAMEWORK)
        # A user namespace, which others would need for it, changes what set-uid programs can do.
        result.apart = FILESYSTEM_SHARED in request.isolation and posix.geteuid() == 0
    result.new_user_namespace = result.own_view and posix.geteuid() != 0
    result.no_new_privs = model.why_no_new_privs(result.mounts, user)
    if result.no_new_privs is not None:  # what may not be fed to root is among what may not be fed to a set-uid program
        result.not_as_root = model.why_not_as_root(result.mounts, user)
    return result


def _idle(request: LaunchRequest) -> "list[str]":
    """Keys of the configuration that this launch does nothing for; a DEBUG container, which has no isolators, joins."""
    if not request.isolation or FILESYSTEM_SHARED in request.isolation:
        return []
    keys = ("hide_work_dir", "tmpfs", "pass_through", "private_directories")
    return [name for name in keys if getattr(request.config, name)]


def _limit(request: LaunchRequest, result: model.Plan) -> None:
    """What the container is given; that alone limits nothing, and who asked for a limit is told so."""
    result.limits = dict(request.config.default_limits)
    for name, isolator, given in (("cpus", "cgroups/cpu", request.cpus), ("mem", "cgroups/mem", request.mem)):
        if given is not None:
            result.limits[name] = given
            if isolator not in request.isolation:
                result.warnings.append(f"--{name} is reported, not enforced: {isolator} is not among the isolators")


def needs_parent(request: LaunchRequest) -> "list[str]":
    """What something must stay beside the command for, to tell of it, or to clear away what it ran in."""
    asked = [name for name in request.isolation if name not in _BASIC and name != "namespaces/ipc"]
    if request.supervise:
        asked.append("--supervise")
    if request.remove:
        asked.append("--rm")
    if request.status_fd is not None:
        asked.append("--status-fd")
    return asked


def _usage_only_elsewhere(request: LaunchRequest, user: credentials.Identity) -> model.Plan:
    from ..plan import non_linux

    result = model.Plan(request.container_id or new_id(), non_linux.sandbox(request), user)
    result.command = request.command
    result.isolation = tuple(name for name in request.isolation if name in non_linux.ISOLATORS)
    _limit(request, result)
    cannot(request, result, f"{sys.platform} has no namespaces and no cgroups", default=configuration.USAGE_ONLY)
    return result


def cannot(request: LaunchRequest, result: model.Plan, why: str, default: str = configuration.REFUSE) -> None:
    """Refuse, or go on in usage-only mode where the operator chose that; never silently (threats 18)."""
    if (request.on_unenforceable or default) != configuration.USAGE_ONLY:
        raise ShimError(f"{why}; --on-unenforceable usage-only would launch without isolation")
    lose_isolation(result)
    if result.telling is not None:
        posix.write(result.telling, USAGE_ONLY_TOLD)
    result.warnings.append(f"usage-only: NOTHING is isolated: {why}")


def lose_isolation(result: model.Plan) -> None:
    """The plan of a launch without isolation."""
    result.mode = model.USAGE_ONLY
    result.isolation = tuple(name for name in result.isolation if name in _REPORTING)
    result.mounts = []
    result.apart = False
    result.namespaces = []
    result.own_queues = False
    result.new_user_namespace = False
    result.no_new_privs = None
    result.not_as_root = None


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
        from . import mount_view  # an ordinary user's launch without volumes needs none of it

        if made.relay is not None:
            from . import init  # noqa: F401 (the view may cover the release itself: nothing is imported inside of it)
        try:
            directory = mount_view.enter(made, framework=request.origin == FRAMEWORK)
        except mount_view.Unenforceable as error:
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
    rollback.take_back(made.made)
    if isinstance(made.record_place, record.Place):
        record.remove(made.record_place, made)
        made.record_place = None


def open_record(request: LaunchRequest, made: model.Plan) -> "record.Place | None":
    """Where the record will go; best effort."""
    state = record.state_dir(request.config.state_dir)
    try:
        place = record.open_place(state)
    except OSError as error:
        _without_record(made, record.explain_failure(error, state))
        return None
    if _is_named(request):
        record.check_unused(place, made.container_id)
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
            description = record.describe(made, request.executor_id, request.framework_id)
            # Without it nobody could tell this process from a later one of its pid; macOS has none.
            if description["start_time"] is None and sys.platform == "linux":
                raise OSError(2, "no start time in /proc/self/stat")
            made.recorded = description
            record.write(place, description, _is_named(request))
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
        from . import init, supervisor

        try:
            init.split(made.relay, supervisor.FORWARDED_FOR_AGENT if request.by_agent else supervisor.FORWARDED)
        except BaseException:
            give_up(made)
            raise


def name_in_record(made: model.Plan, pid: int) -> None:
    """The command's process in the record, in which its parent stood for it, best effort."""
    if made.recorded is None or not isinstance(made.record_place, record.Place):
        return
    started = record.start_time(pid)
    try:
        if started is None:
            raise OSError(2, f"no start time in /proc/{pid}/stat")
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


def warn(warnings: "list[str]") -> None:
    """Each warning on a line of its own, on stderr; a closed stderr is no reason to fail."""
    from ..errors import one_line

    for warning in warnings:
        try:
            posix.write(2, f"mesos-shim: warning: {one_line(warning)}\n".encode("utf-8", "replace"))
        except OSError:
            return


__all__ = ["CALLER", "make_plan", "run"]
