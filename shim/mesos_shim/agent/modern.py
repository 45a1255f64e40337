"""The launch protocol of Mesos 1.x: everything in the environment, a status file, a parent that waits.

Sources: src/slave/containerizer/mesos/launch.cpp and launcher.cpp of 1.11.0, and a real agent.
"""

import _signal
import posix

from .. import beside, execute, jsontext, paths, plan, record, request, supervise
from .. import config as configuration
from .. import launch as launch_module
from ..errors import ShimError, reason
from . import held, packaged, setup

if False:  # for the type checker alone: only a DEBUG container joins
    from . import join

_PREFIX = b"MESOS_CONTAINERIZER_"
_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # stout, os::host_default_path
_EXIT_FAILURE = 1
_MS_BIND = 0x1000
_MS_REC = 0x4000

# What we do ourselves, and what the agent has done by the time it starts us.
_OURS = {
    "command",
    "environment",
    "task_environment",
    "user",
    "working_directory",
    "mounts",
    "pre_exec_commands",
    "supplementary_groups",
    "task_supplementary_groups",
    "rlimits",
    "no_new_privileges",
    "clone_namespaces",
    "enter_namespaces",
}


class Launch:
    """One launch as the agent described it."""

    __slots__ = (
        "config",
        "container_ids",
        "debug",
        "held",
        "info",
        "mounts",
        "needs_packaged",
        "parent",
        "request",
        "runtime",
    )

    def __init__(self, config: configuration.Config, info: "dict[str, object]", runtime: "str | None") -> None:
        self.config = config
        self.info = info
        self.runtime = runtime
        self.container_ids = _container_ids(runtime)
        self.held = held.Held()
        self.debug = False
        # Of a DEBUG container, once there is a plan: whose view it joins.
        self.parent: join.Parent | None = None
        self.mounts: list[dict[str, object]] = []
        self.needs_packaged: str | None = None
        self.request = request.LaunchRequest()


def launch(arguments: "list[str]", config_path: str) -> int:
    """Launch as the agent's environment says; 0 once the status file says how the command ended, 1 if none started."""
    runtime = _variable(b"RUNTIME_DIRECTORY")
    status = _open_status(runtime)
    wait_status, failed = _EXIT_FAILURE << 8, True
    try:
        signals = supervise.hold_signals()
        _check_call(arguments)
        signals = _wait_for_agent(_descriptor(b"PIPE_READ"), _descriptor(b"PIPE_WRITE"), signals)
        work = _read(config_path, runtime)
        if work.needs_packaged is not None:
            _hand_over(work, signals)
        wait_status, failed = _run(work, signals, status)
    except EarlySignal as early:
        wait_status = early.number
    finally:
        _write_status(status, wait_status)
    return _EXIT_FAILURE if failed else 0


def _wait_for_agent(reading: int, writing: int, signals: supervise.Signals) -> supervise.Signals:
    """Wait for the agent's byte, with the signals let through as long as that takes; returns how they were held.

    Whatever would be forwarded to the command calls the launch off as long as there is none, as in launch.cpp.
    """
    setup.close_agents_end(writing)
    if not setup.has_agents_byte(reading, wait=False):
        _catch_signals()
        supervise.release_signals(signals)
        setup.has_agents_byte(reading)
        signals = supervise.hold_signals()
    early = _signal.sigpending() & supervise.FORWARDED
    if early:
        raise EarlySignal(min(early))
    return signals


def _check_call(arguments: "list[str]") -> None:
    """Refuse what no agent calls: an argument, or a variable that is missing."""
    if arguments:
        raise ShimError(f"launch: {arguments[0]!r}: takes no argument in 1.x's protocol")
    for name in (b"LAUNCH_INFO", b"PIPE_READ", b"PIPE_WRITE"):
        if _PREFIX + name not in posix.environ:
            raise ShimError(f"{(_PREFIX + name).decode()}: missing in the environment")


