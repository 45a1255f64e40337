"""The plan of a launch: pure data, made from a request and from what the host was found to be.

`explain` prints exactly this; `view` carries it out. Nothing here makes a system call.
"""

from ..errors import ShimError
from ..spec.config import PrivateDirectory, Tmpfs
from ..spec.container_info import Volume
from ..system import paths
from ..system.credentials import Identity
from ..system.walk import S_IFDIR, S_IFREG, S_IFSOCK, S_ISVTX, Resolved, Status

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from ..isolators import cgroup

ENFORCED = "enforced"
USAGE_ONLY = "usage-only"

BIND = "bind"  # a volume
TMPFS = "tmpfs"  # a volume in memory
HIDE = "hide"  # the agent's work_dir, covered
KEEP = "keep"  # the sandbox, where it was
PASS = "pass"  # a configured name below a covered path  # noqa: S105
AGENTS = "agents"  # what the agent has mounted below a covered path

# Where private directories lie in the sandbox.
PRIVATE = ".private"

# As mount(2), mount_setattr(2) and, for a file system that is there already, statvfs(3) have them.
NOSUID, NODEV, NOEXEC = 0x2, 0x4, 0x8
_RESTRICTIONS = (("nosuid", NOSUID), ("nodev", NODEV), ("noexec", NOEXEC))
# How well something is kept from others than its owner: they replace what is in it; they add to it; they do neither.
OPEN, STICKY, CLOSED = range(3)

# The closed list of calls whose failure warns; every other failure refuses the launch (threats 17).
BEST_EFFORT = (
    "record",
    "mark",
    "label of a launch without root",
    "entry of pass_through",
    "lock of the sandbox",
    "what a link in the sandbox leads to",
)


class Mount:
    """One mount of the new view. `parent` is the index of the mount that its target lies in, or None: the host's."""

    __slots__ = (
        "action",
        "base",
        "covers",
        "kept",
        "noexec",
        "parent",
        "propagation",
        "quota",
        "read_only",
        "restrictions",
        "size",
        "source",
        "source_parts",
        "what",
    )

    def __init__(self, action: str, what: str, covers: Resolved, read_only: bool = False) -> None:
        self.action = action
        self.what = what
        self.covers = covers
        self.read_only = read_only
        self.propagation = False
        self.source: Resolved | None = None
        # Of a source that is made: its path below the sandbox, or below `base`.
        self.source_parts: list[str] = []
        self.base: Resolved | None = None
        self.size = ""
        self.noexec = False
        # Of a private directory: bytes that are counted (0: none), and NOSUID and so on.
        self.quota = 0
        self.restrictions = 0
        # How well it is kept from everybody but root, in whom alone a set-id program and root itself may trust.
        self.kept = CLOSED
        self.parent: int | None = None

    @property
    def target(self) -> str:
        """Where it is attached: the path without links."""
        return self.covers.path

    @property
    def fresh(self) -> bool:
        """Whether we make what lies in it, so that mount points for its children may be made there too."""
        return self.action in (TMPFS, HIDE) or bool(self.source_parts)


class Facts:
    """What was found on the host, read-only, before anything is planned."""

    __slots__ = (
        "agents_paths",
        "bases",
        "linked",
        "own",
        "passes",
        "private",
        "restrictions",
        "sandbox",
        "targets",
        "tmpfs",
        "user",
        "volume_sources",
        "volumes",
        "warnings",
        "work_dir",
    )

    def __init__(self, sandbox: Resolved, user: Identity) -> None:
        self.sandbox = sandbox
        self.user = user
        # What is ours to mount: not where the agent has mounted something itself.
        self.volumes: list[Volume] = []
        self.tmpfs: list[Tmpfs] = []
        self.agents_paths: dict[str, Resolved | ShimError] = {}
        # Where links lead that the agent has put into the sandbox.
        self.linked: list[Resolved] = []
        self.targets: dict[str, Resolved] = {}
        self.volume_sources: dict[str, Resolved] = {}
        self.work_dir: Resolved | None = None
        self.private: list[PrivateDirectory] = []
        # Where private directories outside of the sandbox are made, and what this container's are called there.
        self.bases: dict[str, Resolved] = {}
        self.own = ""
        # By container path: what the file system that a private directory covers is mounted with.
        self.restrictions: dict[str, int] = {}
        self.passes: list[tuple[Resolved, bool]] = []
        self.warnings: list[str] = []


