"""mesos-executor's call (1.x, every command task): it stands in its container already, and we become the command.

It has started us as a child of its own, as the task's user, in the sandbox and in the container's mount namespace: so
there are no volumes to attach, nobody writes a byte and nobody reads a status file. What is its own way of ending is
the task's. Sources: src/launcher/posix/executor.cpp of 1.0 to 1.2, src/launcher/executor.cpp of 1.11.0
(launchTaskSubprocess), and calls recorded beside them.
"""

import posix

from ..errors import ShimError, reason
from ..launch import order
from ..launch.state import LaunchState
from ..plan import model
from ..spec import config as configuration
from ..spec import request
from ..system import credentials, paths, syscalls, walk
from . import call, common, inside, launch_info, packaged

if False:  # for the type checker alone
    from typing import Iterator

# What is done here; anything else, an image's root file system first of all, is the packaged helper's.
_OURS = {
    "command",
    "environment",
    "task_environment",
    "user",
    "working_directory",
    "supplementary_groups",
    "task_supplementary_groups",
    "rlimits",
    "no_new_privileges",
    "tty_slave_path",
    "clone_namespaces",
    "enter_namespaces",
}


def launch(agents_call: call.Call, arguments: "list[str]", config_path: str) -> int:
    """Become the command of `agents_call`, or the packaged helper with all of its `arguments`; never returns."""
    agents_call.check()
    info = agents_call.launch_info()
    unsupported = _unsupported(agents_call, info)
    if unsupported is not None:
        packaged.exec_packaged(configuration.read(config_path, required=False), arguments, unsupported)
    process = launch_info.Process(info)
    user = credentials.of_user(
        common.string(info.get("user"), "ContainerLaunchInfo.user"), "ContainerLaunchInfo.user", keep_caller_groups=True
    )
    draft = model.Draft("", _here(), user)
    draft.command = process.command.argv
    no_new_privs = "the executor says so" if process.no_new_privileges else None
    if user.switch:
        user.groups += [gid for gid in launch_info.groups(info) if gid not in user.groups]
        # What covers what in this mount namespace was checked for the executor's user.
        no_new_privs = "this container was made for another user"
    if process.terminal:
        launch_info.take_terminal()
    state = LaunchState(request.LaunchRequest(), model.finished(draft, no_new_privs=no_new_privs))
    order.become(state, steps(state, process))
    return 1  # it does not come back


def steps(state: LaunchState, process: launch_info.Process) -> "Iterator[order.Step]":
    """What is left of the launch of a task, whose executor is in the container already."""
    yield order.Step("limits", lambda _: process.set_limits())
    yield order.Step("working_directory", lambda _: _enter_directory(process))
    yield order.Step("program", process.give_program)
    yield from order.last_steps(state)


def _enter_directory(process: launch_info.Process) -> None:
    if process.directory is not None:
        inside.change_directory(process.directory)


def _unsupported(agents_call: call.Call, info: "dict[str, object]") -> "str | None":
    """What the packaged helper is needed for, or None."""
    for name, value in info.items():
        # An empty message is a present one: effective_capabilities of {} takes them all away.
        if name not in _OURS and value not in (None, []):
            return f"ContainerLaunchInfo.{name}"
    if agents_call.get("namespace_mnt_target"):
        return agents_call.called("namespace_mnt_target")
    return agents_call.called("unshare_namespace_mnt") if agents_call.is_true("unshare_namespace_mnt") else None


def _here() -> walk.Resolved:
    """The working directory, which is where the command will be."""
    try:
        fd = posix.open(".", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        return walk.Resolved(paths.normal(posix.getcwd()), fd, posix.fstat(fd), [], None)
    except OSError as error:
        raise ShimError(f"the current directory: {reason(error)}") from None
