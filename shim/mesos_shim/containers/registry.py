"""Reads the records of containers back, as a stranger's words: whatever a file holds, the others are still read.

Not on the launch path: record.py writes, this reads for `ps`, `usage`, `enter`, `gc` and `doctor`.
"""

import json
import os
import stat
from typing import Callable

from ..errors import ShimError, reason
from ..spec import request
from ..system import files, strict_json, unmapped
from . import record

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_PID = 1 << 31
MODES = ("enforced", "usage-only")


class Closed(ShimError):
    """Another user's records, which are that user's and root's to read."""


class _Fields:
    """Typed access to an object of unknown content."""

    def __init__(self, value: "dict[str, object]") -> None:
        self._value = value

    def text(self, name: str) -> str:
        value = self._value.get(name)
        if not isinstance(value, str):
            raise ShimError(f"{name}: not a string")
        if "\0" in value:
            raise ShimError(f"{name}: a NUL byte in it")  # no system call takes such a name
        return value

    def path(self, name: str) -> str:
        value = self.text(name)
        if not value.startswith("/"):
            raise ShimError(f"{name}: not an absolute path")
        return value

    def text_or_none(self, name: str) -> "str | None":
        return None if self._value.get(name) is None else self.text(name)

    def number(self, name: str, low: int, high: int) -> int:
        value = self._value.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value < high:
            raise ShimError(f"{name}: not a whole number from {low} to {high - 1}")
        return value

    def number_or_none(self, name: str, low: int, high: int) -> "int | None":
        return None if self._value.get(name) is None else self.number(name, low, high)

    def real_or_none(self, name: str) -> "float | None":
        value = self._value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
            raise ShimError(f"{name}: not a number above 0")
        return float(value)

    def _list(self, name: str) -> "list[object]":
        value = self._value.get(name, [])
        if not isinstance(value, list):
            raise ShimError(f"{name}: not a list")
        return value

    def texts(self, name: str) -> "list[str]":
        items = self._list(name)
        found = [item for item in items if isinstance(item, str)]
        if len(found) != len(items):
            raise ShimError(f"{name}: not a list of strings")
        return found

    def numbers(self, name: str, low: int, high: int) -> "list[int]":
        items = self._list(name)
        found = [item for item in items if isinstance(item, int) and low <= item < high]
        if len(found) != len(items):
            raise ShimError(f"{name}: not a list of whole numbers")
        return found

    def objects(self, name: str) -> "list[dict[str, object]]":
        items = self._list(name)
        found = [item for item in items if isinstance(item, dict)]
        if len(found) != len(items):
            raise ShimError(f"{name}: not a list of objects")
        return found

    def mapping(self, name: str) -> "dict[str, object]":
        value = self._value.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ShimError(f"{name}: not an object")
        return value

    def all_numbers(self) -> "dict[str, int]":
        return {name: self.number(name, 0, 1 << 64) for name in self._value}

    def all_paths(self) -> "dict[str, str]":
        return {name: self.path(name) for name in self._value}

    def inode(self, name: str) -> "tuple[int, int] | None":
        """Device and inode."""
        found = self.numbers(name, 0, 1 << 64) if self._value.get(name) is not None else []
        return (found[0], found[1]) if len(found) == 2 else None

    def is_true(self, name: str) -> bool:
        return self._value.get(name) is True

    def inner(self, name: str) -> "_Fields":
        return _Fields(self.mapping(name))


def _container_id(fields: _Fields, name: str) -> str:
    text = fields.text(name)
    request.check_id(text, name)
    return text


def _mode(fields: _Fields, name: str) -> str:
    text = fields.text(name)
    if text not in MODES:
        raise ShimError(f"mode: {text!r} is not one of {', '.join(MODES)}")
    return text


def _volumes(fields: _Fields, name: str) -> "list[dict[str, object]]":
    inner = map(_Fields, fields.objects(name))
    return [{key: item.text(key) for key in ("container_path", "host_path", "mode")} for item in inner]


def _limits(fields: _Fields, name: str) -> "dict[str, float | None]":
    inner = fields.inner(name)
    return {key: inner.real_or_none(key) for key in ("cpus", "mem")}


