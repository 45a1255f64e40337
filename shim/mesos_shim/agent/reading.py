"""Reads what an agent says of one launch: its call, the launch info, and what it has checkpointed."""

import posix
import sys

from ..containers import record
from ..errors import ShimError
from ..spec import config as configuration
from ..spec import request
from ..system import paths
from . import checkpoint, common, launch_info, view_record

if False:  # for the type checker alone
    from . import call, debug_container, filesystem_linux

# What we do ourselves, and what the agent has done by the time it starts us.
_OURS = {
    "command",
    "environment",
    "task_environment",
    "user",
    "working_directory",
    "mounts",
    "file_operations",
    "pre_exec_commands",
    "supplementary_groups",
    "task_supplementary_groups",
    "rlimits",
    "no_new_privileges",
    "clone_namespaces",
    "enter_namespaces",
    "tty_slave_path",
}


class Launch:
    """One launch as the agent described it."""

    __slots__ = (
        "agents_call",
        "agents_directory",
        "config",
        "container_ids",
        "debug",
        "directory",
        "held",
        "info",
        "isolators",
        "known",
        "needs_packaged",
        "parent",
        "request",
        "runtime",
        "setup",
        "target",
        "warnings",
    )

    def __init__(
        self,
        config: configuration.Config,
        agents_call: "call.Call",
        info: "dict[str, object]",
        runtime: "str | None",
    ) -> None:
        self.config = config
        self.agents_call = agents_call
        self.info = info
        self.runtime = runtime
        self.container_ids = _container_ids(runtime)
        self.held = checkpoint.Held()
        # Whether what is held is what the agent says: a framework without a ContainerInfo has none.
        self.known = False
        self.debug = False
        # Of a DEBUG container, once there is a plan: whose mount namespace it joins.
        self.parent: debug_container.Parent | None = None
        # Whom an agent with filesystem/linux names as being in the mount namespace that is to be joined.
        self.target = _target(agents_call)
        # What the agent has set up besides a mount namespace; None where there is nothing.
        self.setup: filesystem_linux.Setup | None = None
        # The runtime directory, for what is kept there of this container's mount namespace.
        self.directory: int | None = None
        self.isolators = common.Sorted()
        self.agents_directory = "/"
        self.needs_packaged: str | None = None
        self.warnings: list[str] = []
        self.request = request.LaunchRequest()

    @property
    def commands_where(self) -> str:
        """The isolators' commands as the agent names them."""
        return "--commands" if self.agents_call.of_0x else "ContainerLaunchInfo.pre_exec_commands"


def _target(agents_call: "call.Call") -> "int | None":
    """Whom the agent names as being in the mount namespace that is to be joined."""
    text = agents_call.get("namespace_mnt_target")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise ShimError(f"{agents_call.called('namespace_mnt_target')}: {text!r} is not a pid")
    return int(text)


def _container_ids(runtime: "str | None") -> "list[str]":
    """The ids in `<runtime_dir>/containers/<id>[/containers/<child>…]`, outermost first."""
    parts = paths.split(runtime or "")
    found: list[str] = []
    while len(parts) >= 2 and parts[-2] == "containers":
        found.insert(0, parts[-1])
        parts = parts[:-2]
    for item in found:
        request.check_id(item, "container id")
    return found


def read(agents_call: "call.Call", info: "dict[str, object]", config_path: str) -> Launch:
    """Everything that the agent says of this launch, checked."""
    config = configuration.read(config_path, required=False)
    runtime = agents_call.get("runtime_directory")
    work = Launch(config, agents_call, info, runtime)
    launch_request = work.request
    launch_request.config = config
    launch_request.isolation = config.isolation
    launch_request.on_unenforceable = config.on_unenforceable
    launch_request.by_agent = True
    launch_request.launcher = paths.join(paths.split(sys.argv[0])[:-2])
    directory = common.string(info.get("working_directory"), "ContainerLaunchInfo.working_directory")
    _find_held(work, directory)
    launch_request.groups = launch_info.groups(info)
    launch_request.executor_id, launch_request.framework_id = work.held.executor_id, work.held.framework_id
    # Only DEBUG containers are told whom to join; before 1.5 nothing else says that it is one.
    work.debug = work.held.container_class == checkpoint.DEBUG or work.target is not None
    # A DEBUG container works in its parent's sandbox; what the agent holds as its directory is for its output.
    launch_request.sandbox, launch_request.sandbox_named = directory, agents_call.names_directory
    if not work.debug and work.held.directory:
        launch_request.sandbox, launch_request.sandbox_named = work.held.directory, "ContainerConfig.directory"
    launch_request.user_named = "--user" if agents_call.by_arguments else "ContainerLaunchInfo.user"
    launch_request.user = common.string(info.get("user"), launch_request.user_named)
    # As launch.cpp does since 1.0: an agent that is the user already changes nothing.
    launch_request.keep_caller_groups = not agents_call.of_0x
    launch_request.container_id = ".".join(work.container_ids) or None
    launch_request.agent_ids = work.container_ids
    for flag in common.numbers(info.get("clone_namespaces"), "ContainerLaunchInfo.clone_namespaces"):
        launch_request.agent_namespaces |= flag
    _sort_commands(work)
    if not work.debug:
        _choose(work)
    if runtime is not None:
        work.directory = view_record.open_directory(runtime)
    work.needs_packaged = _needs_packaged(work)
    return work


