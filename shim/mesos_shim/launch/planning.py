"""Makes the plan of a launch from its request and from what the host was found to be. Reads only."""

import posix
import sys

from ..errors import ShimError, reason
from ..plan import model, mounts, privileges
from ..spec import isolation, policy
from ..spec.isolation import FILESYSTEM_SHARED
from ..spec.request import FRAMEWORK, LaunchRequest
from ..system import credentials, syscalls

if False:  # for the type checker alone: no launch imports typing
    from ..spec.config_tables import Tmpfs


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
        from ..plan import non_linux
        from . import unenforced

        draft = model.Draft(request.container_id or new_id(), non_linux.sandbox(request), user)
        _limit(request, draft)
        return unenforced.off_linux(request, draft)
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
        from . import unenforced

        unenforced.plan_without_isolation(request, result, problem)
    elif FILESYSTEM_SHARED in request.isolation or more:
        if found.bases:
            from ..plan import private_bases

            found.own = private_bases.name_for(result.container_id)
        result.mounts = mounts.arrange(found, volumes, found.tmpfs, request.origin == FRAMEWORK)
        # A user namespace, which others would need for it, changes what set-uid programs can do.
        result.private_mount_namespace = FILESYSTEM_SHARED in request.isolation and posix.geteuid() == 0
    return _with_privileges(result, user)


def _with_privileges(result: model.Draft, user: credentials.Identity) -> model.Plan:
    own_mount_namespace = bool(result.private_mount_namespace or result.mounts or result.namespaces)
    new_user_namespace = own_mount_namespace and posix.geteuid() != 0
    if new_user_namespace:
        try:
            _, permitted, inheritable = syscalls.capabilities()
        except OSError as error:
            raise ShimError(f"the caller's capabilities: {reason(error)}") from None
        if permitted & inheritable:  # without both none can be ambient
            from ..plan import ambient

            result.warnings.extend(ambient.lost(permitted & inheritable))
    no_new_privs = privileges.why_no_new_privs(result.mounts, user)
    # What may not be fed to root is among what may not be fed to a set-uid program.
    not_as_root = None if no_new_privs is None else privileges.why_not_as_root(result.mounts, user)
    return model.finished(result, new_user_namespace, no_new_privs, not_as_root)


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