class EarlySignal(Exception):  # noqa: N818 (no error: the agent's way of calling a launch off)
    """A signal that came before there was a command to forward it to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _raise_early(number: int, frame: object) -> None:
    raise EarlySignal(number)


def _catch_signals() -> None:
    """Have each of them call the launch off."""
    for number in supervise.FORWARDED:
        _signal.signal(number, _raise_early)


def _let_signals_be() -> None:
    """Every signal's default again, but for those that CPython ignores until execute.restore_signals."""
    for number in supervise.FORWARDED:
        ignored = number in (_signal.SIGPIPE, _signal.SIGXFSZ)
        _signal.signal(number, _signal.SIG_IGN if ignored else _signal.SIG_DFL)


def _variable(name: bytes) -> "str | None":
    value = posix.environ.get(_PREFIX + name)
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _descriptor(name: bytes) -> int:
    text = _variable(name)
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 7:
        raise ShimError(f"{(_PREFIX + name).decode()}: {text!r} is not a file descriptor")
    return int(text)


def _open_status(runtime: "str | None") -> "int | None":
    """The status file, opened first of all: the agent reads there how the container ended, whatever happens."""
    if runtime is None:
        return None
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
        return posix.open(runtime + "/status", flags, 0o600)
    except OSError as error:
        raise ShimError(f"{runtime}/status: {reason(error)}") from None


def _write_status(status: "int | None", wait_status: int) -> None:
    """The raw wait status in decimal: one write, no newline (a 1.11 agent aborts over anything else)."""
    if status is None:
        return
    try:
        posix.write(status, b"%d" % wait_status)
    except OSError as error:
        launch_module.warn([f"status file: {reason(error)}: the agent will take the container as killed"])


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


def _read(config_path: str, runtime: "str | None") -> Launch:
    """Everything that the agent says of this launch, judged."""
    config = configuration.read(config_path, required=False)
    info = setup.parse_json(posix.environ[_PREFIX + b"LAUNCH_INFO"], "ContainerLaunchInfo")
    work = Launch(config, info, runtime)
    if info.get("rootfs") is not None:
        raise ShimError(
            "ContainerLaunchInfo.rootfs: an image's root file system; filesystem/shared has the host's only"
        )
    asked = work.request
    asked.config = config
    asked.isolation = config.isolation
    asked.on_unenforceable = config.on_unenforceable
    directory = setup.string(info.get("working_directory"), "ContainerLaunchInfo.working_directory")
    message = None if runtime is None else held.read_message(runtime + "/config")
    if message is not None:
        work.held = held.container_config(message, f"{runtime}/config")
    asked.groups = _groups(info)
    asked.executor_id, asked.framework_id = work.held.executor_id, work.held.framework_id
    work.debug = work.held.container_class == held.DEBUG
    # A DEBUG container works in its parent's sandbox; what the agent holds as its directory is for its output.
    asked.sandbox, asked.sandbox_named = directory, "ContainerLaunchInfo.working_directory"
    if not work.debug and work.held.directory:
        asked.sandbox, asked.sandbox_named = work.held.directory, "ContainerConfig.directory"
    asked.user_named = "ContainerLaunchInfo.user"
    # As launch.cpp does: an agent that is the user already changes nothing.
    asked.own_as_is = not asked.groups
    asked.container_id = ".".join(work.container_ids) or None
    asked.agent_ids = work.container_ids
    for flag in setup.numbers(info.get("clone_namespaces"), "ContainerLaunchInfo.clone_namespaces"):
        asked.agent_namespaces |= flag
    work.mounts = setup.objects(info.get("mounts"), "ContainerLaunchInfo.mounts")
    if not work.debug:
        _choose(work, message is not None)
    work.needs_packaged = _needs_packaged(work)
    return work


