"""The one parser of arguments, and what it makes of those of `run` and `explain`: a LaunchRequest.

It is written by hand, because `import argparse` costs more than a whole launch. What only the other commands share is
in options.py, so that no launch loads it.
"""

import errno
import posix

from ..errors import ShimError, reason
from ..spec import config as configuration
from ..spec import container_info
from ..spec.request import OPERATOR, LaunchRequest, check_id
from ..system import strict_json

if False:  # for the type checker alone: no launch imports typing
    from typing import Collection

_FLAGS = ("--supervise", "--rm", "--json")
_VALUES = (
    "--container-info",
    "--volume",
    "--sandbox",
    "--container-id",
    "--isolation",
    "--user",
    "--cpus",
    "--mem",
    "--status-fd",
    "--keep-fd",
    "--config",
    "--on-unenforceable",
)


def from_arguments(arguments: "list[str]", config_path: str) -> LaunchRequest:
    """The request in the arguments of `run` or `explain`; a configuration named there replaces the installed one."""
    try:
        return _from_arguments(arguments, config_path)
    except OSError as error:
        raise ShimError(f"reading the request: {reason(error)}") from None


def _from_arguments(arguments: "list[str]", config_path: str) -> LaunchRequest:
    request = LaunchRequest()
    parsed, request.command = scan(arguments, _VALUES, _FLAGS, "run")
    request.supervise = "--supervise" in parsed
    request.remove = "--rm" in parsed
    request.json = "--json" in parsed
    config_named = _last(parsed, "--config")
    if config_named == "":
        raise ShimError("--config: a value is missing")
    request.config = configuration.read(config_named or config_path, required=config_named is not None)
    request.sandbox = _last(parsed, "--sandbox")
    request.sandbox_names = _sandbox_names()
    request.user = _last(parsed, "--user")
    _identity(request, parsed)
    _isolation(request, parsed)
    _container_info(request, parsed)
    return request


def _sandbox_names() -> "list[str]":
    """What a Mesos executor calls the directory that it was started in."""
    values = [posix.environ.get(name, b"") for name in (b"MESOS_SANDBOX", b"MESOS_DIRECTORY")]
    return [value.decode("utf-8", "surrogateescape") for value in values if value.startswith(b"/")]


def scan(
    arguments: "list[str]",
    values: "Collection[str]",
    flags: "Collection[str]",
    command: str,
    operands: "list[str] | None" = None,
) -> "tuple[dict[str, list[str]], list[str]]":
    """The options with their values ("" for a flag), and what comes after `--`.

    `operands` takes the words between the options. Without it only options may come before `--`, and those with a value
    may be repeated: the grammar of `run`.
    """
    parsed: dict[str, list[str]] = {}
    where = "" if operands is None else f"{command}: "
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        index += 1
        if argument == "--":
            return parsed, arguments[index:]
        if operands is not None and (argument == "-" or not argument.startswith("-")):
            operands.append(argument)
            continue
        if not argument.startswith("-"):
            raise ShimError(f"{argument!r}: the command goes after '--'")
        name, equals, value = argument.partition("=")
        if operands is not None and name in ("-h", "--help"):  # of `run` main.py has looked for it
            operands.clear()
            return {"--help": [""]}, []
        if name in flags:
            if equals:
                raise ShimError(f"{where}{name}: takes no value")
        elif name not in values:
            raise ShimError(f"{where}{argument!r}: unknown option; 'mesos-shim {command} --help' lists them")
        if name in parsed and (operands is not None or name in flags):
            raise ShimError(f"{where}{name}: given twice; once is enough")
        if name in values:
            missing = not equals and (index == len(arguments) or arguments[index] == "--")
            if not equals and not missing:
                value = arguments[index]
                index += 1
            if missing or (operands is not None and not value):
                raise ShimError(f"{where}{name}: a value is missing")
        parsed.setdefault(name, []).append(value)
    return parsed, []


def _last(parsed: "dict[str, list[str]]", name: str) -> "str | None":
    values = parsed.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise ShimError(f"{name}: given {len(values)} times; once is enough")
    return values[0]


