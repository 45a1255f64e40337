"""What both protocols do the same way: whose ContainerInfo counts, which volumes are the agent's plain mounts."""

import posix

from ..errors import ShimError, reason
from ..spec import container_info
from ..spec.container_info import ContainerInfo
from ..spec.request import FRAMEWORK, OPERATOR, LaunchRequest
from ..system import strict_json

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable


def close_agents_end(writing: int) -> None:
    """Close the pipe's write end, which is the agent's: else the pipe would not end with it."""
    try:
        posix.close(writing)
    except OSError as error:
        raise ShimError(f"the agent's pipe {writing}: {reason(error)}") from None


def has_agents_byte(reading: int, wait: bool = True) -> bool:
    """Read the agent's one byte: it has isolated and fetched. Raises ShimError at the pipe's end.

    False where it is not there yet and we do not `wait`.
    """
    try:
        posix.set_blocking(reading, wait)
        # Its value says nothing: an agent writes whatever its buffer holds.
        byte = posix.read(reading, 1)
        posix.close(reading)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ShimError(f"the agent's pipe {reading}: {reason(error)}") from None
    if not byte:
        raise ShimError("the agent closed its end of the pipe before the launch")
    return True


def choose(
    request: LaunchRequest, info: "dict[str, object] | None", where: str, enforced: "tuple[str, ...]" = ()
) -> None:
    """Set the request's ContainerInfo: the one that the agent holds, else the operator's default.

    `enforced` are fields of the former that somebody else sees to: they are not warned of.
    """
    if info is None:
        request.info = request.config.default_container_info
        request.origin = OPERATOR
        return
    request.info = container_info.parse_or_refuse(info, where, enforced)
    # An agent merges its own default into what it holds: the operator's words stay the operator's.
    request.origin = OPERATOR if _equal(request.info, request.config.default_container_info) else FRAMEWORK


def _equal(one: ContainerInfo, other: "ContainerInfo | None") -> bool:
    return other is not None and _facts(one) == _facts(other)


def _facts(info: ContainerInfo) -> "list[tuple[str, str, bool, bool]]":
    return [(v.container_path, v.host_path, v.read_only, v.propagation) for v in info.volumes]


def string(value: object, where: str) -> "str | None":
    """`value` as a string, None for an absent one; anything else is refused."""
    if value is None or isinstance(value, str):
        return value
    raise ShimError(f"{where}: not a string")


def boolean(value: object, where: str) -> "bool | None":
    """`value` as a boolean, None for an absent one; "false" is a string, which would count as true."""
    if value is None or isinstance(value, bool):
        return value
    raise ShimError(f"{where}: {value!r} is neither true nor false")


def objects(value: object, where: str) -> "list[dict[str, object]]":
    """`value` as a list of objects; absent is empty."""
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    raise ShimError(f"{where}: not a list of objects")


def numbers(value: object, where: str) -> "list[int]":
    """`value` as a list of whole numbers; absent is empty."""
    if value is None:
        return []
    if isinstance(value, list) and all(type(item) is int for item in value):
        return value
    raise ShimError(f"{where}: not a list of numbers")


class Command:
    """CommandInfo: what is executed, as argv."""

    __slots__ = ("argv", "path", "shell")

    def __init__(self, path: str, argv: "list[str]", shell: bool = False) -> None:
        self.path = path
        self.argv = argv
        # Whether the last word is a shell's text.
        self.shell = shell


class Sorted:
    """What becomes of the commands: `steps` are done in order, `binds` are volumes where no ContainerInfo is known.

    `kept` are the places in the list of those that no volume of ours replaces.
    """

    __slots__ = ("binds", "kept", "steps")

    def __init__(self) -> None:
        self.steps: list[Command | Callable[[], None]] = []
        self.kept: list[int] = []
        self.binds: list[tuple[str, str]] = []

    @property
    def mounts(self) -> bool:
        """Whether a step mounts something by our own calls."""
        return any(not isinstance(step, Command) for step in self.steps)


def command(value: object, where: str) -> Command:
    """The CommandInfo `value`: through `/bin/sh -c` where it says shell (the default), else as its own argv."""
    if not isinstance(value, dict):
        raise ShimError(f"{where}: required")
    text = string(value.get("value"), f"{where}.value")
    if text is None:
        raise ShimError(f"{where}.value: required")
    if boolean(value.get("shell"), f"{where}.shell") is not False:  # true is the default
        return Command("/bin/sh", ["sh", "-c", text], True)
    arguments = value.get("arguments", [])
    if not isinstance(arguments, list) or not all(isinstance(item, str) for item in arguments):
        raise ShimError(f"{where}.arguments: not a list of strings")
    # The arguments are the whole argv, the program's own name included (mesos.proto, CommandInfo).
    return Command(text, list(arguments) or [text])


def parse_json(text: bytes, where: str) -> "dict[str, object]":
    """A JSON object from the agent."""
    value = strict_json.parse(text, where)
    if not isinstance(value, dict):
        raise ShimError(f"{where}: not an object")
    return value
