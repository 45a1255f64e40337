"""Reads the records of containers back, as a stranger's words: whatever a file holds, the others are still read.

Not on the launch path: `record` writes, this reads for `ps`, `usage`, `enter`, `gc` and `doctor`.
"""

import json
import os
import stat

from ..errors import ShimError, reason
from ..spec import request
from ..system import files, strict_json
from . import record

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_PID = 1 << 31
MODES = ("enforced", "usage-only")


class Closed(ShimError):
    """Another user's records, which are that user's and root's to read."""


class Entry:
    """One record, judged: every field has the type that its reader expects."""

    __slots__ = (
        "boot_id",
        "cgroups",
        "container_id",
        "cpus",
        "executor_id",
        "framework_id",
        "gid",
        "groups",
        "isolation",
        "mem",
        "mode",
        "namespaces",
        "no_new_privs",
        "pid",
        "pid_namespace",
        "private",
        "quotas",
        "remove",
        "sandbox",
        "sandbox_inode",
        "start_time",
        "supervisor",
        "time_namespace",
        "uid",
        "volumes",
        "written",
    )

    def __init__(self, value: "dict[str, object]", written: float) -> None:
        """From the parsed JSON `value` of a file last written at `written` (seconds since 1970); raises ShimError."""
        fields = _Fields(value)
        self.container_id: str = fields.text("container_id")
        request.check_id(self.container_id, "container_id")
        self.executor_id = fields.text_or_none("executor_id")
        self.framework_id = fields.text_or_none("framework_id")
        self.pid: int = fields.number("pid", 1, _MAX_PID)
        # In clock ticks since boot; None where the system does not tell a process so (macOS).
        self.start_time: int | None = fields.number_or_none("start_time", 0, 1 << 63)
        # In which `pid` is one; None in records of releases that did not say.
        self.pid_namespace: int | None = fields.number_or_none("pid_namespace", 0, 1 << 64)
        # In which `start_time` was read; None before Linux 5.6, and in records of releases that did not say.
        self.time_namespace: int | None = fields.number_or_none("time_namespace", 0, 1 << 64)
        self.boot_id = fields.text_or_none("boot_id")
        self.mode: str = fields.text("mode")
        if self.mode not in MODES:
            raise ShimError(f"mode: {self.mode!r} is not one of {', '.join(MODES)}")
        self.isolation = fields.texts("isolation")
        self.sandbox: str = fields.path("sandbox")
        # Device and inode; None in records of releases that did not say.
        self.sandbox_inode = _inode(value, "sandbox_inode", fields)
        self.uid: int = fields.number("uid", 0, 1 << 32)
        self.gid: int | None = fields.number_or_none("gid", 0, 1 << 32)
        self.groups = fields.numbers("groups", 0, 1 << 32)
        self.no_new_privs = value.get("no_new_privs") is True
        self.volumes = [_volume(item) for item in fields.objects("volumes")]
        self.namespaces = _Fields(fields.mapping("namespaces")).all_numbers()
        self.cgroups = _Fields(fields.mapping("cgroups")).all_paths()
        limits = _Fields(fields.mapping("limits"))
        self.cpus: float | None = limits.real_or_none("cpus")
        self.mem: float | None = limits.real_or_none("mem")
        supervisor = _Fields(fields.mapping("supervisor")).all_numbers()
        self.supervisor = (supervisor.get("pid", 0), supervisor.get("start_time", 0)) if supervisor else None
        # With --rm: device and inode of the sandbox.
        self.remove = _inode(value, "remove", fields)
        # Of its own outside of the sandbox, with device and inode; and the sizes that are counted, by path.
        self.private = [_own_directory(item) for item in fields.objects("private")]
        self.quotas = _Fields(fields.mapping("quotas")).all_numbers()
        self.written = written

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


def _inode(value: "dict[str, object]", name: str, fields: "_Fields") -> "tuple[int, int] | None":
    found = fields.numbers(name, 0, 1 << 64) if value.get(name) is not None else []
    return (found[0], found[1]) if len(found) == 2 else None


def _volume(item: "dict[str, object]") -> "dict[str, object]":
    fields = _Fields(item)
    return {name: fields.text(name) for name in ("container_path", "host_path", "mode")}


def _own_directory(item: "dict[str, object]") -> "tuple[str, tuple[int, int]]":
    fields = _Fields(item)
    inode = fields.numbers("inode", 0, 1 << 64)
    if len(inode) != 2:
        raise ShimError("private: inode: not a device and an inode")
    return fields.path("path"), (inode[0], inode[1])


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


def open_directory(state: str, name: str = "containers") -> "int | None":
    """A descriptor of the directory `name` in the state directory, None where there is none.

    Raises ShimError where somebody other than root and the caller could have written it.
    """
    path = f"{state}/{name}"
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Closed(
            f"{path}: {reason(error)}: these are another user's records; ask as that user, or as root"
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
    if os.geteuid() == 0 or state != record.state_dir(None) or not os.path.isdir(roots):
        return []
    return [f"only the containers of uid {os.geteuid()} are looked for; root's are in {roots}, for root to see"]


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
        raise ShimError(f"holds the record of {entry.container_id!r}")
    return entry


def read_value(directory: int, name: str) -> "tuple[dict[str, object], float]":
    """The JSON object in the file `name`, of our version, and when it was written. Raises OSError, ShimError."""
    value, written = read_object(directory, name)
    version = value.get("version")
    if version != record.VERSION:
        raise ShimError(f"version {version!r}, and this program knows {record.VERSION} only")
    return value, written


def read_object(directory: int, name: str) -> "tuple[dict[str, object], float]":
    """As `read_value`, of any version or of none."""
    text, written = _text(directory, name, strict_json.MAX_BYTES)
    value = strict_json.parse(text, "record")
    if not isinstance(value, dict):
        raise ShimError("not a JSON object")
    return value, written


# What an earlier release may have written without a look at its length.
_LOOSE_BYTES = 16 * strict_json.MAX_BYTES


def read_loosely(directory: int, name: str) -> "dict[str, object]":
    """What can be read of a file that is no record, not judged; empty where that is nothing. Raises OSError, ShimError.

    Releases up to 0.2.0 wrote names that are no UTF-8, which no reader of theirs takes, for containers that run.
    """
    try:
        value = json.loads(_text(directory, name, _LOOSE_BYTES)[0])
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(directory: int, name: str, limit: int) -> "tuple[bytes, float]":
    fd = os.open(name, _FLAGS, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise ShimError("not a regular file")
        if status.st_uid not in (0, os.geteuid()):
            raise ShimError(f"belongs to uid {status.st_uid}")
        if status.st_size > limit:
            raise ShimError(f"{status.st_size} bytes: no record is that long")
        return os.read(fd, limit), status.st_mtime
    finally:
        os.close(fd)
