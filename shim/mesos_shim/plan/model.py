"""The plan of a launch: pure data, made from a request and from what the host was found to be.

`explain` prints exactly this; launch/order.py carries it out. Nothing here makes a system call.
"""

from _stat import S_IFDIR, S_IFREG, S_IFSOCK

from ..errors import ShimError
from ..spec.container_info import Volume
from ..system.credentials import Identity
from ..system.walk import Resolved

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from ..spec.config_tables import PrivateDirectory, Tmpfs
    from .leaf import Leaf


ENFORCED = "enforced"
USAGE_ONLY = "usage-only"

BIND = "bind"  # a volume
TMPFS = "tmpfs"  # a volume in memory
MASK_WORK_DIR = "hide"  # the agent's work_dir, covered
EXPOSE_SANDBOX = "keep"  # the sandbox, where it was
PASS_THROUGH = "pass"  # a configured name below a covered path  # noqa: S105
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
    """One mount of a plan. `parent` is the index of the mount that its target lies in, or None: the host's."""

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
        # Of a private directory: bytes that are counted (0: none).
        self.quota = 0
        # Of a directory that we make: NOSUID and so on, as what it covers is mounted.
        self.restrictions = 0
        # How well it is kept from everybody but root, in whom alone a set-id program and root itself may trust.
        self.kept = CLOSED
        self.parent: int | None = None

    def inside(self, parent: int) -> "Mount":
        """The same mount, where the one that it lies in has another index."""
        other = Mount(self.action, self.what, self.covers, self.read_only)
        for name in Mount.__slots__:
            setattr(other, name, getattr(self, name))
        other.parent = parent
        return other

    @property
    def target(self) -> str:
        """Where it is attached: the path without links."""
        return self.covers.path

    @property
    def fresh(self) -> bool:
        """Whether we make what lies in it, so that mount points for its children may be made there too."""
        return self.action in (TMPFS, MASK_WORK_DIR) or bool(self.source_parts)


class Facts:
    """What was found on the host, read-only, before anything is planned."""

    __slots__ = (
        "agents_paths",
        "bases",
        "linked",
        "names",
        "own",
        "passed_through",
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
        # Names of these and of the sandbox that lead through a covered link: where it was, and what is to be there.
        self.names: list[tuple[Resolved, Resolved]] = []
        self.targets: dict[str, Resolved] = {}
        self.volume_sources: dict[str, Resolved] = {}
        self.work_dir: Resolved | None = None
        self.private: list[PrivateDirectory] = []
        # Where private directories outside of the sandbox are made, and what this container's are called there.
        self.bases: dict[str, Resolved] = {}
        self.own = ""
        # By container path: what the file system is mounted with that a directory of ours covers.
        self.restrictions: dict[str, int] = {}
        self.passed_through: list[tuple[Resolved, bool]] = []
        self.warnings: list[str] = []


class Draft:
    """A plan while it is being made. `finished` makes the plan of it."""

    __slots__ = (
        "cgroups",
        "command",
        "container_id",
        "isolation",
        "limits",
        "mode",
        "mounts",
        "namespaces",
        "own_queues",
        "private_mount_namespace",
        "sandbox",
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
        self.private_mount_namespace = False
        # Beside those of mount and user: "pid", "ipc".
        self.namespaces: list[str] = []
        # Whether the own IPC namespace needs a /dev/mqueue of its own.
        self.own_queues = False
        self.cgroups: list[Leaf] = []
        # What the container was given: "cpus", and "mem" in MB.
        self.limits: dict[str, float] = {}
        self.command: list[str] = []
        self.warnings: list[str] = []


class Plan:
    """What a launch will do: made of a draft, and never changed. `but` makes another one."""

    # What was planned step by step, and what follows from all of it.
    __slots__ = (*Draft.__slots__, "before", "new_user_namespace", "no_new_privs", "not_as_root", "shared")

    # As in a draft.
    container_id: str
    sandbox: Resolved
    user: Identity
    mode: str
    isolation: "tuple[str, ...]"
    mounts: "tuple[Mount, ...]"
    private_mount_namespace: bool
    namespaces: "tuple[str, ...]"
    own_queues: bool
    cgroups: "tuple[Leaf, ...]"
    limits: "dict[str, float]"
    command: "tuple[str, ...]"
    warnings: "tuple[str, ...]"
    new_user_namespace: bool
    # Why the command gets no_new_privs, and why root runs nothing in this mount namespace, where it must not.
    no_new_privs: "str | None"
    not_as_root: "str | None"
    # What an agent wants mounted before our own, and which of the host's mounts it wants shared with the host.
    before: "Callable[[], None] | None"
    shared: "tuple[str, ...]"

    def __init__(self, fields: "dict[str, object]") -> None:
        for name in Plan.__slots__:
            value = fields[name]
            object.__setattr__(self, name, tuple(value) if type(value) is list else value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a plan is never changed: {name}")

    def but(self, **changes: object) -> "Plan":
        """The same plan but for `changes`."""
        fields = {name: getattr(self, name) for name in Plan.__slots__}
        fields.update(changes)
        return Plan(fields)

    @property
    def own_mount_namespace(self) -> bool:
        """Whether the launch leaves the host's mount namespace."""
        return self.private_mount_namespace or self.isolates

    @property
    def isolates(self) -> bool:
        """Whether anything was asked for that only an own mount namespace can give."""
        return bool(self.mounts or self.namespaces or self.before)


def finished(
    draft: Draft,
    new_user_namespace: bool = False,
    no_new_privs: "str | None" = None,
    not_as_root: "str | None" = None,
) -> Plan:
    """The plan of `draft`, with what its mounts as a whole mean for privileges."""
    fields: dict[str, object] = {name: getattr(draft, name) for name in Draft.__slots__}
    fields.update(new_user_namespace=new_user_namespace, no_new_privs=no_new_privs, not_as_root=not_as_root)
    fields.update(before=None, shared=())
    return Plan(fields)


def source_path(mount: Mount, plan: Plan) -> str:
    """What is mounted, as a path on the host."""
    if mount.source_parts:
        return "/".join([(mount.base or plan.sandbox).path, *mount.source_parts])
    return mount.source.path if mount.source is not None else "tmpfs"


PASSABLE = (S_IFDIR, S_IFREG, S_IFSOCK)
