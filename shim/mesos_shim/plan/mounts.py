"""Arranges the mounts of a plan: parents before children, the sandbox kept visible, nothing twice."""

from _stat import S_IFDIR, S_IFREG

from ..errors import ShimError
from ..spec.container_info import Volume
from ..system import paths
from ..system.walk import Resolved, Status
from .model import (
    AGENTS,
    BIND,
    EXPOSE_SANDBOX,
    MASK_WORK_DIR,
    OPEN,
    PASS_THROUGH,
    STICKY,
    Facts,
    Mount,
)
from .privileges import kept_by_root

if False:  # for the type checker alone: no launch imports typing
    from ..spec.config_tables import Tmpfs


def arrange(facts: Facts, volumes: "list[Volume]", tmpfs: "list[Tmpfs]", framework: bool = False) -> "list[Mount]":
    """The mounts for these volumes: parents before children, the sandbox kept visible, nothing twice.

    With `framework` the volumes are a framework's choice.
    """
    mounts = [_volume_mount(volume, facts, framework) for volume in volumes]
    taken = {mount.target for mount in mounts}
    # The operator's own words about a path yield to a ContainerInfo that names the same one.
    if facts.private or tmpfs:
        from . import operators_mounts  # many hosts have none

        mounts += operators_mounts.private(facts, taken)
        taken.update(mount.target for mount in mounts)
        mounts += operators_mounts.tmpfs(tmpfs, facts, taken)
    if facts.work_dir is not None and any(mount.target == facts.work_dir.path for mount in mounts):
        raise ShimError(f"a volume covers {facts.work_dir.path!r}, which hide_work_dir covers already")
    if facts.work_dir is not None:
        mounts.append(Mount(MASK_WORK_DIR, f"work_dir {facts.work_dir.path!r}", facts.work_dir, read_only=True))
    sandbox = facts.sandbox.path
    for mount in mounts:
        _check_against_sandbox(mount, sandbox)
    if any(paths.is_below(sandbox, mount.target) for mount in mounts):
        keep = Mount(EXPOSE_SANDBOX, f"sandbox {sandbox!r}", facts.sandbox)
        keep.source = facts.sandbox
        mounts.append(keep)
    covered = [mount.target for mount in mounts]
    taken = set(covered)
    visible = [
        (PASS_THROUGH, f"pass_through {found.path!r}", found, read_only) for found, read_only in facts.passed_through
    ]
    visible += [(PASS_THROUGH, f"persistent volume {found.path!r}", found, False) for found in facts.linked]
    visible += _agents_mounts(facts, covered)
    mounts += [_name_mount(target, source, facts) for target, source in facts.names]
    for action, what, found, read_only in visible:
        if any(paths.is_below(found.path, target) for target in covered) and found.path not in taken:
            taken.add(found.path)
            passed = Mount(action, what, found, read_only)
            passed.source = found
            mounts.append(passed)
    mounts.sort(key=lambda mount: len(mount.covers.levels))
    _find_parents(mounts)
    _check_shared_sources(mounts)
    return mounts


def _name_mount(target: Resolved, source: Resolved, facts: Facts) -> Mount:
    """What a task knows by a name that leads through a link, at that name: the link is covered."""
    action = EXPOSE_SANDBOX if source is facts.sandbox else PASS_THROUGH
    mount = Mount(action, f"{'sandbox' if action == EXPOSE_SANDBOX else 'persistent volume'} {target.path!r}", target)
    mount.source = source
    return mount


def _agents_mounts(facts: Facts, covered: "list[str]") -> "list[tuple[str, str, Resolved, bool]]":
    """What the agent has mounted below a covered path stays visible there."""
    visible = []
    for path, found in facts.agents_paths.items():
        if any(paths.is_below(path, other) for other in facts.agents_paths):
            continue  # it goes along with what it is mounted in
        if isinstance(found, Resolved):
            visible.append((AGENTS, f"the agent's mount {path!r}", found, False))
        elif any(paths.is_below(path, target) for target in covered):
            raise found
    return visible


def _volume_mount(volume: Volume, facts: Facts, framework: bool) -> Mount:
    covers = facts.targets[volume.container_path]
    mount = Mount(BIND, volume.json_path, covers, volume.read_only)
    mount.propagation = volume.propagation and not volume.read_only
    if volume.relative:
        mount.source_parts = paths.split(volume.host_path)
        # A directory that we make looks like what it covers, but a user can have an empty one in the place of /etc.
        mount.kept = OPEN if facts.sandbox.users_own else STICKY
        mount.restrictions = facts.restrictions.get(volume.container_path, 0)
        if covers.kind != S_IFDIR:
            raise ShimError(
                f"{volume.json_path}: {volume.container_path!r} is a file; a relative host_path makes a directory, "
                "so only an absolute one can cover it"
            )
        return mount
    mount.source = facts.volume_sources[volume.host_path]
    mount.kept = OPEN if framework else kept_by_root(mount.source)
    if mount.source.kind not in (S_IFDIR, S_IFREG):
        raise ShimError(f"{volume.json_path}.host_path: {volume.host_path!r} is neither a directory nor a regular file")
    if mount.source.kind != covers.kind:
        is_what = {S_IFDIR: "a directory", S_IFREG: "a file"}
        raise ShimError(
            f"{volume.json_path}: {volume.host_path!r} is {is_what[mount.source.kind]}, but "
            f"{volume.container_path!r} is {is_what.get(covers.kind, 'neither file nor directory')}"
        )
    return mount


def _check_against_sandbox(mount: Mount, sandbox: str) -> None:
    if mount.target == sandbox or paths.is_below(mount.target, sandbox):
        raise ShimError(
            f"{mount.what}: {mount.target!r} is in the sandbox {sandbox!r}, where the task can put files itself"
        )


def _find_parents(mounts: "list[Mount]") -> None:
    by_target: dict[str, Mount] = {}
    for index, mount in enumerate(mounts):
        first = by_target.setdefault(mount.target, mount)
        if first is not mount:
            raise ShimError(f"{mount.what}: {mount.target!r} is already covered by {first.what}")
        for earlier in range(index - 1, -1, -1):
            if paths.is_below(mount.target, mounts[earlier].target):
                mount.parent = earlier
                break


def _check_shared_sources(mounts: "list[Mount]") -> None:
    """Refuse directories in the sandbox that would have to look like two targets at once.

    Each takes owner and mode of what it covers: the second target's would make the first one's content the user's.
    """
    by_source: dict[tuple[str, ...], Mount] = {}
    for mount in mounts:
        if mount.action == BIND and mount.source is None and mount.base is None:
            first = by_source.setdefault(tuple(mount.source_parts), mount)
            one, other = first.covers.status, mount.covers.status
            if (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
                raise ShimError(
                    f"{mount.what}: its host_path is {first.what}'s too, and one directory cannot have the owner and "
                    f"mode of both {first.target!r} and {mount.target!r}"
                )
    for parts, mount in by_source.items():
        for length in range(1, len(parts)):
            outer = by_source.get(parts[:length])
            if outer is not None and paths.split(outer.target) + list(parts[length:]) != paths.split(mount.target):
                raise ShimError(
                    f"{mount.what}: its host_path lies in {outer.what}'s, and would be below {outer.target!r} too"
                )


def mirrored_levels(mount: Mount) -> "list[Status] | None":
    """Whose mode and owner each level of a relative source takes, where its path mirrors the target's."""
    if mount.source_parts == paths.split(mount.target):
        return mount.covers.levels
    return None