def _choose(work: Launch, config_found: bool) -> None:
    setup.choose(work.request, work.held.container_info, "ContainerInfo")
    if not config_found and work.mounts:
        pairs = [_plain_bind(mount) for mount in work.mounts]
        found = [pair for pair in pairs if pair is not None]
        if len(found) == len(pairs):
            work.request.info = setup.as_given(found, paths.normal(work.request.sandbox or "/"))
            work.request.origin = request.FRAMEWORK
    work.mounts = _of_others(work)


def _of_others(work: Launch) -> "list[dict[str, object]]":
    """The launch info's mounts without those that its filesystem/shared asks for, plainly: our volumes replace them.

    Another isolator's mount on the target of a volume is refused: one of the two would be lost in silence.
    """
    volumes = work.request.info.volumes if work.request.info is not None else []
    by_target = {volume.container_path: volume for volume in volumes}
    others = []
    for mount in work.mounts:
        volume = by_target.get(paths.normal(str(mount.get("target"))))
        if volume is None:
            others.append(mount)
            continue
        sandbox = (work.request.sandbox or "") + "/" if volume.relative else ""
        pair = _plain_bind(mount)
        if pair is None or paths.normal(pair[0]) != paths.normal(sandbox + volume.host_path):
            raise ShimError(
                f"ContainerLaunchInfo.mounts: {mount.get('source')!r} on {volume.container_path!r}: "
                f"{volume.place} is mounted there already; take one of them away"
            )
    return others


def _plain_bind(mount: "dict[str, object]") -> "tuple[str, str] | None":
    """Source and target of what is a bind mount and nothing more, or None."""
    source, target = mount.get("source"), mount.get("target")
    if set(mount) == {"flags", "source", "target"} and mount["flags"] in (_MS_BIND, _MS_BIND | _MS_REC):
        return str(source), str(target)
    return None


def _needs_packaged(work: Launch) -> "str | None":
    """The first field that we leave to the packaged helper, or None."""
    for name, value in work.info.items():
        # An empty message is a present one: effective_capabilities of {} takes them all away.
        if name not in _OURS and value not in (None, []):
            return name
    if work.mounts:
        return "mounts"
    if _variable(b"NAMESPACE_MNT_TARGET"):
        return "namespace_mnt_target"
    return "unshare_namespace_mnt" if _variable(b"UNSHARE_NAMESPACE_MNT") in ("true", "1") else None


def _hand_over(work: Launch, signals: supervise.Signals) -> None:
    """Attach our volumes, take their entries out of the launch info, and become the packaged helper."""
    what = f"ContainerLaunchInfo.{work.needs_packaged}"
    if work.config.packaged_helper is None:
        packaged.exec_packaged(work.config, ["launch"], what)
    if launch_module.needs_parent(work.request):
        names = ", ".join(work.request.isolation)
        raise ShimError(
            f"{what}: the packaged helper does it, and leaves no parent of ours for {names}: "
            "take cgroups and namespaces/pid out of our isolation and give them to the agent's"
        )
    work.request.user = setup.string(work.info.get("user"), "ContainerLaunchInfo.user")
    made, place = _plan(work)
    setup.check_view_for_root(made, what)
    made.apart = False  # nothing is recorded of it, and the helper makes the namespaces that the agent names
    _let_signals_be()
    _enter(work, made)
    launch_module.settle(work.request, made, place)  # a DEBUG container that joins this view asks what it was judged
    launch_module.warn(made.warnings)
    try:
        _become_packaged(work, made, signals, what)
    except BaseException:
        launch_module.give_up(made)
        raise


