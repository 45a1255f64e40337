"""The operator's configuration: read with suspicion, judged whole, handed on as a value.

Its path is fixed when a release is staged. What it says steers a program that runs as root, so the file must belong
to root or to the caller and must not be writable by anyone else (threats 15).
"""

import posix

from ..errors import ShimError, reason
from ..system import paths, strict_json
from . import container_info

ISOLATORS = (
    "filesystem/shared",
    "posix/cpu",
    "posix/mem",
    "cgroups/cpu",
    "cgroups/mem",
    "namespaces/pid",
    "namespaces/ipc",
    "disk/du",
)
# Mesos' other names for them (slave/containerizer/mesos/containerizer.cpp, 0.21 and 1.11); `cgroups/all` is all that
# the program has.
ALIASES = {
    "posix/disk": ("disk/du",),
    "process": ("posix/cpu", "posix/mem"),
    "cgroups": ("cgroups/cpu", "cgroups/mem"),
    "cgroups/all": ("cgroups/cpu", "cgroups/mem"),
}
DEFAULT_ISOLATION = ("filesystem/shared", "posix/cpu", "posix/mem")
REFUSE = "refuse"
USAGE_ONLY = "usage-only"

# Linux; elsewhere a file is opened for reading at once.
O_PATH: int = getattr(posix, "O_PATH", 0)

_S_IFMT = 0o170000
_S_IFREG = 0o100000
_SIZE_UNITS = "kKmMgGtT"


