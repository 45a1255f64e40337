"""CPU counters that never fall, kept between looks in `<state_dir>/usage.json`.

Live processes and their waited-for children are counted as they are. The time of a process that nobody of its
container waited for vanishes with it: the sum drops, and by what it dropped the counter's base is raised. A sum is
only trusted for that where every member could be read, parents before children (statistics.py): else a child that
ended in between would seem lost and then turn up in its parent's account.
"""

import contextlib
import fcntl
import json
import os
import time

from ..system import files
from . import record
from .processes import Process
from .registry import Entry

_LIMIT = 64 << 20
_NAMES = ("user", "system")


class Counters:
    """The stored state of all containers' counters."""

    def __init__(self, state: str, locked: bool = True) -> None:
        self._path = f"{state}/usage.json"
        self._lock = -1
        self._state: dict[str, dict[str, object]] = {}
        self._seen: dict[str, dict[str, object]] = {}
        self.warning: str | None = None
        if locked:
            self._open(state)
        self._read()

    def _open(self, state: str) -> None:
        try:
            status = os.stat(state, follow_symlinks=not record.is_among_strangers(state))
            if status.st_uid != os.geteuid():
                return  # another's records: they are read, and nothing is written beside them
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._lock = os.open(f"{state}/usage.lock", flags, 0o600)
            self._wait()
        except FileNotFoundError:
            return  # no records yet, so nothing to keep
        except OSError as error:
            self.warning = f"{state}: {error.strerror}: the CPU time of processes that nobody waited for is lost"

    def _wait(self) -> None:
        """One look at a time, so that an older one never overwrites a newer one's counters."""
        deadline = time.monotonic() + 5
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _read(self) -> None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return
        with open(fd, "rb") as file:
            if not files.is_trusted(os.fstat(fd)):
                return
            try:
                value = json.loads(file.read(_LIMIT))
            except (OSError, ValueError, RecursionError):
                return  # damaged: the counters start anew from what is alive
        if isinstance(value, dict):
            self._state = {key: item for key, item in value.items() if isinstance(item, dict)}

    def _of(self, entry: Entry) -> "dict[str, object]":
        """The stored counter of this very container, not of an earlier one of the same name."""
        stored = self._state.get(entry.container_id, {})
        return stored if stored.get("of") == _identity(entry) else {}

    def previous_members(self, entries: "list[Entry]") -> "dict[str, list[tuple[int, float]]]":
        """The members of each container at the last look."""
        found = {}
        for entry in entries:
            members = self._of(entry).get("members")
            if isinstance(members, list):
                found[entry.container_id] = [(item[0], item[1]) for item in members if _is_member(item)]
        return found

    def count(self, entry: Entry, live: "tuple[float, float]", whole: bool, members: "list[Process]") -> "list[float]":
        """User and system seconds, never less than before; `live` is what can be seen now, `whole` if all of it is."""
        stored = self._of(entry)
        result = []
        new: dict[str, object] = {"of": _identity(entry), "members": [(item.pid, item.start) for item in members]}
        for name, now in zip(_NAMES, live):
            base, last = _real(stored.get(f"{name}_base")), _real(stored.get(f"{name}_live"))
            if whole and now < last:
                base += last - now
            result.append(max(base + now, _real(stored.get(f"{name}_total"))))
            new[f"{name}_base"], new[f"{name}_live"] = base, now if whole else last
            new[f"{name}_total"] = result[-1]
        self._seen[entry.container_id] = new
        return result

    def keep(self, entry: Entry) -> None:
        """Leave the counter of a container of which nothing is seen from here as it is."""
        if entry.container_id in self._state:
            self._seen[entry.container_id] = self._state[entry.container_id]

    def save(self) -> None:
        """Keep what was counted, for those containers that are still there; let others look."""
        if self._lock < 0:
            return
        if self.warning is None and (self._seen or self._state):
            temporary = f"{self._path}.new"
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)  # of one that was killed; a FIFO there would be waited for
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(temporary, flags, 0o600), "w") as file:
                    json.dump(self._seen, file)
                os.replace(temporary, self._path)
            except OSError as error:
                self.warning = (
                    f"{self._path}: {error.strerror}: the CPU time of processes that nobody waited for is lost"
                )
        os.close(self._lock)
        self._lock = -1


def _identity(entry: Entry) -> "list[object]":
    return [entry.pid, entry.start_time, entry.boot_id]


def _is_member(item: object) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(isinstance(part, (int, float)) for part in item)


def _real(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e15 else 0.0