def _become_packaged(work: Launch, made: plan.Plan, signals: supervise.Signals, what: str) -> None:
    info = dict(work.info)
    info["mounts"] = work.mounts
    variables = posix.environ
    variables[_PREFIX + b"LAUNCH_INFO"] = setup.dump(info)
    # It waits for the agent's byte, which we have read: a pipe of our own holds another.
    reading, writing = posix.pipe()
    posix.write(writing, b"\0")
    for name, fd in ((b"PIPE_READ", reading), (b"PIPE_WRITE", writing)):
        posix.set_inheritable(fd, True)
        variables[_PREFIX + name] = b"%d" % fd
    supervise.release_signals(signals)
    if made.no_new_privs is not None:
        launch_module.set_no_new_privs()
    packaged.exec_packaged(work.config, ["launch"], what)


def _plan(work: Launch) -> "tuple[plan.Plan, record.Place | None]":
    """The plan, and where its record goes."""
    asked = work.request
    if work.debug:
        asked.info = None
        asked.isolation = ()
    made = launch_module.make_plan(asked, [] if work.debug else private_directories(work))
    if work.debug:
        from . import join

        work.parent = join.find(work.container_ids, work.runtime or "", record.state_dir(work.config.state_dir))
        join.inherit(work.parent, made)
    return made, launch_module.open_record(asked, made)


def _enter(work: Launch, made: plan.Plan) -> None:
    """This process in the container's view of the file system, and in its sandbox."""
    if work.parent is not None:
        from . import join

        made.first = record.first()  # its parent's /proc may be one of a pid namespace
        join.enter(work.parent)
    else:
        launch_module.prepare(work.request, made)


def private_directories(work: Launch) -> "list[str]":
    """What no framework's absolute source may reach: the agent's directories and our own."""
    from .. import facts

    found = [record.state_dir(work.config.state_dir)]
    if work.config.path is not None:
        found.append(paths.join(paths.split(work.config.path)[:-1]))
    if work.runtime is not None:
        parts = paths.split(work.runtime)
        found.append(paths.join(parts[: -2 * len(work.container_ids)]))
    if work.config.work_dir is not None:
        found.append(work.config.work_dir)
    work_dir = facts.work_dir_of(paths.normal(work.request.sandbox or "/"))
    if work_dir is not None:
        found.append(work_dir)
    return [path for path in found if path != "/"]


def _run(work: Launch, signals: supervise.Signals, status: "int | None") -> "tuple[int, bool]":
    """Start the command, wait for it; its raw wait status, and whether it never started. `status` stays open."""
    work.request.user = setup.string(work.info.get("user"), "ContainerLaunchInfo.user")
    made, place = _plan(work)
    if work.parent is not None:
        from . import join

        join.enter(work.parent, join.IN_PARENT)
    child = _start(work, made, place, signals)
    kept = [status, place.fd if place is not None else None, child.relay]
    execute.close_others([fd for fd in kept if fd is not None])
    wait_status = supervise.wait(child)
    supervise.clear_away(made, child, place)
    return wait_status, child.failed


def _start(work: Launch, made: plan.Plan, place: "record.Place | None", signals: supervise.Signals) -> supervise.Child:
    info = work.info
    command = setup.command(info.get("command"), "ContainerLaunchInfo.command")
    made.command = command.argv
    pre_exec = [
        setup.command(item, f"ContainerLaunchInfo.pre_exec_commands[{index}]")
        for index, item in enumerate(
            setup.objects(info.get("pre_exec_commands"), "ContainerLaunchInfo.pre_exec_commands")
        )
    ]
    variables = _environment(info)
    no_new_privileges = setup.boolean(info.get("no_new_privileges"), "ContainerLaunchInfo.no_new_privileges")
    limits = _limits(info)

    def enter() -> None:
        _enter(work, made)
        if no_new_privileges:
            made.no_new_privs = "the agent says so"

    def enter_directory() -> None:
        directory = setup.string(info.get("working_directory"), "ContainerLaunchInfo.working_directory")
        if directory is not None and (work.debug or paths.normal(directory) != made.sandbox.path):
            setup.change_directory(directory)

    def become() -> None:
        _let_signals_be()
        enter()
        launch_module.settle(work.request, made, place)
        setup.run_as_root(pre_exec, made, "ContainerLaunchInfo.pre_exec_commands")
        enter_directory()
        for name, number, soft, hard in limits:
            setup.set_limit(name, number, soft, hard)
        supervise.release_signals(signals)
        launch_module.finish(work.request, made, variables, command.path)

    def enter_all() -> None:
        enter()
        enter_directory()

    # What runs first as root, limits and another container's namespaces are the child's alone.
    if not pre_exec and not limits and not work.debug and beside.possible(made, signals):
        return beside.start(work.request, made, place, signals, enter_all, variables, command.path)
    return supervise.start(work.request, made, become, "mesos-containerizer", _EXIT_FAILURE)