class Plan:
    """The steps of one launch, in order."""

    __slots__ = (
        "apart",
        "before",
        "cgroups",
        "command",
        "container_id",
        "first",
        "isolation",
        "left_host",
        "limits",
        "lock",
        "made",
        "mode",
        "mounts",
        "namespaces",
        "new_user_namespace",
        "no_new_privs",
        "not_as_root",
        "own_queues",
        "pid_namespace",
        "private",
        "record_place",
        "recorded",
        "relay",
        "remove",
        "sandbox",
        "shared",
        "supervisor",
        "telling",
        "user",
        "warnings",
    )

    def __init__(self, container_id: str, sandbox: Resolved, user: Identity) -> None:
        self.container_id = container_id
        self.sandbox = sandbox
        self.user = user
        self.mode = ENFORCED
        self.isolation: tuple[str, ...] = ()
        self.mounts: list[Mount] = []
        # Whether it gets a mount namespace without any mount: who belongs to the container is then told by it.
        self.apart = False
        # What an agent wants mounted before our own, and which of the host's mounts it wants shared with the host.
        self.before: Callable[[], None] | None = None
        self.shared: list[str] = []
        # Whether this process, or the one that it was forked from, has its own mount namespace already.
        self.left_host = False
        # Beside those of mount and user: "pid", "ipc".
        self.namespaces: list[str] = []
        # Whether the own IPC namespace needs a /dev/mqueue of its own.
        self.own_queues = False
        self.cgroups: list[cgroup.Leaf] = []
        # What the container was given: "cpus", and "mem" in MB.
        self.limits: dict[str, float] = {}
        self.new_user_namespace = False
        self.no_new_privs: str | None = None
        # Why root runs nothing in this view, where it must not.
        self.not_as_root: str | None = None
        self.command: list[str] = []
        self.warnings: list[str] = []
        # Not the plan but its traces, while it is carried out: what launch/rollback.py needs to take it back.
        self.made: list[tuple[object, ...]] = []
        self.record_place: object = None
        self.recorded: dict[str, object] | None = None  # once it was begun
        # Directories of this container's own outside of the sandbox, once they are made: path and inode.
        self.private: list[tuple[str, int, int]] = []
        # The container's first process, where that can no longer be asked when the record is written.
        self.first: dict[str, object] | None = None
        # Whose pids are recorded, where the container gets a pid namespace and can no longer ask.
        self.pid_namespace: int | None = None
        # Of the parent that stays: who it is, whether it removes the sandbox, where an init tells it the wait status.
        self.supervisor: dict[str, int] = {}
        self.remove = False
        # A descriptor of the sandbox, locked for as long as that parent runs (supervise.hold).
        self.lock: int | None = None
        # Over which a child tells that parent what it is to know.
        self.telling: int | None = None
        self.relay: int | None = None

    @property
    def own_view(self) -> bool:
        """Whether the launch leaves the host's mount namespace."""
        return self.apart or self.isolates

    @property
    def isolates(self) -> bool:
        """Whether anything was asked for that only an own view can give."""
        return bool(self.mounts or self.namespaces or self.before)