def _identity(request: LaunchRequest, parsed: "dict[str, list[str]]") -> None:
    container_id = _last(parsed, "--container-id")
    if container_id is not None:
        check_id(container_id, "--container-id")
        if container_id[0] == "-":  # `--container-id --rm`; nor could `enter` be told of it
            raise ShimError(f"--container-id: {container_id!r} starts with '-'")
        request.container_id = container_id
    request.status_fd = _number(parsed, "--status-fd")
    for value in parsed.get("--keep-fd", ()):
        request.keep_fds.append(_descriptor(value, "--keep-fd"))
    request.keep_fds.extend(_listen_fds())


def _listen_fds() -> "list[int]":
    """Descriptors of socket activation (sd_listen_fds(3)), of those that are open before we open any ourselves.

    Only where a caller runs the program: an agent hands the framework's variables to its helper (threats 15).
    """
    count = posix.environ.get(b"LISTEN_FDS", b"")
    if not count or posix.environ.get(b"LISTEN_PID") != b"%d" % posix.getpid() or not count.isdigit() or len(count) > 3:
        return []
    return [fd for fd in range(3, 3 + int(count)) if _is_open(fd)]


def _is_open(fd: int) -> bool:
    """Whether the caller handed the descriptor on; what we open ourselves is not inheritable."""
    try:
        return posix.get_inheritable(fd)
    except OSError:
        return False


def _isolation(request: LaunchRequest, parsed: "dict[str, list[str]]") -> None:
    text = _last(parsed, "--isolation")
    if text is None:
        request.isolation = request.config.isolation
    else:
        request.isolation, problems = configuration.parse_isolation(list(text.split(",")), "--isolation")
        container_info.refuse(problems)
    request.cpus = _limit(parsed, "--cpus")
    request.mem = _limit(parsed, "--mem")
    choice = _last(parsed, "--on-unenforceable")
    if choice not in (None, configuration.REFUSE, configuration.USAGE_ONLY):
        raise ShimError(f"--on-unenforceable: {choice!r} is neither 'refuse' nor 'usage-only'")
    request.on_unenforceable = choice or request.config.on_unenforceable


def _container_info(request: LaunchRequest, parsed: "dict[str, list[str]]") -> None:
    text = _last(parsed, "--container-info")
    volumes = [volume_of(value) for value in parsed.get("--volume", ())]
    if text is not None:
        request.info = _read_container_info(text)
        request.info.volumes.extend(volumes)
    elif volumes:
        request.info = container_info.ContainerInfo(volumes)
    else:
        request.info = request.config.default_container_info
        request.origin = OPERATOR


def volume_of(text: str) -> container_info.Volume:
    """The Volume of a `--volume HOST:CONTAINER[:RW|RO]` argument."""
    parts = text.split(":")
    mode = container_info.RW
    if len(parts) == 3:
        mode = parts.pop()
    if len(parts) != 2:
        raise ShimError(f"--volume {text!r}: not HOST:CONTAINER[:RW|RO]; for a path with ':' use --container-info")
    value = {"host_path": parts[0], "container_path": parts[1], "mode": mode}
    problems: list[str] = []
    volume = container_info.read_volume(value, f"--volume {text!r}", problems)
    container_info.refuse(problems)
    assert volume is not None  # noqa: S101 (for the type checker: a volume or a problem)
    return volume


def _read_container_info(text: str) -> container_info.ContainerInfo:
    where = "--container-info"
    if text.startswith("@"):
        where = f"--container-info {text}"
        try:
            fd = configuration.open_regular(text[1:], where)
        except FileNotFoundError as error:
            raise ShimError(f"{where}: {reason(error)}") from None
        try:
            data = configuration.read_all(fd, strict_json.MAX_BYTES, where)
        finally:
            posix.close(fd)
    else:
        data = text.encode("utf-8", "surrogateescape")
    return container_info.parse_or_refuse(strict_json.parse(data, where), "ContainerInfo")


def _number(parsed: "dict[str, list[str]]", name: str) -> "int | None":
    value = _last(parsed, name)
    return None if value is None else _descriptor(value, name)


def _descriptor(value: str, name: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 8):
        raise ShimError(f"{name}: {value!r} is not a file descriptor")
    fd = int(value)
    if not _is_open(fd):
        raise ShimError(f"{name}: descriptor {fd}: {posix.strerror(errno.EBADF)}")
    return fd


def _limit(parsed: "dict[str, list[str]]", name: str) -> "float | None":
    value = _last(parsed, name)
    if value is None:
        return None
    try:
        limit = float(value)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e9:  # also refuses nan
        raise ShimError(f"{name}: {value!r} is not a number above 0")
    return limit
