"""What an agent has set up for a container, and what is left for us: nothing of ours covers anything of the agent's.

An agent says its own volumes in two ways. `filesystem/shared` asks for one plain bind mount for each volume of the
executor's ContainerInfo: those are ours to replace, because read-only is lost in them, and the policy of
framework_volumes applies. `filesystem/linux` with `volume/*` has checked the volumes itself and asks for all that it
takes, read-only included: that is done as it is said, and no ContainerInfo is checked a second time.
"""

import posix

from ..errors import ShimError
from ..plan import model, privileges
from ..spec import container_info
from ..spec.request import OPERATOR, LaunchRequest
from ..system import paths, syscalls
from ..system.credentials import Identity
from ..system.files import trusted_uids
from ..system.walk import Resolved, resolve
from . import common, container_mounts, isolation
from .container_mounts import MountInfo, Sandboxes


class Setup:
    """What the agent asks to be mounted and made, in its order; empty for most."""

    __slots__ = ("mounts", "operations", "sandboxes")

    def __init__(self, info: "dict[str, object]", directory: str, depth: int) -> None:
        self.mounts = container_mounts.read(info.get("mounts"), "ContainerLaunchInfo.mounts")
        self.operations = common.objects(info.get("file_operations"), "ContainerLaunchInfo.file_operations")
        self.sandboxes = Sandboxes(container_mounts.top_sandbox(paths.normal(directory), depth))

    @property
    def shared(self) -> "list[str]":
        """Where mounts stay the host's peers (BIDIRECTIONAL)."""
        return [mount.target for mount in self.mounts if mount.shares]

    def all_mounts(self) -> "list[MountInfo]":
        """All that mounts something, those among the file operations too."""
        found = [mount for mount in self.mounts if not mount.shares]
        for operation in self.operations:
            inner = operation.get("mount")
            if isinstance(inner, dict):
                found.append(MountInfo(inner, "ContainerLaunchInfo.file_operations"))
        return found

    def carry_out(self) -> None:
        """Do it, in this process's own mount namespace."""
        shared = self.shared
        for mount in self.mounts:
            if shared and not mount.shares:
                from ..system import propagation

                propagation.refuse_shared(mount.target, mount.where)
            container_mounts.mount(mount, self.sandboxes)
        container_mounts.operate(self.operations, self.sandboxes, "ContainerLaunchInfo.file_operations")
        if self.sandboxes.fd >= 0:
            posix.close(self.sandboxes.fd)
            self.sandboxes.fd = -1


def has_done_volumes(setup: Setup, request: LaunchRequest, info: "dict[str, object]") -> bool:
    """Whether the agent has done what the volumes of the ContainerInfo `info` say, as filesystem/linux does.

    filesystem/shared asks for exactly one plain bind mount for each, and never for a nested container: what has
    another form is not its. Where all have that form both ask for the same, and the agent's flags decide, for a
    framework must not have its volumes taken for checked ones.
    """
    volumes = common.objects(info.get("volumes"), "ContainerInfo.volumes")
    if not volumes or not request.agent_namespaces & syscalls.CLONE_NEWNS:
        return False
    directory = request.sandbox or "/"
    mounts = setup.all_mounts()
    targets = {mount.target for mount in mounts}
    if not all(_is_done(volume, directory, targets) for volume in volumes):
        return False
    read_only = {mount.target for mount in mounts if mount.flags & syscalls.MS_RDONLY}
    nested = len(request.agent_ids) > 1
    if nested or any(not _may_be_shareds(volume, targets - read_only) for volume in volumes):
        return True
    return isolation.has("filesystem/linux")


def _is_done(volume: "dict[str, object]", directory: str, targets: "set[str]") -> bool:
    """Whether something is mounted where the volume belongs, or nothing has to be: it is where it was."""
    path = str(volume.get("container_path"))
    target = paths.normal(path if path.startswith("/") else f"{directory}/{path}")
    source = volume.get("source")
    inner = source.get("host_path") if isinstance(source, dict) else None
    host_path = inner.get("path") if isinstance(inner, dict) else volume.get("host_path")
    return target in targets or (isinstance(host_path, str) and paths.normal(host_path) == target)


