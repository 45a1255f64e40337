"""The record of a running container: who, since when, in which namespaces, what is enforced.

One small JSON file in the state directory: /run/mesos-shim for root, for others as user_directory.py says. Writing
it is best effort (model.BEST_EFFORT): a full or missing /run must not stop a launch, but it is said.
"""

import errno
import posix
import sys
from _stat import S_IMODE, S_ISVTX

from ..errors import ShimError, reason
from ..system import files, paths, strict_json
from ..system.proc import start_time

VERSION = 1
STATE_OF_ROOT = "/run/mesos-shim" if sys.platform == "linux" else "/var/run/mesos-shim"
# Sticky, on every host, and not what containers usually get a private one of, as /tmp is.
OF_USER_AND_BOOT = "/var/tmp/mesos-shim-"  # noqa: S108
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC


def state_dir(configured: "str | None") -> str:
    """Where records lie: the configured directory, else root's or the user's."""
    if configured is not None:
        return configured
    if posix.geteuid() == 0 and _is_root():
        return STATE_OF_ROOT
    from . import user_directory  # not on a host whose agent is root's

    return user_directory.state_dir(OF_USER_AND_BOOT)


def _is_root() -> bool:
    """Whether uid 0 is the system's root, who can write /run, and not an ordinary user's in their own namespace."""
    if sys.platform != "linux" or posix.access("/run", posix.W_OK):
        return True
    from ..system import unmapped

    return not unmapped.is_ordinary()


def is_among_strangers(state: str) -> bool:
    """Whether anybody can put a link in the place of the state directory while it is not there (user_directory.py).

    systemd-tmpfiles(8) removes what is old there, but no file that is sticky (XDG Base Directory Specification).
    """
    return state.startswith(OF_USER_AND_BOOT) and "/" not in state[len(OF_USER_AND_BOOT) :]


def open_below(state: str, name: str, flags: int = _DIRECTORY) -> int:
    """The directory `name` of the state directory. Raises OSError."""
    if not is_among_strangers(state):
        return posix.open(f"{state}/{name}", flags)
    above = posix.open(state, _DIRECTORY)
    _check_owner(above, state)
    try:
        return posix.open(name, _DIRECTORY, dir_fd=above)
    finally:
        posix.close(above)


class Place:
    """The directory of records as far as it exists; what is missing is made when a record is written."""

    __slots__ = ("fd", "missing", "path", "replaceable")

    def __init__(self, path: str, fd: int, missing: "list[str]") -> None:
        self.path = path
        self.fd = fd
        self.missing = missing
        # Which file is the record of a container that has ended, whose id is given anew.
        self.replaceable: tuple[int, int] | None = None


def open_place(state: str) -> Place:
    """Open the directory of records before the mount namespace changes, for a volume may cover it. Raises OSError."""
    parts = paths.split(state) + ["containers"]
    for depth in range(len(parts), len(parts) - 3, -1):
        path = paths.join(parts[:depth])
        try:
            fd = open_below(state, parts[-1]) if depth == len(parts) else posix.open(path, _DIRECTORY)
        except FileNotFoundError:
            continue
        if depth > len(parts) - 2:  # ours: nobody else may put records there
            status = _check_owner(fd, path)
            if depth == len(parts) and status.st_mode & 0o077:
                _close_to_others(fd, path)
        return Place(state, fd, parts[depth:])
    raise FileNotFoundError(errno.ENOENT, f"no directory {paths.join(parts[:-2])}")


def _close_to_others(fd: int, path: str) -> None:
    """Records of releases before 0.3 were for all to read, and when `enter` reads them for all to see (inotify(7)).

    The state directory itself is closed where its name says that it is ours: another may serve others as well.
    """
    posix.fchmod(fd, 0o700)
    parent = posix.open("..", _DIRECTORY, dir_fd=fd)
    try:
        if paths.split(path)[-2] == "mesos-shim":
            _check_owner(parent, path)
            posix.fchmod(parent, 0o700)
    finally:
        posix.close(parent)


def _check_owner(fd: int, path: str) -> "posix.stat_result":
    status = posix.fstat(fd)
    if status.st_uid != posix.geteuid() or status.st_mode & 0o022:
        posix.close(fd)
        mode = f"{S_IMODE(status.st_mode):04o}"
        raise PermissionError(errno.EPERM, f"{path} belongs to uid {status.st_uid} with mode {mode}")
    return status


