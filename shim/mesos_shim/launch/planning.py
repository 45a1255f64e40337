"""Makes the plan of a launch from its request and from what the host was found to be. Reads only."""

import posix
import sys

from ..errors import ShimError, reason
from ..plan import model, mounts, privileges
from ..spec import config, isolation, policy
from ..spec.isolation import FILESYSTEM_SHARED
from ..spec.request import FRAMEWORK, LaunchRequest
from ..system import credentials, syscalls

if False:  # for the type checker alone: no launch imports typing
    from ..spec.config_tables import Tmpfs

# What a child writes to its parent once it is so.
USAGE_ONLY_NOTICE = b"u"


def new_id() -> str:
    """An id for a container that was given none."""
    try:
        return f"run-{posix.urandom(6).hex()}"
    except OSError as error:
        raise ShimError(f"an id for the container: {reason(error)}") from None


def make_plan(request: LaunchRequest, private: "list[str]") -> model.Plan:
    """The plan for `request` on this host. Reads only; refuses what cannot be."""
    request.freeze()
    user = credentials.of_user(request.user, request.user_named, request.keep_caller_groups)
    if user.switch:  # as in launch.cpp: who is that user already keeps what it has
        user.groups += [gid for gid in request.groups if gid not in user.groups]
    if request.info is not None and request.origin == FRAMEWORK:
        policy.check(request.info, request.config)
    if sys.platform != "linux":
        return _usage_only_non_linux(request, user)
    from ..plan import facts  # Linux only

    idle = _idle(request)
    more = isolation.with_module_at_launch(request.isolation)
    in_memory: list[Tmpfs] = []
    if more:
        from .. import isolators

        in_memory = isolators.tmpfs(request)
    found = facts.find(request, user, private, in_memory)
    result = model.Draft(request.container_id or new_id(), found.sandbox, user)
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
        result.warnings.append(
            f"configuration: {names}: ignored, because {FILESYSTEM_SHARED} is not among the isolators"
        )
    if any(item.quota for item in found.private) and "disk/du" not in request.isolation:
        result.warnings.append("private_directories: sizes are not counted, because disk/du is not among the isolators")
    if problem is not None:
        _cannot(request, result, problem)
    elif FILESYSTEM_SHARED in request.isolation or more:
        if found.bases:
            from ..plan import private_bases

            found.own = private_bases.name_for(result.container_id)
        result.mounts = mounts.arrange(found, volumes, found.tmpfs, request.origin == FRAMEWORK)
        # A user namespace, which others would need for it, changes what set-uid programs can do.
        result.private_mount_namespace = FILESYSTEM_SHARED in request.isolation and posix.geteuid() == 0
    own_mount_namespace = bool(result.private_mount_namespace or result.mounts or result.namespaces)
    new_user_namespace = own_mount_namespace and posix.geteuid() != 0
    result.warnings.extend(_lost_capabilities() if new_user_namespace else [])
    no_new_privs = privileges.why_no_new_privs(result.mounts, user)
    # What may not be fed to root is among what may not be fed to a set-uid program.
    not_as_root = None if no_new_privs is None else privileges.why_not_as_root(result.mounts, user)
    return model.finished(result, new_user_namespace, no_new_privs, not_as_root)


def _lost_capabilities() -> "list[str]":
    """What a new user namespace takes from the command: an ambient capability gives no right over the host in it."""
    _, permitted, inheritable = syscalls.capabilities()
    if not permitted & inheritable:
        return []  # without both none can be ambient
    from ..plan import ambient

    names = ", ".join(ambient.held(permitted & inheritable))
    if not names:
        return []
    return [
        f"the command does not get the caller's ambient capabilities {names}: a launch without root needs a user "
        "namespace, which ends them"
    ]


def _idle(request: LaunchRequest) -> "list[str]":
    """Keys of the configuration that this launch does nothing for; a DEBUG container, which has no isolators, joins."""
    if not request.isolation or FILESYSTEM_SHARED in request.isolation:
        return []
    keys = ("hide_work_dir", "tmpfs", "pass_through", "private_directories")
    return [name for name in keys if getattr(request.config, name)]


def _limit(request: LaunchRequest, result: model.Draft) -> None:
    """What the container is given; that alone limits nothing, and who asked for a limit is told so."""
    result.limits = dict(request.config.default_limits)
    for item in isolation.REGISTRY:
        value = None if item.limit is None else getattr(request, item.limit)
        if value is not None:
            result.limits[str(item.limit)] = value
            if item.name not in request.isolation:
                result.warnings.append(
                    f"--{item.limit} is reported, not enforced: {item.name} is not among the isolators"
                )


def needs_parent(request: LaunchRequest) -> "list[str]":
    """What something must stay beside the command for, to tell of it, or to clear away what it ran in."""
    reasons = [item.name for item in isolation.among(request.isolation) if item.needs_parent]
    if request.supervise:
        reasons.append("--supervise")
    if request.remove:
        reasons.append("--rm")
    if request.status_fd is not None:
        reasons.append("--status-fd")
    return reasons


def _usage_only_non_linux(request: LaunchRequest, user: credentials.Identity) -> model.Plan:
    from ..plan import non_linux

    result = model.Draft(request.container_id or new_id(), non_linux.sandbox(request), user)
    result.command = request.command
    result.isolation = tuple([item.name for item in isolation.among(request.isolation) if item.portable])
    _limit(request, result)
    _cannot(request, result, f"{sys.platform} has no namespaces and no cgroups", default=config.USAGE_ONLY)
    return model.finished(result)


def _cannot(request: LaunchRequest, result: model.Draft, why: str, default: str = config.REFUSE) -> None:
    """Refuse, or plan the usage-only mode where the operator chose that."""
    result.warnings.append(why_usage_only(request, why, default))
    for name, value in _without_isolation(result.isolation).items():
        setattr(result, name, value)


def why_usage_only(request: LaunchRequest, why: str, default: str = config.REFUSE) -> str:
    """The warning of a launch in usage-only mode; refused where the operator did not choose it (threats 18)."""
    if (request.on_unenforceable or default) != config.USAGE_ONLY:
        raise ShimError(f"{why}; --on-unenforceable usage-only would launch without isolation")
    return f"usage-only: NOTHING is isolated: {why}"


def usage_only(plan: model.Plan) -> model.Plan:
    """The plan of the same launch without isolation."""
    changes = _without_isolation(plan.isolation)
    return plan.but(new_user_namespace=False, no_new_privs=None, not_as_root=None, **changes)


def _without_isolation(names: "tuple[str, ...]") -> "dict[str, object]":
    return {
        "mode": model.USAGE_ONLY,
        "isolation": tuple([item.name for item in isolation.among(names) if item.reports_only]),
        "mounts": [],
        "private_mount_namespace": False,
        "namespaces": [],
        "own_queues": False,
    }