class Config:
    """The configuration's keys as values; the defaults are those of a host without a configuration file."""

    __slots__ = (
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
        self.private_directories: list[PrivateDirectory] = []
        self.default_limits: dict[str, float] = {}
        self.on_unenforceable: str | None = None
        self.packaged_helper: str | None = None
        self.state_dir: str | None = None


class PassThrough:
    """A name or glob that stays visible below a covered path, if root or the task's user owns it."""

    __slots__ = ("pattern", "read_only")

    def __init__(self, pattern: str, read_only: bool) -> None:
        self.pattern = pattern
        self.read_only = read_only


class Tmpfs:
    """A volume in memory: `size` as tmpfs(5) takes it (bytes, or with k, m, g, t)."""

    __slots__ = ("container_path", "noexec", "size")

    def __init__(self, container_path: str, size: str, noexec: bool) -> None:
        self.container_path = container_path
        self.size = size
        self.noexec = noexec


class PrivateDirectory:
    """A directory of each container's own over `container_path`: in the sandbox, or below the directory `base`.

    `quota` in bytes is counted and not enforced (0: none). `noexec` None: as the file system that is covered.
    """

    __slots__ = ("base", "container_path", "noexec", "quota")

    def __init__(self, container_path: str, base: "str | None", quota: int = 0, noexec: "bool | None" = None) -> None:
        self.container_path = container_path
        self.base = base
        self.quota = quota
        self.noexec = noexec


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
        if status.st_uid not in (0, posix.geteuid()):
            raise ShimError(f"configuration {path}: owned by uid {status.st_uid}; chown it to root")
        if status.st_mode & 0o022:
            raise ShimError(
                f"configuration {path}: mode {status.st_mode & 0o7777:04o} lets others write it; chmod go-w it"
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
        raise ShimError(f"{where}: a path has no NUL byte")
    try:
        pinned = posix.open(path, (O_PATH or posix.O_NONBLOCK) | posix.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ShimError(f"{where}: {reason(error)}") from None
    try:
        if posix.fstat(pinned).st_mode & _S_IFMT != _S_IFREG:
            raise ShimError(f"{where}: not a regular file")
        return posix.open(f"/proc/self/fd/{pinned}" if O_PATH else path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise ShimError(f"{where}: {reason(error)}") from None
    finally:
        posix.close(pinned)


def read_all(fd: int, limit: int, where: str) -> bytes:
    """Everything that `fd` has to give, at most `limit` bytes; more is refused."""
    chunks: list[bytes] = []
    total = 0
    while True:
        try:
            chunk = posix.read(fd, 65536)
        except OSError as error:
            raise ShimError(f"{where}: {reason(error)}") from None
        if not chunk:
            return b"".join(chunks)
        total += len(chunk)
        if total > limit:
            raise ShimError(f"{where}: more than {limit} bytes")
        chunks.append(chunk)


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
        place = f"{where}: {key}"
        problem = reader(config, key, item, place)
        problems.extend(problem)
    if config.private_directories:
        problems.extend(_named_by_tmpfs_too(config, where))
    return config, problems


def parse_isolation(names: "list[object]", where: str) -> "tuple[tuple[str, ...], list[str]]":
    """The isolators named, each once, by the names and in the order of the table, and the problems."""
    problems = []
    found: set[str] = set()
    for name in names:
        if isinstance(name, str) and (name in ISOLATORS or name in ALIASES):
            found.update(ALIASES.get(name, (name,)))
        else:
            problems.append(f"{where}: {name!r} is not an isolator; known: {', '.join((*ISOLATORS, *ALIASES))}")
    return tuple(name for name in ISOLATORS if name in found), problems


def _isolation(config: Config, key: str, item: object, place: str) -> "list[str]":
    if not isinstance(item, list):
        return [f"{place}: not a list of isolators"]
    config.isolation, problems = parse_isolation(item, place)
    return problems


def _default_container_info(config: Config, key: str, item: object, place: str) -> "list[str]":
    config.default_container_info, problems = container_info.parse(item, place)
    return problems


def _framework_volumes(config: Config, key: str, item: object, place: str) -> "list[str]":
    if item in ("relative", "none", "all"):
        config.framework_volumes = str(item)
        return []
    if not isinstance(item, list):
        return [f"{place}: {item!r} is not 'relative', 'none', 'all' or a list of host path globs"]
    problems = []
    for index, glob in enumerate(item):
        fault = _absolute_fault(glob)
        if fault is not None:
            problems.append(f"{place}[{index}]: {glob!r} {fault}")
    config.framework_volumes = item
    return problems


def _boolean(config: Config, key: str, item: object, place: str) -> "list[str]":
    if not isinstance(item, bool):
        return [f"{place}: {item!r} is not true or false"]
    setattr(config, key, item)
    return []


def _directory(config: Config, key: str, item: object, place: str) -> "list[str]":
    fault = _absolute_fault(item)
    if fault is not None:
        return [f"{place}: {item!r} {fault}"]
    setattr(config, key, paths.normal(str(item)))
    return []


def _pass_through(config: Config, key: str, item: object, place: str) -> "list[str]":
    if not isinstance(item, list):
        return [f"{place}: not a list of paths or globs"]
    problems = []
    for index, entry in enumerate(item):
        pattern, mode = entry, container_info.RO
        if isinstance(entry, dict) and set(entry) <= {"path", "mode"}:
            pattern, mode = entry.get("path"), entry.get("mode", container_info.RO)
        fault = _absolute_fault(pattern)
        if fault is not None:
            problems.append(f"{place}[{index}]: {pattern!r} {fault}")
        elif not paths.split(str(pattern)):
            problems.append(f"{place}[{index}]: {pattern!r} is the root directory")
        elif mode not in (container_info.RW, container_info.RO):
            problems.append(f"{place}[{index}].mode: {mode!r} is neither 'RW' nor 'RO'")
        elif _has_glob(paths.join(paths.split(str(pattern))[:-1])):
            problems.append(f"{place}[{index}]: {pattern!r} has a wildcard before its last component")
        else:
            config.pass_through.append(PassThrough(paths.normal(str(pattern)), mode == container_info.RO))
    return problems


def _tmpfs(config: Config, key: str, item: object, place: str) -> "list[str]":
    if not isinstance(item, dict):
        return [f"{place}: not an object of container paths"]
    problems = []
    for path, settings in item.items():
        where = f"{place}[{path!r}]"
        fault = _absolute_fault(path) or container_info.forbidden_target(paths.normal(path))
        if fault is not None:
            problems.append(f"{where} {fault}")
            continue
        if isinstance(settings, str):
            settings = {"size": settings}
        if not isinstance(settings, dict) or not set(settings) <= {"size", "noexec"}:
            problems.append(f"{where}: not a size, nor an object of 'size' and 'noexec'")
            continue
        size, noexec = settings.get("size"), settings.get("noexec", False)
        if not isinstance(size, str) or not _is_size(size):
            problems.append(f"{where}.size: {size!r} is not a size such as '64m' (k, m, g, t or bytes, more than 0)")
        elif not isinstance(noexec, bool):
            problems.append(f"{where}.noexec: {noexec!r} is not true or false")
        elif any(other.container_path == paths.normal(path) for other in config.tmpfs):
            problems.append(f"{where}: {paths.normal(path)!r} is named twice")
        else:
            config.tmpfs.append(Tmpfs(paths.normal(path), size, noexec))
    return problems


def _private_directories(config: Config, key: str, item: object, place: str) -> "list[str]":
    if not isinstance(item, dict):
        return [f"{place}: not an object of container paths"]
    problems = []
    for path, settings in item.items():
        where = f"{place}[{path!r}]"
        fault = _absolute_fault(path) or container_info.forbidden_target(paths.normal(path))
        if fault is not None:
            problems.append(f"{where} {fault}")
            continue
        if not isinstance(settings, dict) or not set(settings) <= {"base", "size", "noexec"}:
            problems.append(f"{where}: not an object of 'base', 'size' and 'noexec'")
            continue
        found = _private_directory(paths.normal(path), settings, where, problems)
        if any(other.container_path == found.container_path for other in config.private_directories):
            problems.append(f"{where}: {found.container_path!r} is named twice")
        config.private_directories.append(found)
    return problems


def _private_directory(path: str, settings: "dict[str, object]", where: str, problems: "list[str]") -> PrivateDirectory:
    base, size, noexec = settings.get("base"), settings.get("size"), settings.get("noexec")
    if base is None:
        base = "sandbox"
    fault = None if base == "sandbox" else _absolute_fault(base)
    if fault is not None:
        problems.append(f"{where}.base: {base!r} is neither 'sandbox' nor the absolute path of a directory")
    elif base != "sandbox" and paths.normal(str(base)) == "/":
        problems.append(f"{where}.base: {base!r} is the root directory")
    if size is not None and (not isinstance(size, str) or not _is_size(size)):
        problems.append(f"{where}.size: {size!r} is not a size such as '64m' (k, m, g, t or bytes, more than 0)")
        size = None
    if noexec is not None and not isinstance(noexec, bool):
        problems.append(f"{where}.noexec: {noexec!r} is not true or false")
        noexec = None
    quota = 0 if size is None else bytes_of(str(size))
    return PrivateDirectory(path, None if base == "sandbox" else paths.normal(str(base)), quota, noexec)


def _named_by_tmpfs_too(config: Config, where: str) -> "list[str]":
    """The operator's two words about one path: neither may win in silence."""
    in_memory = [item.container_path for item in config.tmpfs]
    return [
        f"{where}: private_directories[{item.container_path!r}]: tmpfs names it too; take it out of one of them"
        for item in config.private_directories
        if item.container_path in in_memory
    ]


def _default_limits(config: Config, key: str, item: object, place: str) -> "list[str]":
    if not isinstance(item, dict):
        return [f"{place}: not an object of 'cpus' and 'mem'"]
    problems = []
    for name, limit in item.items():
        if name not in ("cpus", "mem"):
            problems.append(f"{place}.{name}: unknown limit; known: cpus, mem (MB)")
        elif isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < 1e9:
            problems.append(f"{place}.{name}: {limit!r} is not a number above 0")
        else:
            config.default_limits[name] = float(limit)
    return problems


def _on_unenforceable(config: Config, key: str, item: object, place: str) -> "list[str]":
    if item not in (REFUSE, USAGE_ONLY):
        return [f"{place}: {item!r} is neither '{REFUSE}' nor '{USAGE_ONLY}'"]
    config.on_unenforceable = str(item)
    return []


_READERS = {
    "isolation": _isolation,
    "default_container_info": _default_container_info,
    "framework_volumes": _framework_volumes,
    "hide_work_dir": _boolean,
    "work_dir": _directory,
    "pass_through": _pass_through,
    "tmpfs": _tmpfs,
    "private_directories": _private_directories,
    "default_limits": _default_limits,
    "on_unenforceable": _on_unenforceable,
    "packaged_helper": _directory,
    "state_dir": _directory,
}


def _absolute_fault(path: object) -> "str | None":
    if not isinstance(path, str):
        return "is not a string"
    fault = paths.fault(path)
    if fault is None and not path.startswith("/"):
        fault = "is not absolute"
    return fault


def _has_glob(path: str) -> bool:
    return any(character in path for character in "*?[")


def _is_size(text: str) -> bool:
    digits = text[:-1] if text[-1:] in _SIZE_UNITS and text[:-1] else text
    return digits.isascii() and digits.isdigit() and len(digits) <= 18 and int(digits) > 0


def bytes_of(size: str) -> int:
    """The size that was judged as one, in bytes."""
    unit = "kmgt".find(size[-1].lower()) + 1
    return int(size[:-1] if unit else size) << 10 * unit
