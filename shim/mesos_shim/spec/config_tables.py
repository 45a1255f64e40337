"""The configuration's keys that are lists or tables: read only where the file has one of them."""

from ..system import paths
from . import container_info

if False:  # for the type checker alone: no launch imports typing
    from typing import Any, Iterator

_SIZE_UNITS = "kKmMgGtT"


class PassThrough:
    """A name or glob that stays visible below a covered path, if root or the task's user owns it."""

    __slots__ = ("pattern", "read_only")

    def __init__(self, pattern: str, read_only: bool) -> None:
        self.pattern = pattern
        self.read_only = read_only


class Tmpfs:
    """A volume in memory: `size` as tmpfs(5) takes it (bytes, or with k, m, g, t).

    `noexec` None: as the file system that is covered. It never has set-id programs or devices.
    """

    __slots__ = ("container_path", "noexec", "size")

    def __init__(self, container_path: str, size: str, noexec: "bool | None" = None) -> None:
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


def framework_volumes(item: object, json_path: str) -> "tuple[str | list[str], list[str]]":
    """Which absolute host paths frameworks may name: a word, or globs."""
    if item in ("relative", "none", "all"):
        return str(item), []
    if not isinstance(item, list):
        return "relative", [f"{json_path}: {item!r} is not 'relative', 'none', 'all' or a list of host path globs"]
    problems = []
    for index, glob in enumerate(item):
        fault = paths.absolute_fault(glob)
        if fault is not None:
            problems.append(f"{json_path}[{index}]: {glob!r} {fault}")
    return item, problems


def pass_through(item: object, json_path: str) -> "tuple[list[PassThrough], list[str]]":
    """Names and globs that stay visible."""
    if not isinstance(item, list):
        return [], [f"{json_path}: not a list of paths or globs"]
    found: list[PassThrough] = []
    problems = []
    for index, entry in enumerate(item):
        pattern, mode = entry, container_info.RO
        if isinstance(entry, dict) and set(entry) <= {"path", "mode"}:
            pattern, mode = entry.get("path"), entry.get("mode", container_info.RO)
        fault = paths.absolute_fault(pattern)
        if fault is not None:
            problems.append(f"{json_path}[{index}]: {pattern!r} {fault}")
        elif not paths.split(str(pattern)):
            problems.append(f"{json_path}[{index}]: {pattern!r} is the root directory")
        elif mode not in (container_info.RW, container_info.RO):
            problems.append(f"{json_path}[{index}].mode: {mode!r} is neither 'RW' nor 'RO'")
        elif _has_glob(paths.join(paths.split(str(pattern))[:-1])):
            problems.append(f"{json_path}[{index}]: {pattern!r} has a wildcard before its last component")
        else:
            found.append(PassThrough(paths.normal(str(pattern)), mode == container_info.RO))
    return found, problems


def trusted_groups(item: object, json_path: str) -> "tuple[list[str | int], list[str]]":
    """Groups whose members the operator trusts with what leads to a volume."""
    if not isinstance(item, list):
        return [], [f"{json_path}: not a list of groups"]
    problems = []
    for index, entry in enumerate(item):
        is_number = isinstance(entry, int) and not isinstance(entry, bool) and 0 <= entry < 2**32 - 1
        is_name = isinstance(entry, str) and entry != "" and not entry.isdigit() and not set(entry) & set(": ,\n\0")
        if not is_number and not is_name:
            problems.append(f"{json_path}[{index}]: {entry!r} is neither a group's name nor its number")
    return item, problems


def _by_path(item: "dict[str, object]", json_path: str, problems: "list[str]") -> "Iterator[tuple[str, Any, str]]":
    """What is said of each container path, and where; of a path that nothing may cover a problem instead."""
    for path, settings in item.items():
        where = f"{json_path}[{path!r}]"
        fault = paths.absolute_fault(path) or container_info.forbidden_target(paths.normal(path))
        if fault is None:
            yield paths.normal(path), settings, where
        else:
            problems.append(f"{where} {fault}")


