"""An agent's call, of every release: wait for its byte, make the container's mount namespace, start the command.

Since 1.1 the agent reads a status file that only a parent can write, so we stay beside the command; before, we become
it. Sources: src/slave/containerizer/mesos/launch.cpp of 0.21.2, 0.28.3, 1.0.4, 1.1.3, 1.4.3, 1.11.0, and real agents.
"""

import _signal
import posix
import sys

from .. import errors
from ..containers import record
from ..errors import ShimError, reason
from ..launch import execute, order, planning, spawn, supervisor, wait
from ..launch.state import LaunchState
from ..spec import config as configuration
from ..spec import request
from ..system import paths, proc
from . import checkpoint, common, launch_info, untouched, view_record

if False:  # for the type checker alone
    from . import call, debug_container, filesystem_linux

_EXIT_FAILURE = 1
_CLONE_NEWNS = 0x20000

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
        "agents_directory",
        "config",
        "container_ids",
        "debug",
        "directory",
        "given",
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
        given: "call.Call",
        info: "dict[str, object]",
        runtime: "str | None",
    ) -> None:
        self.config = config
        self.given = given
        self.info = info
        self.runtime = runtime
        self.container_ids = _container_ids(runtime)
        self.held = checkpoint.Held()
        # Whether what is held is what the agent says: a framework without a ContainerInfo has none.
        self.known = False
        self.debug = False
        # Of a DEBUG container, once there is a plan: whose view it joins.
        self.parent: debug_container.Parent | None = None
        # Whom an agent with filesystem/linux names as being in the view that is to be joined.
        self.target = _target(given)
        # What the agent has set up besides a mount namespace; None where there is nothing.
        self.setup: filesystem_linux.Setup | None = None
        # The runtime directory, for what is kept there of this container's view.
        self.directory: int | None = None
        self.isolators = common.Sorted()
        self.agents_directory = "/"
        self.needs_packaged: str | None = None
        self.warnings: list[str] = []
        self.request = request.LaunchRequest()

    @property
    def commands_where(self) -> str:
        """The isolators' commands as the agent names them."""
        return "--commands" if self.given.of_0x else "ContainerLaunchInfo.pre_exec_commands"


def launch(given: "call.Call", config_path: str) -> int:
    """Launch for the agent that made the call `given`.

    Where it reads a status file: 0 once that says how the command ended, 1 if none was started. Else this process
    becomes the command, and comes back only with an error.
    """
    runtime = given.get("runtime_directory")
    if runtime is None:
        return _become(given, config_path)
    status = _open_status(runtime)
    wait_status, failed = _EXIT_FAILURE << 8, True
    try:
        signals = wait.hold_signals(wait.FORWARDED_FOR_AGENT)
        given.check()
        work = _read(given, given.launch_info(), config_path)
        _leave_untouched(work, signals)
        signals = _wait_for_agent(given.descriptor("pipe_read"), given.descriptor("pipe_write"), signals)
        if work.needs_packaged is not None:
            _hand_over(work, signals)
        wait_status, failed = _run(work, signals, status)
    except EarlySignal as early:
        wait_status = early.number
    finally:
        _write_status(status, wait_status)
    return _EXIT_FAILURE if failed else 0


def _become(given: "call.Call", config_path: str) -> int:
    """For an agent that waits for the command itself (before 1.1); comes back only with an error."""
    given.check()
    work = _read(given, given.launch_info(), config_path)
    _leave_untouched(work, None)
    reading = given.descriptor("pipe_read")
    common.close_agents_end(given.descriptor("pipe_write"))
    common.has_agents_byte(reading)
    if work.needs_packaged is not None:
        _hand_over(work, None)
    state, place = _plan(work)
    process = launch_info.Process(work.info, searches=False)
    if planning.needs_parent(work.request):
        signals = wait.hold_signals(wait.FORWARDED_FOR_AGENT)
        state.plan = state.plan.but(command=process.command.argv)
        child = supervisor.start(
            work.request,
            state,
            lambda: _become_command(work, state, place, process, signals),
            "mesos-containerizer",
            _EXIT_FAILURE,
        )
        wait.end_as(_wait(state, place, child, [], signals))
    _become_command(work, state, place, process, None)
    return _EXIT_FAILURE


def _leave_untouched(work: Launch, signals: "wait.Signals | None") -> None:
    """Hand an image's launch over before anything of it is taken."""
    image = untouched.reason_for(work.info, work.held)
    if image is not None:
        untouched.hand_over(work.config, work.request, work.given.arguments, signals, image)


