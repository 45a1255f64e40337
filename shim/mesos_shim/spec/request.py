"""LaunchRequest: who asks for what, before anything is looked at on the host."""

import posix

from ..errors import ShimError, reason
from ..system import paths
from . import config as configuration

if False:  # for the type checker alone: no launch imports typing
    from ..system.walk import Resolved
    from . import container_info
from .frozen import Frozen

# A file's name holds 255 bytes; the longest of ours around an id is `.ID.json.PID` (containers/record.py).
MAX_ID = 241
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")

# Whose volumes these are decides what they may reach (spec/policy.py).
CALLER = "caller"
OPERATOR = "operator"
FRAMEWORK = "framework"


class LaunchRequest(Frozen):
    """One launch as it was asked for: written by who reads it, frozen when it is planned."""

    __slots__ = (
        "agent_ids",
        "agent_namespaces",
        "agents_paths",
        "by_agent",
        "command",
        "config",
        "container_id",
        "cpus",
        "executor_id",
        "framework_id",
        "groups",
        "info",
        "isolation",
        "json",
        "keep_caller_groups",
        "keep_fds",
        "launcher",
        "linked_paths",
        "mem",
        "on_unenforceable",
        "origin",
        "remove",
        "sandbox",
        "sandbox_named",
        "sandbox_names",
        "sandbox_planned",
        "status_fd",
        "supervise",
        "user",
        "user_named",
    )

    def __init__(self) -> None:
        self.command: list[str] = []
        self.sandbox: str | None = None
        self.container_id: str | None = None
        self.executor_id: str | None = None
        self.framework_id: str | None = None
        self.info: container_info.ContainerInfo | None = None
        self.origin = CALLER
        # In `explain --rm`: the one that a launch would make, which is nowhere yet.
        self.sandbox_planned: Resolved | None = None
        self.user: str | None = None
        # What an agent adds to the user's own groups: they count in every check of what they may write.
        self.groups: list[int] = []
        # Paths by which the caller's environment knows the sandbox, if they lead there.
        self.sandbox_names: list[str] = []
        # Who named the two, for a message: an agent gives no options of ours.
        self.sandbox_named = "--sandbox"
        self.user_named = "--user"
        # Whether a caller who is the user already keeps their groups (credentials.of_user).
        self.keep_caller_groups = False
        self.isolation: tuple[str, ...] = ()
        self.cpus: float | None = None
        self.mem: float | None = None
        self.supervise = False
        self.remove = False
        self.status_fd: int | None = None
        # Where an agent asks: the ids by which it may have named cgroups, and the CLONE_NEW… it made itself.
        self.by_agent = False
        self.agent_ids: list[str] = []
        self.agent_namespaces = 0
        # A directory that must stay visible in the container: mesos-executor runs our program from there.
        self.launcher: str | None = None
        # What it mounts on itself, outside of the sandbox: as it is before that, or why that cannot be told.
        self.agents_paths: dict[str, Resolved | ShimError] = {}
        # Where in the sandbox, below its top, it has put links.
        self.linked_paths: list[str] = []
        self.keep_fds: list[int] = []
        self.on_unenforceable: str | None = None
        self.json = False
        self.config = configuration.Config()


def check_id(container_id: str, where: str) -> None:
    """Refuse an id that could not be a file's name (threats 22); nested 1.x ids are joined by '.' beforehand."""
    if not container_id or len(container_id) > MAX_ID or not _ID_CHARACTERS.issuperset(container_id):
        raise ShimError(f"{where}: {container_id!r} is not 1 to {MAX_ID} of letters, digits, '-', '_' and '.'")
    if container_id[0] == ".":
        raise ShimError(f"{where}: {container_id!r} starts with a dot")


def sandbox_path(request: LaunchRequest) -> str:
    """The sandbox as a normal absolute path: the one given, else the current directory."""
    path = _current_directory() if request.sandbox is None else request.sandbox
    fault = paths.fault(path)
    if fault is not None:
        raise ShimError(f"{request.sandbox_named}: {path!r} {fault}")
    if not path.startswith("/"):
        path = _current_directory() + "/" + path
    return paths.normal(path)


def _current_directory() -> str:
    try:
        return posix.getcwd()
    except OSError as error:
        raise ShimError(f"the current directory: {reason(error)}; give --sandbox DIR") from None