def _may_be_shareds(volume: "dict[str, object]", writable: "set[str]") -> bool:
    """Whether filesystem/shared could have asked for what is mounted where the volume belongs.

    It needs a host_path and an absolute container_path, and asks for a mount in any case, never for a read-only one.
    """
    path = volume.get("container_path")
    return isinstance(volume.get("host_path"), str) and isinstance(path, str) and paths.normal(path) in writable


def leave_to_agent(request: LaunchRequest) -> None:
    """No volumes of ours: a framework that brings a ContainerInfo has none of the operator's default (Mesos' rule)."""
    request.info = container_info.ContainerInfo([])
    request.origin = OPERATOR


def replace_plain(setup: Setup, request: LaunchRequest) -> None:
    """Take those mounts away that filesystem/shared asks for, plainly: our volumes replace them.

    Another isolator's mount on the target of a volume is refused: one of the two would be lost in silence.
    """
    volumes = request.info.volumes if request.info is not None else []
    by_target = {volume.container_path: volume for volume in volumes}
    others = []
    for mount in setup.mounts:
        volume = by_target.get(mount.target)
        if volume is None:
            others.append(mount)
            continue
        sandbox = (request.sandbox or "") + "/" if volume.relative else ""
        if not mount.is_plain_bind or mount.source != paths.normal(sandbox + volume.host_path):
            raise ShimError(
                f"ContainerLaunchInfo.mounts: {mount.source!r} on {volume.container_path!r}: "
                f"{volume.json_path} is mounted there already; remove one of them"
            )
    setup.mounts = others


def covered(setup: Setup) -> "dict[str, Resolved | ShimError]":
    """Where the agent mounts something outside of the sandboxes, as it is before that, or why that cannot be told."""
    found: dict[str, Resolved | ShimError] = {}
    for mount in setup.all_mounts():
        if setup.sandboxes.has(mount.target):
            continue
        try:
            target = resolve(mount.target, f"{mount.where}.target", trusted_uids())
            found[target.path] = target
        except ShimError as error:
            found[mount.target] = error
    return found


def prepare(setup: Setup, plan: model.Plan) -> model.Plan:
    """The plan with what the agent asks for done first."""
    if not setup.mounts and not setup.operations:
        return plan
    return _add_privileges(setup, plan.but(before=setup.carry_out, shared=setup.shared, private_mount_namespace=True))


def _add_privileges(setup: Setup, plan: model.Plan) -> model.Plan:
    """Have the agent's volumes count in what the container's programs may gain, as ours do (threats 8)."""
    for mount in setup.all_mounts():
        if not mount.flags & syscalls.MS_BIND or setup.sandboxes.has(mount.target):
            continue
        why = _feeds_root(mount, setup, plan.user)
        if why is not None:
            plan = plan.but(
                no_new_privs=plan.no_new_privs or f"{mount.target} is not the user's to write, but {why}",
                not_as_root=plan.not_as_root or f"{mount.target} is covered by {mount.source}: {why}",
            )
    return plan


def _feeds_root(mount: MountInfo, setup: Setup, user: Identity) -> "str | None":
    """Why a set-uid program must not be fed by this mount, or None."""
    source = mount.source or ""
    try:
        covers = resolve(mount.target, mount.where, trusted_uids())
        inside = setup.sandboxes.has(source)
        bind = model.Mount(model.BIND, mount.where, covers)
        bind.source = None if inside else resolve(source, mount.where, trusted_uids())
        bind.kept = model.OPEN if bind.source is None else privileges.kept_by_root(bind.source)
    except ShimError as error:
        return None if user.uid == 0 else f"it cannot be told whose the mount is ({error})"
    if privileges.why_no_new_privs([bind], user) is None:
        return None
    return "what covers it is"