def _wait_for_agent(reading: int, writing: int, signals: wait.Signals) -> wait.Signals:
    """Wait for the agent's byte, with the signals let through as long as that takes; returns how they were held.

    Whatever would be forwarded to the command calls the launch off as long as there is none, as in launch.cpp.
    """
    common.close_agents_end(writing)
    if not common.has_agents_byte(reading, wait=False):
        _catch_signals(signals)
        wait.release_signals(signals)
        common.has_agents_byte(reading)
        signals = wait.hold_signals(signals.forwarded)
    early = _signal.sigpending() & signals.forwarded
    if early:
        raise EarlySignal(min(early))
    return signals


class EarlySignal(Exception):  # noqa: N818 (no error: the agent's way of calling a launch off)
    """A signal that came before there was a command to forward it to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _target(given: "call.Call") -> "int | None":
    """Whom the agent names as being in the view that is to be joined."""
    text = given.get("namespace_mnt_target")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise ShimError(f"{given.called('namespace_mnt_target')}: {text!r} is no pid")
    return int(text)


def _raise_early(number: int, frame: object) -> None:
    raise EarlySignal(number)


def _catch_signals(signals: wait.Signals) -> None:
    """Have each of them call the launch off."""
    for number in signals.forwarded:
        _signal.signal(number, _raise_early)


def _let_signals_be(signals: wait.Signals) -> None:
    """Every signal's default again, but for those that CPython ignores until execute.restore_signals."""
    for number in signals.forwarded:
        ignored = number in (_signal.SIGPIPE, _signal.SIGXFSZ)
        _signal.signal(number, _signal.SIG_IGN if ignored else _signal.SIG_DFL)


def _open_status(runtime: str) -> int:
    """The status file, opened first of all: the agent reads there how the container ended, whatever happens."""
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
        return posix.open(runtime + "/status", flags, 0o600)
    except OSError as error:
        raise ShimError(f"{runtime}/status: {reason(error)}") from None


def _write_status(status: int, wait_status: int) -> None:
    """The raw wait status in decimal: one write, no newline (a 1.11 agent aborts over anything else)."""
    try:
        posix.write(status, b"%d" % wait_status)
    except OSError as error:
        errors.warn([f"status file: {reason(error)}: the agent will take the container as killed"])


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


def _read(given: "call.Call", info: "dict[str, object]", config_path: str) -> Launch:
    """Everything that the agent says of this launch, judged."""
    config = configuration.read(config_path, required=False)
    runtime = given.get("runtime_directory")
    work = Launch(config, given, info, runtime)
    asked = work.request
    asked.config = config
    asked.isolation = config.isolation
    asked.on_unenforceable = config.on_unenforceable
    asked.by_agent = True
    asked.launcher = paths.join(paths.split(sys.argv[0])[:-2])
    directory = common.string(info.get("working_directory"), "ContainerLaunchInfo.working_directory")
    _find_held(work, directory)
    asked.groups = launch_info.groups(info)
    asked.executor_id, asked.framework_id = work.held.executor_id, work.held.framework_id
    # Only DEBUG containers are told whom to join; before 1.5 nothing else says that it is one.
    work.debug = work.held.container_class == checkpoint.DEBUG or work.target is not None
    # A DEBUG container works in its parent's sandbox; what the agent holds as its directory is for its output.
    asked.sandbox, asked.sandbox_named = directory, given.names_directory
    if not work.debug and work.held.directory:
        asked.sandbox, asked.sandbox_named = work.held.directory, "ContainerConfig.directory"
    asked.user_named = "--user" if given.by_arguments else "ContainerLaunchInfo.user"
    asked.user = common.string(info.get("user"), asked.user_named)
    # As launch.cpp does since 1.0: an agent that is the user already changes nothing.
    asked.own_as_is = not given.of_0x
    asked.container_id = ".".join(work.container_ids) or None
    asked.agent_ids = work.container_ids
    for flag in common.numbers(info.get("clone_namespaces"), "ContainerLaunchInfo.clone_namespaces"):
        asked.agent_namespaces |= flag
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
    asked, info = work.request, work.held.container_info
    done = False
    if asked.agent_namespaces or any(work.info.get(name) for name in ("mounts", "file_operations")):
        from . import filesystem_linux  # most agents ask for nothing

        work.setup = filesystem_linux.Setup(work.info, asked.sandbox or "/", len(work.container_ids))
        done = info is not None and filesystem_linux.has_done_volumes(work.setup, asked, info)
        if done:
            filesystem_linux.leave_to_agent(asked)
    if not done:
        if info is not None and len(work.container_ids) > 1:
            info = common.without_linked(info, asked.linked_paths)
        common.choose(asked, info, "ContainerInfo", () if work.given.of_0x else _enforced(work.info))
    if not work.known:
        _take_as_given(work)
    if work.setup is not None and (info is not None or asked.origin == request.FRAMEWORK):
        filesystem_linux.replace_plain(work.setup, asked)


