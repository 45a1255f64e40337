"""What a ContainerLaunchInfo says of the command's process: its words, variables, limits, directory, terminal.

Source: src/slave/containerizer/mesos/launch.cpp of 1.11.0, MesosContainerizerLaunch::execute.
"""

import posix

from ..errors import ShimError, reason
from ..launch import execute
from ..launch.state import LaunchState
from ..system import strict_json
from . import common

_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # stout, os::host_default_path
# Of RLimitInfo's types the one that Python has no name for (asm-generic/resource.h: the same on every machine).
_NAMELESS_LIMITS = {"RLMT_LOCKS": 10}


class Process:
    """The command's process as it was asked for."""

    __slots__ = ("command", "directory", "limits", "no_new_privileges", "searches", "terminal", "variables")

    def __init__(self, info: "dict[str, object]", searches: bool = True) -> None:
        """`searches`: for the program in its directory first, as since 1.1. Raises ShimError by the wrong field."""
        self.command = common.command(info.get("command"), "ContainerLaunchInfo.command")
        self.variables = _environment(info)
        self.limits = _limits(info)
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
            common.set_limit(name, number, soft, hard)


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


def _limits(info: "dict[str, object]") -> "list[tuple[str, int, int, int]]":
    """RLimitInfo as (name, resource, soft, hard); without values a limit is unlimited."""
    outer = info.get("rlimits")
    if outer is None:
        return []
    if not isinstance(outer, dict):
        raise ShimError("ContainerLaunchInfo.rlimits: not an object")
    import resource

    result = []
    for item in common.objects(outer.get("rlimits"), "ContainerLaunchInfo.rlimits.rlimits"):
        kind = str(item.get("type"))
        where = f"ContainerLaunchInfo.rlimits: {kind}"
        number = getattr(resource, "RLIMIT_" + kind.replace("RLMT_", "", 1), _NAMELESS_LIMITS.get(kind))
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
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= strict_json.MAX_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ShimError(f"{where}: {value!r} is not a number")
    # RLIM_INFINITY is ~0 to the kernel; Python's resource module takes no more than a signed 64 bit number.
    return infinity if value >= (1 << 63) - 1 else value