def _supervisor(fields: _Fields, name: str) -> "tuple[int, int] | None":
    found = fields.inner(name).all_numbers()
    return (found.get("pid", 0), found.get("start_time", 0)) if found else None


def _private(fields: _Fields, name: str) -> "list[tuple[str, tuple[int, int]]]":
    result = []
    for item in map(_Fields, fields.objects(name)):
        inode = item.inode("inode")
        if inode is None:
            raise ShimError("private: inode: not a device and an inode")
        result.append((item.path("path"), inode))
    return result


def _namespace(fields: _Fields, name: str) -> "int | None":
    return fields.number_or_none(name, 0, 1 << 64)


# Every field of a record but its version, in the order in which they are checked, and how each is read. What
# launch/description.py writes is held to it.
FIELDS: "dict[str, Callable[[_Fields, str], object]]" = {
    "container_id": _container_id,
    "executor_id": _Fields.text_or_none,
    "framework_id": _Fields.text_or_none,
    "pid": lambda fields, name: fields.number(name, 1, _MAX_PID),
    "start_time": lambda fields, name: fields.number_or_none(name, 0, 1 << 63),
    "pid_namespace": _namespace,
    "time_namespace": _namespace,
    "boot_id": _Fields.text_or_none,
    "mode": _mode,
    "isolation": _Fields.texts,
    "sandbox": _Fields.path,
    "sandbox_inode": _Fields.inode,
    "uid": lambda fields, name: fields.number(name, 0, 1 << 32),
    "gid": lambda fields, name: fields.number_or_none(name, 0, 1 << 32),
    "groups": lambda fields, name: fields.numbers(name, 0, 1 << 32),
    "no_new_privs": _Fields.is_true,
    "not_as_root": _Fields.text_or_none,
    "volumes": _volumes,
    "namespaces": lambda fields, name: fields.inner(name).all_numbers(),
    "cgroups": lambda fields, name: fields.inner(name).all_paths(),
    "limits": _limits,
    "supervisor": _supervisor,
    "remove": _Fields.inode,
    "private": _private,
    "quotas": lambda fields, name: fields.inner(name).all_numbers(),
}


class Entry:
    """One record, checked: every field has the type that its reader expects (FIELDS)."""

    __slots__ = (*FIELDS, "value", "written")

    container_id: str
    executor_id: "str | None"
    framework_id: "str | None"
    pid: int
    # In clock ticks since boot; None where the system does not tell a process so (macOS).
    start_time: "int | None"
    # In which `pid` is one; None in records of releases that did not say.
    pid_namespace: "int | None"
    # In which `start_time` was read; None before Linux 5.6, and in records of releases that did not say.
    time_namespace: "int | None"
    boot_id: "str | None"
    mode: str
    isolation: "list[str]"
    sandbox: str
    # Device and inode; None in records of releases that did not say.
    sandbox_inode: "tuple[int, int] | None"
    uid: int
    gid: "int | None"
    groups: "list[int]"
    no_new_privs: bool
    not_as_root: "str | None"
    volumes: "list[dict[str, object]]"
    namespaces: "dict[str, int]"
    limits: "dict[str, float | None]"
    # Pid and start time.
    supervisor: "tuple[int, int] | None"
    # Of its own outside of the sandbox, with device and inode; and the sizes that are counted, by path.
    private: "list[tuple[str, tuple[int, int]]]"
    quotas: "dict[str, int]"
    # With --rm: device and inode of the sandbox.
    remove: "tuple[int, int] | None"
    cgroups: "dict[str, str]"
    # All of it as it was read.
    value: "dict[str, object]"

    def __init__(self, value: "dict[str, object]", written: float) -> None:
        """From the parsed JSON `value` of a file last written at `written` (seconds since 1970); raises ShimError."""
        self.value = value
        fields = _Fields(value)
        for name, read_field in FIELDS.items():
            setattr(self, name, read_field(fields, name))
        self.written = written

    @property
    def cpus(self) -> "float | None":
        """What it was given of CPUs."""
        return self.limits["cpus"]

    @property
    def mem(self) -> "float | None":
        """What it was given of memory, in MB."""
        return self.limits["mem"]

    def same_as(self, other: "Entry") -> bool:
        """Whether both are of the same container, not of two that had the same name."""
        return (self.pid, self.start_time, self.boot_id) == (other.pid, other.start_time, other.boot_id)

    def public(self) -> "dict[str, object]":
        """What `ps --json` prints of it."""
        return {
            "container_id": self.container_id,
            "executor_id": self.executor_id,
            "framework_id": self.framework_id,
            "pid": self.pid,
            "mode": self.mode,
            "isolation": self.isolation,
            "volumes": self.volumes,
        }