def tmpfs(item: object, json_path: str) -> "tuple[list[Tmpfs], list[str]]":
    """Volumes in memory."""
    if not isinstance(item, dict):
        return [], [f"{json_path}: not an object of container paths"]
    found: list[Tmpfs] = []
    problems: list[str] = []
    for path, settings, where in _by_path(item, json_path, problems):
        if isinstance(settings, str):
            settings = {"size": settings}
        if not isinstance(settings, dict) or not set(settings) <= {"size", "noexec"}:
            problems.append(f"{where}: not a size, nor an object of 'size' and 'noexec'")
            continue
        size, noexec = settings.get("size"), settings.get("noexec")
        if not isinstance(size, str) or not _is_size(size):
            problems.append(f"{where}.size: {size!r} is not a size such as '64m' (k, m, g, t or bytes, more than 0)")
        elif noexec is not None and not isinstance(noexec, bool):
            problems.append(f"{where}.noexec: {noexec!r} is not true or false")
        elif any(other.container_path == path for other in found):
            problems.append(f"{where}: {path!r} is named twice")
        else:
            found.append(Tmpfs(path, size, noexec))
    return found, problems


def private_directories(item: object, json_path: str) -> "tuple[list[PrivateDirectory], list[str]]":
    """Directories of each container's own."""
    if not isinstance(item, dict):
        return [], [f"{json_path}: not an object of container paths"]
    result: list[PrivateDirectory] = []
    problems: list[str] = []
    for path, settings, where in _by_path(item, json_path, problems):
        if not isinstance(settings, dict) or not set(settings) <= {"base", "size", "noexec"}:
            problems.append(f"{where}: not an object of 'base', 'size' and 'noexec'")
            continue
        found = _private_directory(path, settings, where, problems)
        if any(other.container_path == found.container_path for other in result):
            problems.append(f"{where}: {found.container_path!r} is named twice")
        result.append(found)
    return result, problems


def _private_directory(path: str, settings: "dict[str, object]", where: str, problems: "list[str]") -> PrivateDirectory:
    base, size, noexec = settings.get("base"), settings.get("size"), settings.get("noexec")
    if base is None:
        base = "sandbox"
    fault = None if base == "sandbox" else paths.absolute_fault(base)
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


def named_twice(private: "list[PrivateDirectory]", in_memory: "list[Tmpfs]", where: str) -> "list[str]":
    """The operator's two words about one path: neither may win in silence."""
    taken = [item.container_path for item in in_memory]
    return [
        f"{where}: private_directories[{item.container_path!r}]: tmpfs names it too; remove it from one of them"
        for item in private
        if item.container_path in taken
    ]


def one_state_directory(state_dir: "str | None", user: str, where: str) -> "list[str]":
    """Root's records and those of the agent's user lie in two directories, each of one owner."""
    if state_dir is None:
        return []
    why = f"cannot be combined with agent_user, because root and {user} need a directory each; leave it out"
    return [f"{where}: state_dir: {why}"]


def agent_user(item: object, json_path: str) -> "tuple[str | None, list[str]]":
    """The account, by name or uid, as which the agent runs if that is not root."""
    if not isinstance(item, str) or not item or not item.isprintable() or ":" in item or "/" in item:
        return None, [f"{json_path}: {item!r} is not the name or uid, as a string, of the agent's user"]
    return item, []


def default_limits(item: object, json_path: str) -> "tuple[dict[str, float], list[str]]":
    """What a container is given that asks for no limits."""
    if not isinstance(item, dict):
        return {}, [f"{json_path}: not an object of 'cpus' and 'mem'"]
    found: dict[str, float] = {}
    problems = []
    for name, limit in item.items():
        if name not in ("cpus", "mem"):
            problems.append(f"{json_path}.{name}: unknown limit; known: cpus, mem (MB)")
        elif isinstance(limit, bool) or not isinstance(limit, (int, float)) or not 0 < limit < 1e9:
            problems.append(f"{json_path}.{name}: {limit!r} is not a number above 0")
        else:
            found[name] = float(limit)
    return found, problems


def _has_glob(path: str) -> bool:
    return any(character in path for character in "*?[")


def _is_size(text: str) -> bool:
    digits = text[:-1] if text[-1:] in _SIZE_UNITS and text[:-1] else text
    return digits.isascii() and digits.isdigit() and len(digits) <= 18 and int(digits) > 0


def bytes_of(size: str) -> int:
    """The size that was checked as one, in bytes."""
    unit = "kmgt".find(size[-1].lower()) + 1
    return int(size[:-1] if unit else size) << 10 * unit


READERS = {
    "framework_volumes": framework_volumes,
    "pass_through": pass_through,
    "tmpfs": tmpfs,
    "trusted_groups": trusted_groups,
    "private_directories": private_directories,
    "default_limits": default_limits,
    "agent_user": agent_user,
}
