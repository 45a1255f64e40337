"""The launch protocol of Mesos 0.21: everything in arguments, no parent: we become the command.

Source: src/slave/containerizer/mesos/launch.cpp of 0.21.2. The environment is the framework's (threats 15): nothing
in it steers us.
"""

import posix

from .. import config as configuration
from .. import execute, paths, plan, record, request
from .. import launch as launch_module
from ..errors import ShimError
from . import held, setup

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

_BIND = "mount -n --bind "
KNOWN = ("--command", "--commands", "--directory", "--user", "--pipe_read", "--pipe_write", "--rootfs")
# A path that means the same to us as to the shell which 0.21 would hand it to.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,=")


def launch_arguments(arguments: "list[str]") -> "dict[str, str]":
    """The `--name=value` arguments of 0.21's helper."""
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in KNOWN or not equals:
            raise ShimError(f"launch: {argument!r} is not an argument of 0.21's protocol")
        if name in given:
            raise ShimError(f"launch: {name} is given twice")
        given[name] = value
    for name in ("--command", "--pipe_read", "--pipe_write"):
        if name not in given:
            raise ShimError(f"launch: {name} is missing, and so is MESOS_CONTAINERIZER_LAUNCH_INFO of 1.x")
    if given.get("--rootfs"):
        raise ShimError("launch: --rootfs: an image's root file system; filesystem/shared has the host's only")
    return given


def launch(arguments: "list[str]", config_path: str) -> int:
    """Launch as the arguments say; comes back only with an error."""
    given = launch_arguments(arguments)
    reading, writing = _number(given, "--pipe_read"), _number(given, "--pipe_write")
    setup.close_agents_end(writing)
    setup.has_agents_byte(reading)
    asked = request.LaunchRequest()
    asked.config = configuration.read(config_path, required=False)
    asked.isolation = asked.config.isolation
    asked.on_unenforceable = asked.config.on_unenforceable
    asked.sandbox, asked.sandbox_named = given.get("--directory") or None, "--directory"
    asked.user = given.get("--user") or None
    command = setup.command(
        setup.parse_json(given["--command"].encode("utf-8", "surrogateescape"), "--command"), "--command"
    )
    others = _choose(asked, _commands(given))
    made = launch_module.make_plan(asked, _private(asked))
    place = launch_module.open_record(asked, made)

    def become(settled: "Callable[[], None]") -> None:
        launch_module.prepare(asked, made)
        launch_module.settle(asked, made, place)
        settled()
        variables = execute.environment()
        setup.run_as_root(others, made, "--commands")
        made.command = command.argv
        launch_module.finish(asked, made, variables, command.path)

    if launch_module.needs_parent(asked):
        _beside(asked, made, place, become)
    become(lambda: None)
    return 1  # finish does not return


def _beside(
    asked: request.LaunchRequest,
    made: plan.Plan,
    place: "record.Place | None",
    become: "Callable[[Callable[[], None]], None]",
) -> None:
    """For an isolator that needs a parent: launch in a child, and end as it ended, which is what the agent sees."""
    from .. import supervise

    signals = supervise.hold_signals()
    release = lambda: supervise.release_signals(signals)  # noqa: E731
    child = supervise.start(asked, made, lambda: become(release), "mesos-containerizer", 1)
    execute.close_others([fd for fd in (place.fd if place is not None else None, child.relay) if fd is not None])
    status = supervise.wait(child)
    supervise.clear_away(made, child, place)
    supervise.end_as(status)


def _number(given: "dict[str, str]", name: str) -> int:
    if not (given[name].isascii() and given[name].isdigit() and len(given[name]) < 8):
        raise ShimError(f"launch: {name}: {given[name]!r} is not a file descriptor")
    return int(given[name])


def _commands(given: "dict[str, str]") -> "list[setup.Command]":
    text = given.get("--commands")
    if not text:
        return []
    value = setup.parse_json(text.encode("utf-8", "surrogateescape"), "--commands")
    items = setup.objects(value.get("commands"), "--commands.commands")
    return [setup.command(item, f"--commands.commands[{index}]") for index, item in enumerate(items)]


def _choose(asked: request.LaunchRequest, commands: "list[setup.Command]") -> "list[setup.Command]":
    """Set the request's ContainerInfo; returns the isolators' commands that are not filesystem/shared's.

    Those are never handed to a shell: where the ContainerInfo is known it takes their place; where it is not, what is
    unmistakably a bind mount between two existing paths is done natively, and anything else is refused.
    """
    binds = [item for item in commands if item.argv[-1].startswith(_BIND)]
    others = [item for item in commands if item not in binds]
    found = _checkpointed(asked)
    if found is None and binds:
        pairs = [pair for item in binds for pair in _pairs(item.argv[-1])]
        asked.info = setup.as_given(pairs, paths.normal(asked.sandbox or "/"))
        asked.origin = request.FRAMEWORK
    else:
        setup.choose(asked, found, "ContainerInfo")
    return others


def _checkpointed(asked: request.LaunchRequest) -> "dict[str, object] | None":
    """The ContainerInfo in the agent's checkpoint, None where the framework does not checkpoint or there is none."""
    parts = paths.split(asked.sandbox or "")
    # <work_dir>/slaves/S/frameworks/F/executors/E/runs/R
    if parts[-8::2] != ["slaves", "frameworks", "executors", "runs"] or len(parts) < 8:
        return None
    path = paths.join([*parts[:-8], "meta", *parts[-8:-2], "executor.info"])
    if all(part != ".." for part in parts):
        asked.framework_id, asked.executor_id = parts[-5], parts[-3]
        asked.container_id = parts[-1]
        asked.agent_ids = [parts[-1]]
        request.check_id(parts[-1], "container id")
    message = held.read_message(path)
    return None if message is None else held.executor_info(message, path).container_info


def _pairs(text: str) -> "list[tuple[str, str]]":
    result = []
    for part in text.split(" && "):
        words = part.split(" ")
        if len(words) != 5 or not part.startswith(_BIND) or not all(_PLAIN.issuperset(word) for word in words[3:]):
            raise ShimError(f"--commands: {part!r} is not plainly 'mount -n --bind SOURCE TARGET'; it is not run")
        for path in words[3:]:
            if not _exists(path):
                raise ShimError(f"--commands: {part!r}: {path!r} does not exist")
        result.append((words[3], words[4]))
    return result


def _exists(path: str) -> bool:
    try:
        posix.lstat(path)
    except OSError:
        return False
    return path.startswith("/")


def _private(asked: request.LaunchRequest) -> "list[str]":
    from .. import facts

    found = [record.state_dir(asked.config.state_dir)]
    for path in (asked.config.work_dir, facts.work_dir_of(paths.normal(asked.sandbox or "/"))):
        if path is not None:
            found.append(path)
    return found