def arrange(facts: Facts, volumes: "list[Volume]", tmpfs: "list[Tmpfs]", framework: bool = False) -> "list[Mount]":
    """The mounts for these volumes: parents before children, the sandbox kept visible, nothing twice.

    With `framework` the volumes are a framework's choice.
    """
    mounts = [_volume_mount(volume, facts, framework) for volume in volumes]
    taken = {mount.target for mount in mounts}
    # The operator's own words about a path yield to a ContainerInfo that names the same one.
    if facts.private:
        mounts += [_private_mount(item, facts) for item in facts.private if not _is_taken(item, facts, taken)]
        taken.update(mount.target for mount in mounts)
    mounts += [_tmpfs_mount(item, facts) for item in tmpfs if facts.targets[item.container_path].path not in taken]
    if facts.work_dir is not None and any(mount.target == facts.work_dir.path for mount in mounts):
        raise ShimError(f"a volume covers {facts.work_dir.path!r}, which hide_work_dir covers already")
    if facts.work_dir is not None:
        mounts.append(Mount(HIDE, f"work_dir {facts.work_dir.path!r}", facts.work_dir, read_only=True))
    sandbox = facts.sandbox.path
    for mount in mounts:
        _check_against_sandbox(mount, sandbox)
    if any(paths.is_below(sandbox, mount.target) for mount in mounts):
        keep = Mount(KEEP, f"sandbox {sandbox!r}", facts.sandbox)
        keep.source = facts.sandbox
        mounts.append(keep)
    covered = [mount.target for mount in mounts]
    taken = set(covered)
    passes = [(PASS, f"pass_through {found.path!r}", found, read_only) for found, read_only in facts.passes]
    passes += [(PASS, f"persistent volume {found.path!r}", found, False) for found in facts.linked]
    passes += _agents_passes(facts, covered)
    for action, what, found, read_only in passes:
        if any(paths.is_below(found.path, target) for target in covered) and found.path not in taken:
            taken.add(found.path)
            passed = Mount(action, what, found, read_only)
            passed.source = found
            mounts.append(passed)
    mounts.sort(key=lambda mount: len(mount.covers.levels))
    _find_parents(mounts)
    _check_shared_sources(mounts)
    return mounts


def _agents_passes(facts: Facts, covered: "list[str]") -> "list[tuple[str, str, Resolved, bool]]":
    """What the agent has mounted below a covered path stays visible there."""
    passes = []
    for path, found in facts.agents_paths.items():
        if any(paths.is_below(path, other) for other in facts.agents_paths):
            continue  # it goes along with what it is mounted in
        if isinstance(found, Resolved):
            passes.append((AGENTS, f"the agent's mount {path!r}", found, False))
        elif any(paths.is_below(path, target) for target in covered):
            raise found
    return passes


def _volume_mount(volume: Volume, facts: Facts, framework: bool) -> Mount:
    covers = facts.targets[volume.container_path]
    mount = Mount(BIND, volume.place, covers, volume.read_only)
    mount.propagation = volume.propagation and not volume.read_only
    if volume.relative:
        mount.source_parts = paths.split(volume.host_path)
        # A directory that we make looks like what it covers, but a user can have an empty one in the place of /etc.
        mount.kept = OPEN if facts.sandbox.users_own else STICKY
        if covers.kind != S_IFDIR:
            raise ShimError(
                f"{volume.place}: {volume.container_path!r} is a file; a relative host_path makes a directory, "
                "so only an absolute one can cover it"
            )
        return mount
    mount.source = facts.volume_sources[volume.host_path]
    mount.kept = OPEN if framework else kept_by_root(mount.source)
    if mount.source.kind not in (S_IFDIR, S_IFREG):
        raise ShimError(f"{volume.place}.host_path: {volume.host_path!r} is neither a directory nor a regular file")
    if mount.source.kind != covers.kind:
        is_what = {S_IFDIR: "a directory", S_IFREG: "a file"}
        raise ShimError(
            f"{volume.place}: {volume.host_path!r} is {is_what[mount.source.kind]}, but "
            f"{volume.container_path!r} is {is_what.get(covers.kind, 'neither file nor directory')}"
        )
    return mount


def _tmpfs_mount(item: Tmpfs, facts: Facts) -> Mount:
    covers = facts.targets[item.container_path]
    if covers.kind != S_IFDIR:
        raise ShimError(f"tmpfs {item.container_path!r}: not a directory")
    mount = Mount(TMPFS, f"tmpfs {item.container_path!r}", covers)
    mount.size = item.size
    mount.noexec = item.noexec
    return mount


