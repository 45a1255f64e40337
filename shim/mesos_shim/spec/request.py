"""LaunchRequest: who asks for what, before anything is looked at on the host.

Arguments are read by hand: `import argparse` costs more than a whole launch.
"""

import posix

from ..errors import ShimError, reason
from ..system import paths, strict_json
from . import config as configuration
from . import container_info

if False:  # for the type checker alone: no launch imports typing
    from ..system.walk import Resolved

# A file's name holds 255 bytes; the longest of ours around an id is `.ID.json.PID` (containers/record.py).
MAX_ID = 241
_EBADF = 9
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")

# Whose volumes these are decides what they may reach (spec/policy.py).
CALLER = "caller"
OPERATOR = "operator"
FRAMEWORK = "framework"


class LaunchRequest:
    """One launch as it was asked for."""

    __slots__ = (
        "agent_ids",
        "agent_namespaces",
        "agents_paths",
        "by_agent",
        "command",
        "config",
        "container_id",
        "cpus",
        "executor_id",
        "framework_id",
        "groups",
        "info",
        "isolation",
        "json",
        "keep_fds",
        "launcher",
        "linked_paths",
        "mem",
        "on_unenforceable",
        "origin",
        "own_as_is",
        "remove",
        "sandbox",
        "sandbox_named",
        "sandbox_planned",
        "status_fd",
        "supervise",
        "user",
        "user_named",
    )

    def __init__(self) -> None:
        self.command: list[str] = []
        self.sandbox: str | None = None
        self.container_id: str | None = None
        self.executor_id: str | None = None
        self.framework_id: str | None = None
        self.info: container_info.ContainerInfo | None = None
        self.origin = CALLER
        # In `explain --rm`: the one that a launch would make, which is nowhere yet.
        self.sandbox_planned: Resolved | None = None
        self.user: str | None = None
        # What an agent adds to the user's own groups: they count in every judgement of what he may write.
        self.groups: list[int] = []
        # Who named the two, for a message: an agent gives no options of ours.
        self.sandbox_named = "--sandbox"
        self.user_named = "--user"
        # Whether a caller who is the user already keeps his groups (identity.of_user).
        self.own_as_is = False
        self.isolation: tuple[str, ...] = ()
        self.cpus: float | None = None
        self.mem: float | None = None
        self.supervise = False
        self.remove = False
        self.status_fd: int | None = None
        # Where an agent asks: the ids by which it may have named cgroups, and the CLONE_NEW… it made itself.
        self.by_agent = False
        self.agent_ids: list[str] = []
        self.agent_namespaces = 0
        # A directory that must stay visible in the container: mesos-executor runs our program from there.
        self.launcher: str | None = None
        # What it mounts on itself, outside of the sandbox: as it is before that, or why that cannot be told.
        self.agents_paths: dict[str, Resolved | ShimError] = {}
        # Where in the sandbox, below its top, it has put links.
        self.linked_paths: list[str] = []
        self.keep_fds: list[int] = []
        self.on_unenforceable: str | None = None
        self.json = False
        self.config = configuration.Config()


_FLAGS = {"--supervise": "supervise", "--rm": "remove", "--json": "json"}
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
        raise ShimError(f"reading what is asked for: {reason(error)}") from None


def _from_arguments(arguments: "list[str]", config_path: str) -> LaunchRequest:
    request = LaunchRequest()
    given, request.command = _scan(arguments, request)
    config_given = _last(given, "--config")
    if config_given == "":
        raise ShimError("--config: a value is missing")
    request.config = configuration.read(config_given or config_path, required=config_given is not None)
    request.sandbox = _last(given, "--sandbox")
    request.user = _last(given, "--user")
    _identity(request, given)
    _isolation(request, given)
    _container_info(request, given)
    return request


