"""The operator's configuration: read with suspicion, checked whole, handed on as a value.

Its path is fixed when a release is staged. What it says steers a program that runs as root, so the file must belong
to root or to the caller and must not be writable by anyone else (threats 15).
"""

import posix
from _stat import S_IMODE, S_ISREG

from ..errors import ShimError, reason
from ..system import files, paths, strict_json
from . import container_info, isolation
from .frozen import Frozen

if False:  # for the type checker alone: no launch imports typing
    from .config_tables import PassThrough, PrivateDirectory, Tmpfs

DEFAULT_ISOLATION = ("filesystem/shared", "posix/cpu", "posix/mem")
REFUSE = "refuse"
USAGE_ONLY = "usage-only"

# Linux; elsewhere a file is opened for reading at once.
O_PATH: int = getattr(posix, "O_PATH", 0)


class Config(Frozen):
    """The configuration's keys as values; the defaults are those of a host without a configuration file."""

    __slots__ = (
        "agent_user",
        "default_container_info",
        "default_limits",
        "framework_volumes",
        "hide_work_dir",
        "isolation",
        "on_unenforceable",
        "packaged_helper",
        "pass_through",
        "path",
        "private_directories",
        "state_dir",
        "tmpfs",
        "trusted_groups",
        "work_dir",
    )

    def __init__(self) -> None:
        self.path: str | None = None
        self.isolation: tuple[str, ...] = DEFAULT_ISOLATION
        self.default_container_info: container_info.ContainerInfo | None = None
        self.framework_volumes: str | list[str] = "relative"
        self.hide_work_dir = False
        self.work_dir: str | None = None
        self.pass_through: list[PassThrough] = []
        self.tmpfs: list[Tmpfs] = []
        self.trusted_groups: list[str | int] = []
        self.private_directories: list[PrivateDirectory] = []
        self.default_limits: dict[str, float] = {}
        self.on_unenforceable: str | None = None
        self.packaged_helper: str | None = None
        self.state_dir: str | None = None
        # Where it is another than root, for root's view of the containers: launches do not look at it.
        self.agent_user: str | None = None


def read(path: str, required: bool) -> Config:
    """The configuration in the file `path`; without one, and not `required`, the defaults."""
    try:
        data = _read_trusted(path, required)
    except OSError as error:
        raise ShimError(f"configuration {path}: {reason(error)}") from None
    if data is None:
        return Config()
    config, problems = parse(strict_json.parse(data, path), path)
    container_info.refuse(problems)
    config.freeze()
    if config.trusted_groups:
        from ..system import groups

        groups.trust(config.trusted_groups)
    return config


def _read_trusted(path: str, required: bool) -> "bytes | None":
    where = f"configuration {path}"
    try:
        fd = open_regular(path, where)
    except FileNotFoundError:
        if not required:
            return None
        raise ShimError(f"configuration {path}: no such file") from None
    try:
        status = posix.fstat(fd)
        if not files.is_trusted(status):
            raise ShimError(f"configuration {path}: owned by uid {status.st_uid}; chown it to root")
        if status.st_mode & 0o022:
            raise ShimError(
                f"configuration {path}: mode {S_IMODE(status.st_mode):04o} lets others write it; chmod go-w it"
            )
        return read_all(fd, strict_json.MAX_BYTES, where)
    except OSError as error:
        raise ShimError(f"{where}: {reason(error)}") from None
    finally:
        posix.close(fd)


