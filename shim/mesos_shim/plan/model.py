"""The plan of a launch: pure data, made from a request and from what the host was found to be.

`explain` prints exactly this; `view` carries it out. Nothing here makes a system call.
"""

from _stat import S_IFDIR, S_IFREG, S_IFSOCK

from ..errors import ShimError
from ..spec.container_info import Volume
from ..system.credentials import Identity
from ..system.walk import Resolved

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from ..spec.config_tables import PrivateDirectory, Tmpfs


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
        self.cgroups: list[Leaf] = []
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


def source_path(mount: Mount, plan: Plan) -> str:
    """What is mounted, as a path on the host."""
    if mount.source_parts:
        return "/".join([(mount.base or plan.sandbox).path, *mount.source_parts])
    return mount.source.path if mount.source is not None else "tmpfs"


PASSABLE = (S_IFDIR, S_IFREG, S_IFSOCK)


class Leaf:
    """The group that a container will get in one hierarchy; or the one that the agent has put it into (not `ours`)."""

    __slots__ = ("controllers", "delegate", "directory", "ours", "settings", "step_aside", "version")

    def __init__(self, version: int, base: str, name: str) -> None:
        from ..system.cgroups import DIRECTORY  # most launches have no groups

        self.version = version
        self.ours = True
        # The group below which it is made: there, and in `mesos-shim` below it, version 2 must switch controllers on.
        self.delegate = base
        # Whether we are the only process in it, and must step aside for that.
        self.step_aside = False
        self.directory = f"{base}/{DIRECTORY}/{name}"
        self.controllers: list[str] = []
        self.settings: list[tuple[str, str]] = []