def _scan(arguments: "list[str]", request: LaunchRequest) -> "tuple[dict[str, list[str]], list[str]]":
    given: dict[str, list[str]] = {}
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        index += 1
        if argument == "--":
            return given, arguments[index:]
        if not argument.startswith("-"):
            raise ShimError(f"{argument!r}: the command goes after '--'")
        name, equals, value = argument.partition("=")
        if name in _FLAGS:
            if equals:
                raise ShimError(f"{name}: takes no value")
            if getattr(request, _FLAGS[name]):
                raise ShimError(f"{name}: given twice; once is enough")
            setattr(request, _FLAGS[name], True)
        elif name in _VALUES:
            if not equals:
                if index == len(arguments) or arguments[index] == "--":
                    raise ShimError(f"{name}: a value is missing")
                value = arguments[index]
                index += 1
            given.setdefault(name, []).append(value)
        else:
            raise ShimError(f"{argument!r}: unknown option; 'mesos-shim run --help' lists them")
    return given, []


def _last(given: "dict[str, list[str]]", name: str) -> "str | None":
    values = given.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise ShimError(f"{name}: given {len(values)} times; once is enough")
    return values[0]


def _identity(request: LaunchRequest, given: "dict[str, list[str]]") -> None:
    container_id = _last(given, "--container-id")
    if container_id is not None:
        check_id(container_id, "--container-id")
        if container_id[0] == "-":  # `--container-id --rm`; nor could `enter` be told of it
            raise ShimError(f"--container-id: {container_id!r} starts with '-'")
        request.container_id = container_id
    request.status_fd = _number(given, "--status-fd")
    for value in given.get("--keep-fd", ()):
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


def check_id(container_id: str, where: str) -> None:
    """Refuse an id that could not be a file's name (threats 22); nested 1.x ids are joined by '.' beforehand."""
    if not container_id or len(container_id) > MAX_ID or not _ID_CHARACTERS.issuperset(container_id):
        raise ShimError(f"{where}: {container_id!r} is not 1 to {MAX_ID} of letters, digits, '-', '_' and '.'")
    if container_id[0] == ".":
        raise ShimError(f"{where}: {container_id!r} starts with a dot")


def _isolation(request: LaunchRequest, given: "dict[str, list[str]]") -> None:
    text = _last(given, "--isolation")
    if text is None:
        request.isolation = request.config.isolation
    else:
        request.isolation, problems = configuration.parse_isolation(list(text.split(",")), "--isolation")
        container_info.refuse(problems)
    request.cpus = _limit(given, "--cpus")
    request.mem = _limit(given, "--mem")
    choice = _last(given, "--on-unenforceable")
    if choice not in (None, configuration.REFUSE, configuration.USAGE_ONLY):
        raise ShimError(f"--on-unenforceable: {choice!r} is neither 'refuse' nor 'usage-only'")
    request.on_unenforceable = choice or request.config.on_unenforceable


def _container_info(request: LaunchRequest, given: "dict[str, list[str]]") -> None:
    text = _last(given, "--container-info")
    volumes = [container_info.parse_argument(value) for value in given.get("--volume", ())]
    if text is not None:
        request.info = _read_container_info(text)
        request.info.volumes.extend(volumes)
    elif volumes:
        request.info = container_info.ContainerInfo(volumes)
    else:
        request.info = request.config.default_container_info
        request.origin = OPERATOR


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


def _number(given: "dict[str, list[str]]", name: str) -> "int | None":
    value = _last(given, name)
    return None if value is None else _descriptor(value, name)


def _descriptor(value: str, name: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 8):
        raise ShimError(f"{name}: {value!r} is not a file descriptor")
    fd = int(value)
    if not _is_open(fd):
        raise ShimError(f"{name}: descriptor {fd}: {posix.strerror(_EBADF)}")
    return fd


def _limit(given: "dict[str, list[str]]", name: str) -> "float | None":
    value = _last(given, name)
    if value is None:
        return None
    try:
        limit = float(value)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e9:  # also refuses nan
        raise ShimError(f"{name}: {value!r} is not a number above 0")
    return limit


def sandbox_path(request: LaunchRequest) -> str:
    """The sandbox as a normal absolute path: the one given, else the current directory."""
    try:
        cwd = posix.getcwd()
    except OSError as error:
        raise ShimError(f"the current directory: {reason(error)}; give --sandbox DIR") from None
    path = cwd if request.sandbox is None else request.sandbox
    fault = paths.fault(path)
    if fault is not None:
        raise ShimError(f"{request.sandbox_named}: {path!r} {fault}")
    if not path.startswith("/"):
        path = cwd + "/" + path
    return paths.normal(path)
