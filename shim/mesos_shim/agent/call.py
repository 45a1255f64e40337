"""How the helper was called: the flags of `mesos-containerizer launch`, of every release from 0.21 to 1.11.

Sources: src/slave/containerizer/mesos/launch.cpp (Flags) and src/launcher/executor.cpp of each release, and stout's
flags/flags.hpp for what a flag may look like. The flags are told by name, never by a guess at the caller's version.
"""

import posix

from ..errors import ShimError
from ..system import strict_json
from . import common

PREFIX = "MESOS_CONTAINERIZER_"

# Every flag, with the first and the last release whose callers give it.
FLAGS = {
    "command": ("0.21", "1.1"),
    "commands": ("0.21", "0.28"),
    "directory": ("0.21", "0.27"),
    "user": ("0.21", "1.1"),
    "pipe_read": ("0.21", "1.11"),
    "pipe_write": ("0.21", "1.11"),
    "help": ("0.23", "1.11"),
    "rootfs": ("0.24", "1.1"),
    "sandbox": ("0.28", "0.28"),
    "working_directory": ("0.28", "1.1"),
    "pre_exec_commands": ("1.0", "1.1"),
    "unshare_namespace_mnt": ("1.0", "1.11"),
    "environment": ("1.1", "1.1"),
    "capabilities": ("1.1", "1.1"),
    "runtime_directory": ("1.1", "1.11"),
    "launch_info": ("1.2", "1.11"),
    "namespace_mnt_target": ("1.2", "1.11"),
}
BOOLEANS = ("help", "unshare_namespace_mnt")
_TRUE, _FALSE = ("true", "1"), ("false", "0")
# Until 0.28 the user's groups were taken on even where the agent was that user already (os::su); no flag came later.
_OF_0X = ("commands", "directory", "sandbox")


class Call:
    """The flags as given. `fault` is what is wrong with the call: said once the status file is open."""

    __slots__ = ("arguments", "fault", "from_arguments", "values")

    def __init__(self) -> None:
        # As they came, after `launch`.
        self.arguments: list[str] = []
        self.values: dict[str, str] = {}
        self.from_arguments: set[str] = set()
        self.fault: str | None = None

    def check(self) -> None:
        """Raise ShimError for the first fault."""
        if self.fault is not None:
            raise ShimError(self.fault)

    def get(self, name: str) -> "str | None":
        """The flag's text, None where it was not given."""
        return self.values.get(name)

    def is_true(self, name: str) -> bool:
        """Whether the boolean flag is set."""
        return self.values.get(name) in _TRUE

    def descriptor(self, name: str) -> int:
        """The flag as a file descriptor."""
        text = self.values.get(name)
        if text is None:
            raise ShimError(f"{self.called(name)}: missing; an agent gives both ends of its pipe")
        if not text.isascii() or not text.isdigit() or len(text) > 7:
            raise ShimError(f"{self.called(name)}: {text!r} is not a file descriptor")
        return int(text)

    def called(self, name: str) -> str:
        """The flag as its caller named it, for messages."""
        if name in self.from_arguments or (self.by_arguments and name not in self.values):
            return f"--{name}"
        return PREFIX + name.upper()

    @property
    def by_arguments(self) -> bool:
        """Whether it is a call of 0.21 to 1.1, in which every flag is an argument."""
        return "command" in self.from_arguments

    @property
    def of_0x(self) -> bool:
        """Whether it is a call of 0.21 to 0.28."""
        return any(name in self.values for name in _OF_0X)

    @property
    def by_executor(self) -> bool:
        """Whether it is mesos-executor's (1.x), which stands in its container already: nobody waits for us to start."""
        return not any(name in self.values for name in ("pipe_read", "pipe_write", "runtime_directory", *_OF_0X))

    @property
    def names_directory(self) -> str:
        """What the agent calls the working directory, for messages."""
        for name in ("directory", "sandbox", "working_directory"):
            if name in self.from_arguments:
                return f"--{name}"
        return "ContainerLaunchInfo.working_directory"

    def launch_info(self) -> "dict[str, object]":
        """ContainerLaunchInfo: as given, or what the flags of 0.21 to 1.1 say of it, in its JSON form."""
        if self.by_arguments:
            return self._from_flags()
        if "launch_info" not in self.values:
            raise ShimError(f"{self.called('launch_info')}: missing; an agent gives it, or --command before Mesos 1.2")
        return common.parse_json(_encode(self.values["launch_info"]), "ContainerLaunchInfo")

    def _from_flags(self) -> "dict[str, object]":
        info: dict[str, object] = {"command": self._json("command")}
        if self.values.get("environment"):
            info["environment"] = _environment(self._json("environment"))
        if self.values.get("capabilities"):
            info["capabilities"] = self._json("capabilities")
        for name in ("user", "rootfs", "working_directory"):
            if self.values.get(name):
                info[name] = self.values[name]
        if self.of_0x and "rootfs" not in info:
            info["working_directory"] = self.values.get("directory") or self.values.get("sandbox")
        if self.values.get("commands"):
            commands = common.parse_json(_encode(self.values["commands"]), "--commands")
            info["pre_exec_commands"] = commands.get("commands")
        elif self.values.get("pre_exec_commands"):
            info["pre_exec_commands"] = self._json("pre_exec_commands")
        return info

    def _json(self, name: str) -> object:
        return strict_json.parse(_encode(self.values[name]), self.called(name))


def _environment(value: object) -> object:
    """1.1's map of variables in the form of ContainerLaunchInfo; what is no map is refused where that is read."""
    if not isinstance(value, dict):
        return value
    return {"variables": [{"name": name, "value": text} for name, text in value.items()]}


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def read(arguments: "list[str]") -> Call:
    """The call in `arguments` (those after `launch`) and in the environment; arguments win, as in stout.

    A call of 0.21 to 1.1 is in its arguments alone: the environment then is the framework's, not the agent's
    (threats 15).
    """
    call = Call()
    call.arguments = arguments
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = name.lower()
        negated = not equals and name.startswith("--no-")
        name = name[5:] if negated else name[2:] if name.startswith("--") else ""
        if name not in FLAGS:
            call.fault = call.fault or f"launch: {argument!r} is not an argument of mesos-containerizer 0.21 to 1.11"
        elif name in call.values:
            call.fault = call.fault or f"launch: --{name} is given twice"
        else:
            call.from_arguments.add(name)
            _set(call, name, value if equals else None, negated, f"launch: {argument!r}")
    if not call.by_arguments:
        _add_environment(call, tuple(FLAGS))
    elif "runtime_directory" in call.values:  # 1.1's agent hides the command's variables from `ps`: they are a variable
        _add_environment(call, ("environment",))
    return call


def _add_environment(call: Call, names: "tuple[str, ...]") -> None:
    for name in names:
        variable = PREFIX + name.upper()
        value = posix.environ.get(variable.encode("ascii"))
        if value is not None and name not in call.values:
            _set(call, name, value.decode("utf-8", "surrogateescape"), False, variable)


def _set(call: Call, name: str, value: "str | None", negated: bool, where: str) -> None:
    """One flag; a boolean may be negated, or given without a value, or with an empty one (flags.hpp, load)."""
    if name in BOOLEANS:
        value = value or ("false" if negated else "true")
        if value not in (*_TRUE, *_FALSE):
            call.fault = call.fault or f"{where}: {value!r} is neither 'true' nor 'false'"
    elif value is None:
        call.fault = call.fault or f"{where}: a value is missing"
        return
    call.values[name] = value
