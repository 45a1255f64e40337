"""What a ContainerLaunchInfo says of the command's process: its words, variables, limits, directory, terminal.

Source: src/slave/containerizer/mesos/launch.cpp of 1.11.0, MesosContainerizerLaunch::execute.
"""

import posix

from ..errors import ShimError, reason
from ..launch import execute
from ..launch.state import LaunchState
from . import common

_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # stout, os::host_default_path


class Process:
    """The command's process as it was asked for."""

    __slots__ = ("command", "directory", "limits", "no_new_privileges", "searches", "terminal", "variables")

    def __init__(self, info: "dict[str, object]", searches: bool = True) -> None:
        """`searches`: for the program in its directory first, as since 1.1. Raises ShimError by the wrong field."""
        self.command = common.command(info.get("command"), "ContainerLaunchInfo.command")
        self.variables = _environment(info)
        self.limits: list[tuple[str, int, int, int]] = []
        if info.get("rlimits") is not None:
            from . import limits

            self.limits = limits.read(info["rlimits"])
        self.directory = common.string(info.get("working_directory"), "ContainerLaunchInfo.working_directory")
        self.no_new_privileges = common.boolean(info.get("no_new_privileges"), "ContainerLaunchInfo.no_new_privileges")
        self.searches = searches and self.directory is not None and not self.command.path.startswith("/")
        # Its path is the agent's: standard input is that terminal already.
        self.terminal = common.string(info.get("tty_slave_path"), "ContainerLaunchInfo.tty_slave_path") is not None

    def executable(self) -> str:
        """The program to execute, where it `searches` for it in the working directory, which this process is in."""
        path = self.command.path
        if not self.searches:
            return path
        try:
            mode = posix.stat(path).st_mode
        except OSError:
            return path
        return f"./{path}" if mode & 0o111 else path  # whatever it is: as stout's os::which

    def give_program(self, state: LaunchState) -> None:
        """What is to be executed, and its variables, for a process in the command's working directory."""
        state.variables, state.path = self.variables, self.executable()

    def set_limits(self) -> None:
        """setrlimit(2), before the user changes."""
        for name, number, soft, hard in self.limits:
            from . import limits  # loaded when they were read

            limits.set_one(name, number, soft, hard)


def take_terminal() -> None:
    """Make standard input this session's terminal, whose foreground group the command is in (tty_ioctl(4))."""
    import fcntl
    import termios

    try:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    except OSError as error:
        raise ShimError(f"ContainerLaunchInfo.tty_slave_path: standard input: {reason(error)}") from None


def _environment(info: "dict[str, object]") -> "dict[bytes, bytes]":
    """The task's variables: those of the launch info alone; without any, what we were given."""
    outer = info.get("environment")
    if outer is None:
        return execute.environment()
    if not isinstance(outer, dict):
        raise ShimError("ContainerLaunchInfo.environment: not an object")
    result: dict[bytes, bytes] = {}
    for item in common.objects(outer.get("variables"), "ContainerLaunchInfo.environment.variables"):
        name = common.string(item.get("name"), "ContainerLaunchInfo.environment: name")
        value = common.string(item.get("value"), f"ContainerLaunchInfo.environment: {name}")
        if item.get("type", "VALUE") != "VALUE" or name is None or value is None:
            raise ShimError(f"ContainerLaunchInfo.environment: {name}: only variables with a plain value are passed on")
        if not name or "=" in name or "\0" in name + value:
            raise ShimError(
                f"ContainerLaunchInfo.environment: {name!r} is not a variable's name, or its value has a NUL"
            )
        result[name.encode("utf-8")] = value.encode("utf-8")
    result.setdefault(b"PATH", _DEFAULT_PATH)
    return result


def groups(info: "dict[str, object]") -> "list[int]":
    """The groups that a switched user has besides its own; `task_supplementary_groups` are for mesos-executor."""
    value = info.get("supplementary_groups") or []
    if not isinstance(value, list) or not all(type(gid) is int and 0 <= gid < 2**32 - 1 for gid in value):
        raise ShimError("ContainerLaunchInfo.supplementary_groups: not a list of group ids")
    return value