def write(place: Place, record: "dict[str, object]", named: bool = False) -> None:
    """Put the record in its place, whole or not at all. Raises OSError.

    With `named` the container's id is the caller's choice: refused, by a ShimError, where another container has it.
    """
    fd = place.fd
    for name in place.missing:
        try:
            posix.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            pass
        child = posix.open(name, _DIRECTORY, dir_fd=fd)
        posix.close(fd)
        place.fd = fd = child
        _check_owner(fd, name)
        posix.fchmod(fd, 0o700)  # whatever the caller's umask
    place.missing = []
    name = f"{record['container_id']}.json"
    # Of two launches with one name only one has this file, and checks and replaces what is there: no lock is needed.
    temporary = f".{name}.new" if named else f".{name}.{record['pid']}"
    try:
        file = posix.open(temporary, posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_CLOEXEC, 0o600, dir_fd=fd)
    except FileExistsError:
        if not named:
            raise
        raise ShimError(
            f"--container-id: {record['container_id']!r} is being assigned to another container at the "
            "moment; if that launch was killed, 'mesos-shim gc' frees the id after a minute"
        ) from None
    try:
        if named:
            _check_not_taken(place, str(record["container_id"]))
        data = strict_json.dump(record).encode("ascii") + b"\n"
        _check_readable(data)
        if posix.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, "no space left for the record")
        posix.fchmod(file, 0o600 | (S_ISVTX if is_among_strangers(place.path) else 0))
        posix.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
    except BaseException:
        posix.unlink(temporary, dir_fd=fd)
        raise
    finally:
        posix.close(file)


def _check_readable(data: bytes) -> None:
    """Raise OSError for what registry.py would not read back: nobody would know of that container, nor be told so."""
    if len(data) > strict_json.MAX_BYTES:
        raise OSError(errno.EFBIG, f"it would have {len(data)} bytes, and no reader takes so many")
    if b"\\ud" in data:  # a character above U+FFFF, or half of one, which stands for a byte that is no UTF-8
        try:
            strict_json.parse(data, "record")
        except ShimError:
            raise OSError(errno.EILSEQ, "a name in it, the sandbox's or a volume's, is no UTF-8") from None


def remove(place: Place, container_id: str, of: "dict[str, object]") -> None:
    """Take the record of a container that has ended away, if it is the one with the fields `of`: not another's of its
    name. Best effort: gc does it where nobody waited.
    """
    try:
        place = reopened(place)
        if place.missing:
            return
        found = read(place, container_id)
        if of and all(found.get(name) == value for name, value in of.items()):
            posix.unlink(f"{container_id}.json", dir_fd=place.fd)
    except OSError:
        return


def reopened(place: Place) -> Place:
    """The place as it is now, where what was missing may have been made meanwhile: by a child. Raises OSError."""
    return open_place(place.path) if place.missing else place


def read(place: Place, container_id: str) -> "dict[str, object]":
    """What the record of that id says, not checked; empty where there is none, or a damaged one."""
    try:
        return read_object(place.fd, f"{container_id}.json")[0]
    except (OSError, ShimError):
        return {}


def read_object(directory: int, name: str) -> "tuple[dict[str, object], posix.stat_result]":
    """The JSON object in the file `name`, not checked, and the file's status. Raises OSError, ShimError."""
    text, status = files.read_trusted(name, strict_json.MAX_BYTES, directory)
    value = strict_json.parse(text, "record")
    if not isinstance(value, dict):
        raise ShimError("not a JSON object")
    return value, status


def _check_not_taken(place: Place, container_id: str) -> None:
    """Refuse an id that was free when we asked, if another container has been given it since."""
    if which(place, f"{container_id}.json") in (None, place.replaceable):
        return
    record = read(place, container_id)
    pid = record.get("pid")
    if isinstance(pid, int) and record.get("start_time") == start_time(pid, living=True) is not None:
        raise ShimError(f"--container-id: {container_id!r} is in use by pid {pid}")
    raise ShimError(f"--container-id: {container_id!r} has just been assigned to another container")


def which(place: Place, name: str) -> "tuple[int, int] | None":
    """Which file has that name, None where none has."""
    try:
        status = posix.stat(name, dir_fd=place.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def explain_failure(error: OSError, place: str) -> str:
    """The warning for a record that could not be written."""
    return f"no record in {place}: {reason(error)}; ps and usage will not know this container"