def _environment(info: "dict[str, object]") -> "dict[bytes, bytes]":
    """The task's variables: those of the launch info alone; without any, what we were given."""
    outer = info.get("environment")
    if outer is None:
        return execute.environment()
    if not isinstance(outer, dict):
        raise ShimError("ContainerLaunchInfo.environment: not an object")
    result: dict[bytes, bytes] = {}
    for item in setup.objects(outer.get("variables"), "ContainerLaunchInfo.environment.variables"):
        name = setup.string(item.get("name"), "ContainerLaunchInfo.environment: name")
        value = setup.string(item.get("value"), f"ContainerLaunchInfo.environment: {name}")
        if item.get("type", "VALUE") != "VALUE" or name is None or value is None:
            raise ShimError(f"ContainerLaunchInfo.environment: {name}: only variables with a plain value are passed on")
        if not name or "=" in name or "\0" in name + value:
            raise ShimError(
                f"ContainerLaunchInfo.environment: {name!r} is not a variable's name, or its value has a NUL"
            )
        result[name.encode("utf-8")] = value.encode("utf-8")
    result.setdefault(b"PATH", _DEFAULT_PATH)
    return result


def _groups(info: "dict[str, object]") -> "list[int]":
    groups: list[int] = []
    for name in ("supplementary_groups", "task_supplementary_groups"):
        value = info.get(name) or []
        if not isinstance(value, list) or not all(type(gid) is int and 0 <= gid < 2**32 - 1 for gid in value):
            raise ShimError(f"ContainerLaunchInfo.{name}: not a list of group ids")
        groups.extend(value)
    return groups


def _limits(info: "dict[str, object]") -> "list[tuple[str, int, int, int]]":
    """RLimitInfo as (name, resource, soft, hard); without values a limit is unlimited."""
    outer = info.get("rlimits")
    if outer is None:
        return []
    if not isinstance(outer, dict):
        raise ShimError("ContainerLaunchInfo.rlimits: not an object")
    import resource

    result = []
    for item in setup.objects(outer.get("rlimits"), "ContainerLaunchInfo.rlimits.rlimits"):
        kind = str(item.get("type"))
        where = f"ContainerLaunchInfo.rlimits: {kind}"
        number = getattr(resource, "RLIMIT_" + kind.replace("RLMT_", "", 1), None)
        if number is None:
            raise ShimError(f"{where}: no such limit on this host")
        if (item.get("soft") is None) != (item.get("hard") is None):
            raise ShimError(f"{where}: soft and hard go together; give both, or neither for unlimited")
        soft, hard = (_limit(item.get(side), resource.RLIM_INFINITY, f"{where}.{side}") for side in ("soft", "hard"))
        result.append((kind, int(number), soft, hard))
    return result


def _limit(value: object, infinity: int, where: str) -> int:
    """One uint64, which protobuf's JSON may write as a string; from the largest int64 on it is no limit at all."""
    if value is None:
        return infinity
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= jsontext.MAX_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ShimError(f"{where}: {value!r} is not a number")
    # RLIM_INFINITY is ~0 to the kernel; Python's resource module takes no more than a signed 64 bit number.
    return infinity if value >= (1 << 63) - 1 else value
