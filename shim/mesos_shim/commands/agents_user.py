"""Containers of an agent that runs as a user of its own (`agent_user`), for root's `ps`, `usage` and `gc`.

The tasks of such an agent have its own user, so the records are a stranger's word: they could name root's processes
and paths. Root therefore never reads them. They are read with that user's rights (as_user.py), and what is shown or
cleared is what that user could see and remove. Root's own containers are looked at apart, and nothing is taken from
one list for the other.
"""

import contextlib
import io
import sys
from typing import Callable, Optional

from ..containers import record, registry
from ..errors import ShimError, one_line
from ..spec.config import Config
from ..system import credentials, unmapped
from ..system.credentials import Identity
from ..usage.sample import Sample, Used
from . import as_user
from .sweep import MAX_SECONDS

_SECONDS = 120.0
# Of the statistics: what the table shows of every container, and the only one that is no number.
_COUNTS = ("timestamp", "processes", "threads")
_LISTED = "disk_statistics"
# Of containers and of warnings: what is beyond would cost the metrics, or the logs, of all.
_MOST = 1000


def identity(config: Config) -> "Optional[Identity]":
    """The agent's user where that is another than the caller, who must be root; raises ShimError if there is none."""
    if config.agent_user is None or unmapped.is_ordinary():
        return None
    found = credentials.of_user(config.agent_user, "agent_user")
    return None if found.uid == 0 else found


def look(config: Config, take: "Callable[[str], Sample]") -> Sample:
    """What `take` finds in the caller's state directory, and for root in that of the agent's user as well."""
    own = record.state_dir(config.state_dir)
    found = take(own)
    found.warnings.extend(registry.whose(own))
    try:
        user = identity(config)
        if user is None:
            return found
        said = as_user.ask(user, lambda: _plain(take(record.state_dir(config.state_dir))), _SECONDS)
        more = _sample(said)
    except ShimError as error:
        found.warnings.append(f"the containers of agent_user {config.agent_user} are not known: {error}")
        return found
    taken = {item.entry.container_id for item in found.used}
    for item in more.used:
        if item.entry.container_id in taken:
            found.warnings.append(
                f"container {item.entry.container_id}: left out, because another one has the same id: the record is of "
                f"agent_user {config.agent_user}"
            )
        else:
            taken.add(item.entry.container_id)
            found.used.append(item)
    return Sample(found.used, found.ended + more.ended, found.warnings + more.warnings)


def clear(config: Config, sweep: "Callable[[], int]") -> int:
    """Have `sweep` clear with the rights of the agent's user, and say what it said; how many things failed."""
    user = identity(config)
    if user is None:
        return 0
    try:
        said = as_user.ask(user, lambda: _heard(sweep), MAX_SECONDS + _SECONDS)
        if not isinstance(said, list) or [type(item) for item in said] != [str, str, int]:
            raise ShimError("unreadable answer")
    except ShimError as error:
        reason = one_line(str(error))
        sys.stderr.write(f"mesos-shim: gc: nothing of agent_user {config.agent_user} is removed: {reason}\n")
        return 1
    out, err, failed = said
    for stream, text in ((sys.stdout, out), (sys.stderr, err)):
        for line in text.splitlines():
            stream.write(one_line(line) + "\n")
    return int(failed)


def _heard(sweep: "Callable[[], int]") -> "list[object]":
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        failed = sweep()
    return [out.getvalue(), err.getvalue(), failed]


def _plain(found: Sample) -> "dict[str, object]":
    return {
        "used": [[item.entry.value, item.entry.written, item.statistics] for item in found.used],
        "ended": found.ended,
        "warnings": found.warnings,
    }


def _sample(said: object) -> Sample:
    """The Sample that `_plain` made of one. Raises ShimError where something in it is not what it must be."""
    try:
        if not isinstance(said, dict):
            raise TypeError
        used = [_used(*item) for item in said["used"]]
        ended, warnings = ([str(item) for item in said[name]] for name in ("ended", "warnings"))
    except (KeyError, TypeError):
        raise ShimError("unreadable answer") from None
    more = {"containers": len(used) - _MOST, "warnings": len(warnings) - _MOST}
    del used[_MOST:], warnings[_MOST:]
    for what, count in more.items():
        if count > 0:
            warnings.append(f"{count} more {what} of agent_user are left out")
    return Sample(used, ended, warnings)


def _used(value: object, written: object, statistics: object) -> Used:
    if not (isinstance(value, dict) and isinstance(statistics, dict) and _is_number(written)):
        raise TypeError
    counts = [statistics[name] for name in _COUNTS if statistics]
    if not all(_is_number(item) for item in [*statistics.values(), *counts] if item is not statistics.get(_LISTED)):
        raise TypeError
    return Used(registry.Entry(value, float(str(written))), statistics)


def _is_number(value: object) -> bool:
    """One that can be added up and printed."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18