def _enforced(info: "dict[str, object]") -> "tuple[str, ...]":
    """The fields of a ContainerInfo that others see to: an isolator of the agent's, by this launch info or without us.

    Whether the agent has one for the first three a launch info does not tell.
    """
    fields = ["hostname", "linux_info", "network_infos"]
    fields += ["rlimit_info"] if info.get("rlimits") else []
    fields += ["tty_info"] if info.get("tty_slave_path") else []
    return tuple(fields)


def _take_as_given(work: Launch) -> None:
    """The volumes behind plain mounts alone, where the agent holds no ContainerInfo."""
    mounts = work.setup.mounts if work.setup is not None else []
    if not mounts and not work.isolators.binds:
        work.warnings.append(
            "the agent tells no ContainerInfo (Mesos before 1.5 keeps one only where the framework checkpoints): "
            "a framework's own volumes are not known here"
        )
        return
    if all(mount.is_plain_bind for mount in mounts):
        pairs = [(mount.source or "", mount.target) for mount in mounts] + work.isolators.binds
        work.request.info = common.as_given(pairs, paths.normal(work.request.sandbox or "/"))
        work.request.origin = request.FRAMEWORK


def _needs_packaged(work: Launch) -> "str | None":
    """The first field that we leave to the packaged helper, or None."""
    for name, value in work.info.items():
        # An empty message is a present one: effective_capabilities of {} takes them all away.
        if name not in _OURS and value not in (None, []):
            return name
    return "unshare_namespace_mnt" if work.given.is_true("unshare_namespace_mnt") else None


def _hand_over(work: Launch, signals: "wait.Signals | None") -> None:
    """Attach our volumes, take their entries out of the launch info, and become the packaged helper."""
    from . import packaged

    what = f"ContainerLaunchInfo.{work.needs_packaged}"
    program = packaged.open_packaged(work.config, what)
    untouched.check_no_parent(work.request, what)
    state, place = _plan(work)
    common.check_view_for_root(state.plan, what)
    # The helper makes the namespaces that the agent names.
    state.plan = state.plan.but(apart=state.plan.before is not None)
    if signals is not None:
        _let_signals_be(signals)
    if work.parent is not None and work.target is not None:
        from . import debug_container

        # It joins the view itself, from outside of it: in an image's it would not be found.
        debug_container.check(work.parent)
        work.given.values["namespace_mnt_target"] = str(work.parent.pid)
    else:
        _enter(work, state)
    order.settle(work.request, state, place)
    errors.warn(state.warnings)
    try:
        _become_packaged(work, state, signals, program)
    except BaseException:
        order.give_up(state)
        raise


def _become_packaged(work: Launch, state: LaunchState, signals: "wait.Signals | None", program: int) -> None:
    from . import packaged

    info = {name: value for name, value in work.info.items() if name not in ("mounts", "file_operations")}
    if (
        state.plan.own_view and "clone_namespaces" in info
    ):  # else it would make mounts slaves that are shared with the host
        flags = common.numbers(info["clone_namespaces"], "ContainerLaunchInfo.clone_namespaces")
        info["clone_namespaces"] = [flag for flag in flags if flag != _CLONE_NEWNS]
    if "pre_exec_commands" in info:
        items = common.objects(info["pre_exec_commands"], work.commands_where)
        info["pre_exec_commands"] = [items[index] for index in work.isolators.kept]
    try:
        if info.get("working_directory") is None and not work.given.by_arguments:
            info["working_directory"] = posix.getcwd()
        # Root's program does not start in a user's directory: an empty element of LD_LIBRARY_PATH would name that.
        if info.get("working_directory") is not None:
            posix.chdir("/")
    except OSError as error:
        raise ShimError(f"leaving the sandbox for the packaged helper: {reason(error)}") from None
    # It waits for the agent's byte, which we have read: a pipe of our own holds another.
    reading, writing = posix.pipe()
    posix.write(writing, b"\0")
    for fd in (reading, writing):
        posix.set_inheritable(fd, True)
    arguments = work.given.again(info, reading, writing)
    if signals is not None:
        wait.release_signals(signals)
    if state.plan.user.switch:
        execute.leave_session_keyring()
    packaged.drop_inheritable()
    if state.plan.no_new_privs is not None:
        order.set_no_new_privs()
    packaged.become(work.config, program, arguments)


def _plan(work: Launch) -> "tuple[LaunchState, record.Place | None]":
    """The plan, and where its record goes."""
    asked = work.request
    if work.debug:
        asked.info = None
        asked.isolation = ()
    if work.setup is not None:
        from . import filesystem_linux

        asked.agents_paths = filesystem_linux.covered(work.setup)
    plan = planning.make_plan(asked, [] if work.debug else private_directories(work))
    if work.setup is not None:
        plan = filesystem_linux.prepare(work.setup, plan)
    if work.debug:
        from . import debug_container

        records = record.state_dir(work.config.state_dir)
        work.parent = debug_container.find(work.container_ids, work.runtime or "", records, work.target)
        plan = debug_container.inherit(work.parent, plan)
    if work.isolators.mounts and not work.debug:
        plan = plan.but(apart=True)  # what an isolator mounts, 0.21's agent would have had on the host as well
    state = LaunchState(plan)
    state.warnings.extend(work.warnings)
    return state, order.open_record(asked, state)