def _find_held(work: Launch, directory: "str | None") -> None:
    """What the agent holds: since 1.5 in the runtime directory, before where the framework checkpoints."""
    message = None if work.runtime is None else checkpoint.read_message(work.runtime + "/config")
    if message is not None:
        work.held = checkpoint.container_config(message, f"{work.runtime}/config")
        work.known = True
        return
    parts = paths.split(directory or "")
    # <work_dir>/slaves/S/frameworks/F/executors/E/runs/R
    if len(parts) < 8 or parts[-8::2] != ["slaves", "frameworks", "executors", "runs"] or ".." in parts:
        return
    path = paths.join([*parts[:-8], "meta", *parts[-8:-2], "executor.info"])
    message = checkpoint.read_message(path)
    if message is not None:
        work.held = checkpoint.executor_info(message, path)
        work.known = True
    work.held.framework_id, work.held.executor_id = parts[-5], parts[-3]
    if not work.container_ids:
        request.check_id(parts[-1], "container id")
        work.container_ids = [parts[-1]]


def _sort_commands(work: Launch) -> None:
    where = work.commands_where
    items = common.objects(work.info.get("pre_exec_commands"), where)
    commands = [common.command(item, f"{where}[{index}]") for index, item in enumerate(items)]
    if not commands:
        return
    from . import isolator_commands  # most launches have none

    work.isolators = isolator_commands.sort(
        commands,
        work.held.container_info,
        work.known,
        None if work.debug else work.request.sandbox,
        where,
        work.request,
    )
    work.agents_directory = _agents_directory()


def _agents_directory() -> str:
    """Where the agent started us, and its isolators' commands are run, as in launch.cpp."""
    try:
        return posix.getcwd()
    except OSError:
        return "/"


def _choose(work: Launch) -> None:
    """Whose volumes this launch has: those that the agent has set up stay the agent's."""
    launch_request, info = work.request, work.held.container_info
    done = False
    if launch_request.agent_namespaces or any(work.info.get(name) for name in ("mounts", "file_operations")):
        from . import filesystem_linux  # most agents ask for nothing

        work.setup = filesystem_linux.Setup(work.info, launch_request.sandbox or "/", len(work.container_ids))
        done = info is not None and filesystem_linux.has_done_volumes(work.setup, launch_request, info)
        if done:
            filesystem_linux.leave_to_agent(launch_request)
    if not done:
        if info is not None and len(work.container_ids) > 1:
            from . import linked

            info = linked.without(info, launch_request.linked_paths)
        common.choose(launch_request, info, "ContainerInfo", () if work.agents_call.of_0x else _enforced(work.info))
    if not work.known:
        _take_agents_mounts(work)
    if work.setup is not None and (info is not None or launch_request.origin == request.FRAMEWORK):
        filesystem_linux.replace_plain(work.setup, launch_request)


def _enforced(info: "dict[str, object]") -> "tuple[str, ...]":
    """The fields of a ContainerInfo that others see to: an isolator of the agent's, by this launch info or without us.

    Whether the agent has one for the first three a launch info does not tell.
    """
    fields = ["hostname", "linux_info", "network_infos"]
    fields += ["rlimit_info"] if info.get("rlimits") else []
    fields += ["tty_info"] if info.get("tty_slave_path") else []
    return tuple(fields)


def _take_agents_mounts(work: Launch) -> None:
    """The volumes behind plain mounts alone, where the agent holds no ContainerInfo."""
    mounts = work.setup.mounts if work.setup is not None else []
    if not mounts and not work.isolators.binds:
        work.warnings.append(
            "the agent passes no ContainerInfo (before Mesos 1.5 it keeps one only if the framework checkpoints), so "
            "a framework's own volumes are not known here"
        )
        return
    if all(mount.is_plain_bind for mount in mounts):
        pairs = [(mount.source or "", mount.target) for mount in mounts] + work.isolators.binds
        from . import plain_mounts

        work.request.info = plain_mounts.as_mounted(pairs, paths.normal(work.request.sandbox or "/"))
        work.request.origin = request.FRAMEWORK


def _needs_packaged(work: Launch) -> "str | None":
    """The first field that we leave to the packaged helper, or None."""
    for name, value in work.info.items():
        # An empty message is a present one: effective_capabilities of {} takes them all away.
        if name not in _OURS and value not in (None, []):
            return name
    return "unshare_namespace_mnt" if work.agents_call.is_true("unshare_namespace_mnt") else None


def image_of(info: "dict[str, object]", held: checkpoint.Held) -> "str | None":
    """The field that names an image's root file system, so that the launch is the packaged helper's alone; or None.

    A command executor's root is the host's, but the agent prepares its task's image in the executor's own namespace.
    """
    if info.get("rootfs") is not None:
        return "ContainerLaunchInfo.rootfs"
    return "ContainerConfig.rootfs" if held.rootfs is not None else None


def private_directories(work: Launch) -> "list[str]":
    """What no framework's absolute source may reach: the agent's directories and our own."""
    from ..plan import sandbox

    found = [record.state_dir(work.config.state_dir)]
    if work.config.path is not None:
        found.append(paths.join(paths.split(work.config.path)[:-1]))
    if work.runtime is not None:
        parts = paths.split(work.runtime)
        found.append(paths.join(parts[: -2 * len(work.container_ids)]))
    if work.config.work_dir is not None:
        found.append(work.config.work_dir)
    work_dir = sandbox.work_dir_of(paths.normal(work.request.sandbox or "/"))
    if work_dir is not None:
        found.append(work_dir)
    return [path for path in found if path != "/"]