def _is_taken(item: PrivateDirectory, facts: Facts, taken: "set[str]") -> bool:
    return facts.targets[item.container_path].path in taken


def _private_mount(item: PrivateDirectory, facts: Facts) -> Mount:
    covers = facts.targets[item.container_path]
    if covers.kind != S_IFDIR:
        raise ShimError(f"private_directories {item.container_path!r}: not a directory")
    mount = Mount(BIND, f"private_directories {item.container_path!r}", covers)
    mount.base = None if item.base is None else facts.bases[item.base]
    # An archive's own tmp/ in the sandbox must not be in the way.
    mount.source_parts = [PRIVATE if mount.base is None else facts.own, *paths.split(covers.path)]
    mount.kept = OPEN if mount.base is None and facts.sandbox.users_own else STICKY
    mount.quota = item.quota
    # What it covers may be mounted so that no program there is set-uid, or that none can be started.
    mount.restrictions = facts.restrictions.get(item.container_path, 0)
    if item.noexec is not None:
        mount.restrictions = mount.restrictions & ~NOEXEC | (NOEXEC if item.noexec else 0)
    return mount


def _check_against_sandbox(mount: Mount, sandbox: str) -> None:
    if mount.target == sandbox or paths.is_below(mount.target, sandbox):
        raise ShimError(
            f"{mount.what}: {mount.target!r} is in the sandbox {sandbox!r}, where the task can put what it likes itself"
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


def why_no_new_privs(mounts: "list[Mount]", user: Identity) -> "str | None":
    """The first volume that could feed a set-id program what the task's user could not, or None (threats 8, 24).

    Root's own files can feed it as well, one in the place of another: whose choice a source is counts, too.
    """
    for mount in mounts:
        if mount.kept < _kept_from(user, mount.covers):
            return f"{mount.target} is covered by what others than root could have chosen or can change"
    return None


def why_not_as_root(mounts: "list[Mount]", user: Identity) -> "str | None":
    """The first volume that could feed what root itself runs in this view, or None.

    A directory that we made is empty and root's where it covers one of root's; what anybody else brings is not.
    """
    for mount in mounts:
        ours = mount.source is None and mount.kept > OPEN
        if not ours and mount.kept < _kept_from(user, mount.covers):
            source = mount.source.path if mount.source is not None else "a directory on a user's own file system"
            return f"{mount.target} is covered by {source}, which others than root could have chosen or can change"
    return None


def kept_by_root(source: Resolved) -> int:
    """How well a volume's source is kept from everybody but root; who owns it can make it writable at any time."""
    if source.users_own or source.controller is not None or source.status.st_uid != 0:
        return OPEN
    if source.writable_by_strangers():
        return STICKY if _is_sticky(source) else OPEN
    return CLOSED


def _kept_from(user: Identity, covered: Resolved) -> int:
    """How well what is covered was kept from the task's user."""
    if user.uid == 0:
        return OPEN
    if not covered.writable_by(user):
        return CLOSED
    return STICKY if _is_sticky(covered) and covered.status.st_uid != user.uid else OPEN


def _is_sticky(found: Resolved) -> bool:
    return found.kind == S_IFDIR and bool(found.status.st_mode & S_ISVTX)


def mirrored_levels(mount: Mount) -> "list[Status] | None":
    """Whose mode and owner each level of a relative source takes, where its path mirrors the target's."""
    if mount.source_parts == paths.split(mount.target):
        return mount.covers.levels
    return None


def steps(plan: Plan) -> "list[dict[str, object]]":
    """The plan as JSON objects, for `explain` and for tests."""
    result: list[dict[str, object]] = []
    result.extend(_group_step(group) for group in plan.cgroups)
    if plan.mode == ENFORCED and plan.own_view:
        namespaces = ["user", "mnt"] if plan.new_user_namespace else ["mnt"]
        result.append({"action": "unshare", "namespaces": namespaces + plan.namespaces})
        result.append({"action": "propagation", "target": "/", "mode": "slave"})
        result.extend(_creations(plan))
        result.extend(_mount_step(mount, plan) for mount in plan.mounts)
    if plan.own_queues:
        result.append({"action": "mqueue", "target": "/dev/mqueue"})
    # Without a record nobody would remove what is not in the sandbox.
    result.append(
        {"action": "record", "target": plan.container_id, "best_effort": all(item.base is None for item in plan.mounts)}
    )
    if "pid" in plan.namespaces:
        result.append({"action": "proc", "target": "/proc"})
        result.append({"action": "init"})
    if plan.user.switch:
        result.append({"action": "become", "uid": plan.user.uid, "gid": plan.user.gid, "groups": plan.user.groups})
    if plan.no_new_privs is not None:
        result.append({"action": "no_new_privs", "because": plan.no_new_privs})
    result.append({"action": "exec", "target": plan.sandbox.path, "command": plan.command})
    return result


def _group_step(group: "cgroup.Leaf") -> "dict[str, object]":
    return {
        "action": "cgroup" if group.ours else "agents_cgroup",
        "target": group.directory,
        "controllers": group.controllers,
        "settings": dict(group.settings),
    }


def _creations(plan: Plan) -> "list[dict[str, object]]":
    """What is made in the sandbox where it is missing: sources, and in them the places of other mounts."""
    result: list[dict[str, object]] = [
        {"action": "create", "target": path, "mode": "0700"} for path in own_directories(plan)
    ]
    result += [_creation(source_path(mount, plan), mount, plan) for mount in plan.mounts if mount.source_parts]
    for mount in plan.mounts:
        parent = plan.mounts[mount.parent] if mount.parent is not None else None
        if parent is not None and parent.source_parts:
            below = "/".join(paths.relative(mount.target, parent.target))
            result.append(_creation(f"{source_path(parent, plan)}/{below}", mount, plan))
    return result


def own_directories(plan: Plan) -> "list[str]":
    """The container's own directories outside of the sandbox, each once."""
    found = [f"{mount.base.path}/{mount.source_parts[0]}" for mount in plan.mounts if mount.base is not None]
    return sorted(set(found))


def _creation(path: str, mount: Mount, plan: Plan) -> "dict[str, object]":
    """A directory that looks like what the mount covers, or an empty file for one."""
    if mount.covers.kind != S_IFDIR:
        return {"action": "create", "target": path, "kind": "file"}
    status = mount.covers.status
    return {
        "action": "create",
        "target": path,
        "mode": f"{status.st_mode & 0o7777:04o}",
        "uid": plan.user.uid if plan.new_user_namespace else status.st_uid,
        "gid": plan.user.gid if plan.new_user_namespace else status.st_gid,
    }


def source_path(mount: Mount, plan: Plan) -> str:
    """What is mounted, as a path on the host."""
    if mount.source_parts:
        return "/".join([(mount.base or plan.sandbox).path, *mount.source_parts])
    return mount.source.path if mount.source is not None else "tmpfs"


def _mount_step(mount: Mount, plan: Plan) -> "dict[str, object]":
    step: dict[str, object] = {
        "action": mount.action,
        "source": source_path(mount, plan),
        "target": mount.target,
        "read_only": mount.read_only,
    }
    if mount.size:
        step["size"] = mount.size
        step["noexec"] = mount.noexec
    if mount.quota:
        step["size"] = str(mount.quota)
    if mount.restrictions:
        step["options"] = [name for name, bit in _RESTRICTIONS if mount.restrictions & bit]
    if mount.propagation:
        step["propagation"] = "HOST_TO_CONTAINER"
    if mount.parent is not None:
        step["inside"] = plan.mounts[mount.parent].target
    return step


PASSABLE = (S_IFDIR, S_IFREG, S_IFSOCK)