def _enter(work: Launch, state: LaunchState) -> None:
    """This process in the container's view of the file system, and in its sandbox."""
    if work.parent is not None or work.setup is not None:
        # The view's /proc may be one of a pid namespace.
        state.first = proc.first()
        state.pid_namespace = proc.pid_namespace(state.first["pid"])
    stays = "pid" not in state.plan.namespaces and work.parent is None
    helper = (state.supervisor["pid"], state.supervisor["start_time"]) if state.supervisor else view_record.myself()
    anchor = helper if stays else view_record.myself()
    if work.parent is not None:
        from . import debug_container

        debug_container.enter(work.parent)
    else:
        order.prepare(work.request, state)
    if work.directory is not None:
        covered = bool(state.plan.mounts) or state.plan.before is not None or work.parent is not None
        view_record.write(work.directory, state.plan, helper, anchor, covered)


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


def _run(work: Launch, signals: wait.Signals, status: int) -> "tuple[int, bool]":
    """Start the command and wait for it: its raw wait status, and whether it failed before it was the command.

    The descriptor `status` stays open.
    """
    state, place = _plan(work)
    if work.parent is not None:
        from . import debug_container

        debug_container.enter(work.parent, debug_container.IN_PARENT)
    elif state.plan.own_view and "pid" not in state.plan.namespaces:
        _leave_host(work, state)
    process = launch_info.Process(work.info)
    if process.terminal:
        launch_info.take_terminal()
    child = _start(work, state, place, process, signals)
    return _wait(state, place, child, [status], signals), child.failed


def _leave_host(work: Launch, state: LaunchState) -> None:
    """The helper in the view as well, as Mesos' own is: an agent takes its helper for where the container is."""
    from ..launch import namespaces

    try:
        namespaces.leave_host(state)
    except namespaces.Unenforceable as error:
        order.without_view(work.request, state, str(error))


def _wait(
    state: LaunchState,
    place: "record.Place | None",
    child: wait.Child,
    keep: "list[int]",
    signals: wait.Signals,
) -> int:
    """Stay beside the command until it ends: its raw wait status. The descriptors `keep` stay open."""
    supervisor.keep_only(state, child, place, keep)
    wait_status = wait.wait(child, forwarded=signals.forwarded)
    supervisor.clear_away(state, child, place)
    return wait_status


def _start(
    work: Launch,
    state: LaunchState,
    place: "record.Place | None",
    process: launch_info.Process,
    signals: wait.Signals,
) -> wait.Child:
    state.plan = state.plan.but(command=process.command.argv)

    def enter_all() -> None:
        _enter_view(work, state, process)
        _enter_directory(work, state, process)

    # What runs first as root, limits and another container's namespaces are the child's alone. Where the program is
    # depends on the view.
    if (
        not work.isolators.steps
        and not process.limits
        and not work.debug
        and not process.searches
        and spawn.possible(state, signals)
    ):
        return spawn.start(work.request, state, place, signals, enter_all, process.variables, process.command.path)
    return supervisor.start(
        work.request,
        state,
        lambda: _become_command(work, state, place, process, signals),
        "mesos-containerizer",
        _EXIT_FAILURE,
    )


def _become_command(
    work: Launch,
    state: LaunchState,
    place: "record.Place | None",
    process: launch_info.Process,
    signals: "wait.Signals | None",
) -> None:
    """All that is left of the launch, in the process that becomes the command; `signals` as they were held."""
    state.plan = state.plan.but(command=process.command.argv)
    if signals is not None:
        _let_signals_be(signals)
    _enter_view(work, state, process)
    order.settle(work.request, state, place)
    common.run_as_root(work.isolators.steps, state.plan, work.commands_where, work.agents_directory)
    _enter_directory(work, state, process)
    process.set_limits()
    if signals is not None:
        wait.release_signals(signals)
    order.finish(work.request, state, process.variables, process.executable())


def _enter_view(work: Launch, state: LaunchState, process: launch_info.Process) -> None:
    _enter(work, state)
    if process.no_new_privileges:
        state.plan = state.plan.but(no_new_privs="the agent says so")


def _enter_directory(work: Launch, state: LaunchState, process: launch_info.Process) -> None:
    directory = process.directory
    if directory is not None and (work.debug or paths.normal(directory) != state.plan.sandbox.path):
        common.change_directory(directory, nested=len(work.container_ids) > 1)