def open_regular(path: str, where: str) -> int:
    """Open the regular file `path` for reading. Raises FileNotFoundError, else ShimError with the reason.

    Anything else is refused before it is opened: to open a FIFO or a device can wait for ever, or do something.
    """
    if "\0" in path:
        raise ShimError(f"{where}: a path cannot contain a NUL byte")
    try:
        pinned = posix.open(path, (O_PATH or posix.O_NONBLOCK) | posix.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ShimError(f"{where}: {reason(error)}") from None
    try:
        if not S_ISREG(posix.fstat(pinned).st_mode):
            raise ShimError(f"{where}: not a regular file")
        return posix.open(f"/proc/self/fd/{pinned}" if O_PATH else path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise ShimError(f"{where}: {reason(error)}") from None
    finally:
        posix.close(pinned)


def read_all(fd: int, limit: int, where: str) -> bytes:
    """Everything that `fd` has to give, at most `limit` bytes; more is refused."""
    try:
        data = files.read_all(fd, limit)
    except OSError as error:
        raise ShimError(f"{where}: {reason(error)}") from None
    if len(data) > limit:
        raise ShimError(f"{where}: more than {limit} bytes")
    return data


def parse(value: object, where: str) -> "tuple[Config, list[str]]":
    """The Config in the parsed JSON `value` and every problem with its place."""
    config = Config()
    config.path = where
    if not isinstance(value, dict):
        return config, [f"{where}: a configuration is a JSON object"]
    problems: list[str] = []
    for key, item in value.items():
        reader = _READERS.get(key)
        if reader is None:
            problems.append(f"{where}: {key}: unknown key; known: {', '.join(sorted(_READERS))}")
            continue
        if item is None:
            continue  # as if it were absent, so that an inventory can take a default back
        json_path = f"{where}: {key}"
        problem = reader(config, key, item, json_path)
        problems.extend(problem)
    if config.private_directories:
        from . import config_tables

        problems.extend(config_tables.named_twice(config.private_directories, config.tmpfs, where))
    if config.agent_user is not None:
        from . import config_tables

        problems.extend(config_tables.one_state_directory(config.state_dir, config.agent_user, where))
    return config, problems


def parse_isolation(names: "list[object]", where: str) -> "tuple[tuple[str, ...], list[str]]":
    """The isolators named, each once, by the names and in the order of the table, and the problems."""
    problems = []
    found: list[str] = []
    aliases = isolation.aliases()
    for name in names:
        if isinstance(name, str) and (name in isolation.NAMES or name in aliases):
            found.extend(aliases.get(name, (name,)))
        else:
            problems.append(f"{where}: {name!r} is not an isolator; known: {', '.join((*isolation.NAMES, *aliases))}")
    return tuple([item.name for item in isolation.among(found)]), problems


def _isolation(config: Config, key: str, item: object, json_path: str) -> "list[str]":
    if not isinstance(item, list):
        return [f"{json_path}: not a list of isolators"]
    config.isolation, problems = parse_isolation(item, json_path)
    return problems


def _default_container_info(config: Config, key: str, item: object, json_path: str) -> "list[str]":
    config.default_container_info, problems = container_info.parse(item, json_path)
    return problems


def _table(config: Config, key: str, item: object, json_path: str) -> "list[str]":
    from . import config_tables  # many hosts have none of them

    value, problems = config_tables.READERS[key](item, json_path)
    setattr(config, key, value)
    return problems


def _boolean(config: Config, key: str, item: object, json_path: str) -> "list[str]":
    if not isinstance(item, bool):
        return [f"{json_path}: {item!r} is not true or false"]
    setattr(config, key, item)
    return []


def _directory(config: Config, key: str, item: object, json_path: str) -> "list[str]":
    fault = paths.absolute_fault(item)
    if fault is not None:
        return [f"{json_path}: {item!r} {fault}"]
    setattr(config, key, paths.normal(str(item)))
    return []


def _on_unenforceable(config: Config, key: str, item: object, json_path: str) -> "list[str]":
    if item not in (REFUSE, USAGE_ONLY):
        return [f"{json_path}: {item!r} is neither '{REFUSE}' nor '{USAGE_ONLY}'"]
    config.on_unenforceable = str(item)
    return []


_READERS = {
    "isolation": _isolation,
    "default_container_info": _default_container_info,
    "framework_volumes": _table,
    "hide_work_dir": _boolean,
    "work_dir": _directory,
    "pass_through": _table,
    "tmpfs": _table,
    "trusted_groups": _table,
    "private_directories": _table,
    "default_limits": _table,
    "on_unenforceable": _on_unenforceable,
    "packaged_helper": _directory,
    "state_dir": _directory,
    "agent_user": _table,
}
