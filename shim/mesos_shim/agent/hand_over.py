"""Hands a launch over to the packaged helper, in the container's mount namespace: what it does better than we."""

import posix

from ..errors import ShimError, reason
from ..launch import order, wait
from ..launch.order import Step
from ..launch.state import LaunchState
from ..system import strict_json
from . import call, common, inside, packaged, view
from .reading import Launch

if False:  # for the type checker alone
    from typing import Iterator

_CLONE_NEWNS = 0x20000


def hand_over(work: Launch, signals: "wait.Signals | None") -> None:
    """Attach our volumes, take their entries out of the launch info, and become the packaged helper."""
    what = f"ContainerLaunchInfo.{work.needs_packaged}"
    program = packaged.open_packaged(work.config, what)
    packaged.check_no_parent(work.request, what)
    state = view.prepare(work)
    inside.check_view_for_root(state.plan, what)
    # The helper makes the namespaces that the agent names.
    state.plan = state.plan.but(private_mount_namespace=state.plan.before is not None)
    state.signals = signals
    order.become(state, steps(work, state, program))


def steps(work: Launch, state: LaunchState, program: int) -> "Iterator[Step]":
    """The steps up to the packaged helper, which has those that would come then."""
    return order.steps(
        state,
        enter=view.entering(work, state, lambda state: _enter(work, state)),
        last=lambda state: _last_steps(work, state, program),
    )


def _last_steps(work: Launch, state: LaunchState, program: int) -> "Iterator[Step]":
    arguments: list[str] = []
    yield order.WARN
    yield Step("packaged_call", lambda state: arguments.extend(_arguments(work, state)))
    yield order.RELEASE_SIGNALS
    if state.plan.user.switch:
        yield order.LEAVE_KEYRING
    yield Step("drop_inheritable", lambda _: packaged.drop_inheritable())
    if state.plan.no_new_privs is not None:
        yield order.NO_NEW_PRIVS
    yield Step("packaged", lambda _: packaged.become(work.config, program, arguments))


def _enter(work: Launch, state: LaunchState) -> None:
    if work.parent is not None and work.target is not None:
        from . import debug_container

        # It joins the mount namespace itself, from outside of it: in an image's it would not be found.
        debug_container.check(work.parent)
        work.agents_call.values["namespace_mnt_target"] = str(work.parent.pid)
    else:
        view.enter(work, state)


def _arguments(work: Launch, state: LaunchState) -> "list[str]":
    """The call for the packaged helper, without what we have done; this process leaves the sandbox for it."""
    info = {name: value for name, value in work.info.items() if name not in ("mounts", "file_operations")}
    if (
        state.plan.own_mount_namespace and "clone_namespaces" in info
    ):  # else it would make mounts slaves that are shared with the host
        flags = common.numbers(info["clone_namespaces"], "ContainerLaunchInfo.clone_namespaces")
        info["clone_namespaces"] = [flag for flag in flags if flag != _CLONE_NEWNS]
    if "pre_exec_commands" in info:
        items = common.objects(info["pre_exec_commands"], work.commands_where)
        info["pre_exec_commands"] = [items[index] for index in work.isolators.kept]
    try:
        if info.get("working_directory") is None and not work.agents_call.by_arguments:
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
    return _again(work.agents_call, info, reading, writing)


def _again(agents_call: call.Call, info: "dict[str, object]", reading: int, writing: int) -> "list[str]":
    """The arguments of the same call, but of `info` and these ends of a pipe; puts into the environment the rest.

    What came by the environment stays there, where `ps` shows it to nobody.
    """
    values = dict(agents_call.values, pipe_read=str(reading), pipe_write=str(writing))
    if not agents_call.by_arguments:
        values["launch_info"] = strict_json.dump(info)
    elif "commands" in values:
        values["commands"] = strict_json.dump({"commands": info.get("pre_exec_commands", [])})
    elif "pre_exec_commands" in values:
        values["pre_exec_commands"] = strict_json.dump(info.get("pre_exec_commands", []))
    for name, value in values.items():
        if name not in agents_call.from_arguments:
            posix.environ[f"{call.PREFIX}{name.upper()}".encode("ascii")] = value.encode("utf-8", "surrogateescape")
    return ["launch", *(f"--{name}={values[name]}" for name in values if name in agents_call.from_arguments)]