def open_directory(state: str, name: str = "containers") -> "int | None":
    """A descriptor of the directory `name` in the state directory, None where there is none.

    Raises ShimError where somebody other than root and the caller could have written it.
    """
    path = f"{state}/{name}"
    try:
        fd = record.open_below(state, name, _DIRECTORY)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Closed(
            f"{path}: {reason(error)}: these are another user's records; run it as that user or as root"
        ) from None
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    status = os.fstat(fd)
    if files.others_write(status):
        os.close(fd)
        raise ShimError(
            f"{path}: owned by uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}: "
            "others can write records there"
        )
    return fd


def whose(state: str) -> "list[str]":
    """What is to be said of containers that are not looked for: an ordinary user's list is not the host's."""
    roots = record.STATE_OF_ROOT
    if not unmapped.is_ordinary() or state != record.state_dir(None) or not os.path.isdir(roots):
        return []
    return [f"only the containers of uid {os.geteuid()} are shown; root's are in {roots}, and only root can read them"]


def read_all(state: str, damaged: "dict[str, str] | None" = None) -> "tuple[list[Entry], list[str]]":
    """Every record in the state directory by id, and a warning for each file that is none. Raises ShimError.

    The names of those files and what is wrong with them are put into `damaged`.
    """
    directory = open_directory(state)
    if directory is None:
        return [], []
    try:
        return read_from(directory, state, damaged)
    finally:
        os.close(directory)


def read_from(directory: int, state: str, damaged: "dict[str, str] | None" = None) -> "tuple[list[Entry], list[str]]":
    """As `read_all`, from the open directory of records."""
    entries: list[Entry] = []
    warnings: list[str] = []
    for name in sorted(os.listdir(directory)):
        if name.startswith(".") or not name.endswith(".json"):
            continue  # a record that is being written; gc clears what was left
        try:
            entries.append(read(directory, name))
        except FileNotFoundError:
            continue  # its container has just ended
        except (ShimError, OSError) as error:
            text = reason(error) if isinstance(error, OSError) else str(error)
            warnings.append(f"{state}/containers/{name}: ignored: {text}")
            if damaged is not None:
                damaged[name] = text
    return entries, warnings


def read(directory: int, name: str) -> Entry:
    """The record in the file `name`. Raises OSError, or ShimError for a file that holds none."""
    value, written = read_value(directory, name)
    entry = Entry(value, written)
    if name != f"{entry.container_id}.json":
        raise ShimError(f"contains the record of {entry.container_id!r}")
    return entry


def read_value(directory: int, name: str) -> "tuple[dict[str, object], float]":
    """The JSON object in the file `name`, of our version, and when it was written. Raises OSError, ShimError."""
    value, status = record.read_object(directory, name)
    version = value.get("version")
    if version != record.VERSION:
        raise ShimError(f"version {version!r}, but this program knows only {record.VERSION}")
    return value, status.st_mtime


# What an earlier release may have written without a look at its length.
_LOOSE_BYTES = 16 * strict_json.MAX_BYTES


def read_loosely(directory: int, name: str) -> "dict[str, object]":
    """What can be read of a file that is not a record, unchecked; may be empty. Raises OSError, ShimError.

    Releases up to 0.2.0 wrote names that are no UTF-8, which no reader of theirs takes, for containers that run.
    """
    try:
        value = json.loads(files.read_trusted(name, _LOOSE_BYTES, directory)[0])
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
