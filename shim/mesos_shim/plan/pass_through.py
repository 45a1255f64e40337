"""Finds what the configuration's `pass_through` names below a covered path, of root's and of the task's user's.

Anybody may put entries there, so nothing about one ends a launch, nor makes it wait: what cannot be checked, or asked
without the risk that nobody answers (system/guarded_walk.py), stays hidden, and that is said.
"""

import posix
from _stat import S_IFMT

from ..errors import ShimError, reason
from ..system import guarded_walk, paths, unmapped
from ..system.credentials import Identity
from ..system.walk import Missing, Resolved, resolve
from .model import PASSABLE, Facts

if False:  # for the type checker alone: no launch imports typing
    from ..spec.config_tables import PassThrough

# More would cost a launch more descriptors than it may have.
MAX_PASSES = 64
# Of a directory where anybody may put names, so many are looked at: a million would take each launch a second.
MAX_NAMES = 16384
_WHAT = "configuration: pass_through"


def find(items: "list[PassThrough]", facts: Facts, trusted: "tuple[int, ...]") -> None:
    """Put the entries that `items` name into `facts.passed_through`, and into its warnings what stays hidden."""
    for item in items:
        hidden: list[str] = []
        for path in _paths(item.pattern, trusted, hidden):
            found = _passable(path, facts, trusted, hidden)
            if found is None:
                continue
            if len(facts.passed_through) == MAX_PASSES:
                posix.close(found.fd)
                hidden.append(f"{path!r}: {MAX_PASSES} entries are passed already")
            else:
                facts.passed_through.append((found, item.read_only))
        if hidden:
            more = f" (and {len(hidden) - 1} more)" if len(hidden) > 1 else ""
            facts.warnings.append(f"{_WHAT}: {item.pattern!r}: stays hidden: {hidden[0]}{more}")


def _paths(pattern: str, trusted: "tuple[int, ...]", hidden: "list[str]") -> "list[str]":
    """The paths that `pattern` may mean."""
    parts = paths.split(pattern)
    directory, wanted = paths.join(parts[:-1]), parts[-1]
    try:
        where = resolve(directory, _WHAT, trusted, take_step=guarded_walk.step)
    except Missing:
        return []
    except (ShimError, OSError) as error:
        hidden.append(_why(directory, error))
        return []
    try:
        names = _names(where, wanted, hidden) if any(mark in wanted for mark in "*?[") else [wanted]
    except OSError as error:
        hidden.append(_why(directory, error))
        return []
    finally:
        posix.close(where.fd)
    return [where.path.rstrip("/") + "/" + name for name in names]


def _why(path: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{path!r}: {reason(error)}"
    return str(error).replace(f"{_WHAT}: ", "", 1)


def _names(where: Resolved, wanted: str, hidden: "list[str]") -> "list[str]":
    from fnmatch import fnmatchcase  # only where the operator lists globs

    dotted = wanted.startswith(".")
    found = []
    readable = posix.open(f"/proc/self/fd/{where.fd}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        with posix.scandir(readable) as entries:
            for number, entry in enumerate(entries):
                if number == MAX_NAMES:
                    hidden.append(f"{where.path!r}: whatever comes after the first {MAX_NAMES} names in it")
                    break
                if fnmatchcase(entry.name, wanted) and (dotted or not entry.name.startswith(".")):
                    found.append(entry.name)
    finally:
        posix.close(readable)
    return sorted(found)


def _passable(path: str, facts: Facts, trusted: "tuple[int, ...]", hidden: "list[str]") -> "Resolved | None":
    """The entry, if root or the task's user owns it and it is a directory, a file or a socket."""
    if paths.is_below(facts.sandbox.path, path):
        hidden.append(f"{path!r}: the sandbox lies in it, and with it would other sandboxes")
        return None
    try:
        fd = guarded_walk.walk(path)
        try:
            status = posix.fstat(fd)
            if not _may_pass(status, facts.user):
                covered = any(paths.is_below(path, target.path) for target in facts.targets.values())
                if covered and unmapped.stands_for_root(status.st_uid):
                    hidden.append(f"{path!r}: this user namespace does not show whether it belongs to root")
                return None
        finally:
            posix.close(fd)
        found = resolve(path, _WHAT, trusted, take_step=guarded_walk.step)
    except (Missing, FileNotFoundError):
        return None
    except (ShimError, OSError) as error:  # a FUSE mount of a user's, for example
        hidden.append(_why(path, error))
        return None
    if not _may_pass(found.status, facts.user):
        posix.close(found.fd)
        return None
    return found


def _may_pass(status: "posix.stat_result", user: Identity) -> bool:
    return status.st_uid in (0, user.uid) and S_IFMT(status.st_mode) in PASSABLE
