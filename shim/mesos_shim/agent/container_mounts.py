"""What an agent's isolators want mounted and made (ContainerMountInfo, ContainerFileOperation), as launch.cpp does it.

Under `filesystem/linux` this is how every volume comes: the agent has checked it, so it is done as it is said, in its
order. But a container's sandbox is its user's, and a nested one's lies in its parent's, whose tasks are running: no
path in a sandbox is followed through a link, and elsewhere none through one that an ordinary user could have made.

Sources: include/mesos/slave/containerizer.proto, src/slave/containerizer/mesos/launch.cpp and src/linux/fs.cpp, 1.11.
"""

import errno
import posix
from _stat import S_IMODE, S_ISDIR, S_ISREG

from ..errors import ShimError, reason
from ..plan import sandbox
from ..system import paths, syscalls
from ..system.files import trusted_uids
from ..system.walk import Missing, resolve
from . import common

_IS_LINK = (errno.ENOTDIR, errno.ELOOP)  # the first of a link on the way
_NO_LINKS = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
# What a remount of a bind mount sets anew (mount(2)), and so must be given again (statvfs(3) has the same bits).
_KEPT = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_READ_ONLY_BIND = syscalls.MS_BIND | syscalls.MS_RDONLY


class MountInfo:
    """One ContainerMountInfo."""

    __slots__ = ("fields", "flags", "options", "source", "target", "type", "where")

    def __init__(self, fields: "dict[str, object]", where: str) -> None:
        self.fields = fields
        self.where = where
        target = common.string(fields.get("target"), f"{where}.target")
        if target is None:
            raise ShimError(f"{where}.target: required")
        self.target = _path(target, f"{where}.target")
        self.source = common.string(fields.get("source"), f"{where}.source")
        self.type = common.string(fields.get("type"), f"{where}.type")
        self.options = common.string(fields.get("options"), f"{where}.options")
        self.flags = common.numbers([fields.get("flags", 0)], f"{where}.flags")[0]
        if self.flags & syscalls.MS_BIND:
            self.source = _path(self.source or "", f"{where}.source")

    @property
    def is_plain_bind(self) -> bool:
        """Whether it is a bind mount and nothing more, as filesystem/shared asks for."""
        return set(self.fields) == {"flags", "source", "target"} and self.flags & ~syscalls.MS_REC == syscalls.MS_BIND

    @property
    def shares(self) -> bool:
        """Whether it mounts nothing, but keeps what is mounted at its target a peer of the host's (BIDIRECTIONAL)."""
        return bool(self.flags & syscalls.MS_SHARED)


def read(value: object, where: str) -> "list[MountInfo]":
    """The mounts of a launch info. Raises ShimError for one that is not as the protocol has it."""
    return [MountInfo(item, f"{where}[{index}]") for index, item in enumerate(common.objects(value, where))]


def _path(path: str, where: str) -> str:
    fault = paths.fault(path) or (None if path.startswith("/") else "is not absolute")
    if fault is not None:
        raise ShimError(f"{where}: {path!r} {fault}")
    return paths.normal(path)


class Sandboxes:
    """The sandbox of a top-level container: in it lie those of all containers nested in it, and users own them."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def has(self, path: str) -> bool:
        """Whether the normal `path` lies in it."""
        return path == self.path or paths.is_below(path, self.path)

    def open(self, path: str) -> int:
        """An O_PATH descriptor of what lies in it at `path`, through no link. Raises OSError."""
        if self.fd < 0:
            self.fd = posix.open(self.path, syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        return _walk(posix.dup(self.fd), paths.split(path)[len(paths.split(self.path)) :])


def _step(fd: int, name: str) -> int:
    flags = syscalls.O_PATH | posix.O_CLOEXEC  # with O_NOFOLLOW a link itself would be opened (openat2(2))
    try:
        return syscalls.openat2(fd, name, flags, _NO_LINKS)
    except OSError as error:
        if error.errno not in syscalls.ABSENT:
            raise
    from ..system import legacy_mounts  # kernels before 5.6

    return legacy_mounts.step_without_link(fd, name, flags)


def top_sandbox(directory: str, depth: int) -> str:
    """The sandbox of the outermost container of the one at `depth` (1: itself) whose sandbox is `directory`."""
    parts = paths.split(directory)
    work_dir = sandbox.work_dir_of(directory)
    if work_dir is not None:
        return paths.join(parts[: len(paths.split(work_dir)) + 8])
    return paths.join(parts[: len(parts) - 2 * (depth - 1)])


def _open(path: str, sandboxes: Sandboxes, where: str) -> int:
    """An O_PATH descriptor of `path`, through no link of a user's. Raises Missing, ShimError."""
    try:
        return sandboxes.open(path) if sandboxes.has(path) else _open_outside(path, where)
    except FileNotFoundError:
        raise Missing(f"{where}: {path!r} does not exist") from None
    except OSError as error:
        why = "is a symbolic link, or one is on the way" if error.errno in _IS_LINK else reason(error)
        raise ShimError(f"{where}: {path!r} {why}") from None


def _open_outside(path: str, where: str) -> int:
    fd = posix.open("/", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        return _walk(fd, paths.split(path))
    except OSError as error:
        if error.errno not in _IS_LINK:
            raise
    # There are links; those of the system's own, such as /var/run, are followed.
    return resolve(path, where, trusted_uids()).fd


def _walk(fd: int, names: "list[str]") -> int:
    """The end of the way from the descriptor `fd`, which is closed, through no link. Raises OSError."""
    for name in names:
        try:
            child = _step(fd, name)
        finally:
            posix.close(fd)
        fd = child
    return fd


def mount(info: MountInfo, sandboxes: Sandboxes) -> None:
    """Mount one of them."""
    if info.shares:
        return
    try:
        _mount(info, sandboxes)
    except OSError as error:
        raise ShimError(f"{info.where}: mounting {info.source!r} on {info.target!r}: {reason(error)}") from None


def _mount(info: MountInfo, sandboxes: Sandboxes) -> None:
    source, opened = info.source, -1
    if source is not None and info.flags & (syscalls.MS_BIND | syscalls.MS_MOVE) and sandboxes.has(source):
        opened = _open(source, sandboxes, f"{info.where}.source")
        source = f"/proc/self/fd/{opened}"
    try:
        target = _open_target(info, source, sandboxes)
    except BaseException:
        _close(opened)
        raise
    try:
        syscalls.mount(source, _name(target, info.target), info.type, info.flags, info.options)
    finally:
        _close(opened)
        posix.close(target)
    # The kernel ignores MS_RDONLY with MS_BIND: only a remount makes it so.
    if info.flags & (_READ_ONLY_BIND | syscalls.MS_REMOUNT) == _READ_ONLY_BIND:
        _make_read_only(info, sandboxes)


def _name(fd: int, path: str) -> str:
    """What mount(2) is to be told: a descriptor's name cannot be led elsewhere, but /proc may be what is mounted."""
    return path if path == "/proc" else f"/proc/self/fd/{fd}"


def _close(fd: int) -> None:
    if fd >= 0:
        posix.close(fd)


def _make_read_only(info: MountInfo, sandboxes: Sandboxes) -> None:
    fd = _open(info.target, sandboxes, f"{info.where}.target")
    try:
        kept = posix.fstatvfs(fd).f_flag & _KEPT
        flags = syscalls.MS_REMOUNT | info.flags & (_READ_ONLY_BIND | syscalls.MS_REC) | kept
        syscalls.mount(None, f"/proc/self/fd/{fd}", None, flags)
    finally:
        posix.close(fd)


def _open_target(info: MountInfo, source: "str | None", sandboxes: Sandboxes) -> int:
    """The mount point; made where it is missing, as launch.cpp does: like its source, else a directory."""
    where = f"{info.where}.target"
    try:
        return _open(info.target, sandboxes, where)
    except Missing:
        if source is None:
            raise
    try:
        is_file = not S_ISDIR(posix.stat(source).st_mode)
    except OSError:
        is_file = False
    if is_file:
        directory, name = _open_parent(info.target, sandboxes, where)
        try:
            flags = posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_CLOEXEC
            posix.close(posix.open(name, flags, 0o644, dir_fd=directory))
        finally:
            posix.close(directory)
    else:
        make_directories(info.target, sandboxes, where)
    return _open(info.target, sandboxes, where)


def _open_parent(path: str, sandboxes: Sandboxes, where: str) -> "tuple[int, str]":
    """The directory that holds the entry `path`, made where it is missing, and the entry's name."""
    parts = paths.split(path)
    if not parts:
        raise ShimError(f"{where}: '/' is not an entry of a directory")
    directory = paths.join(parts[:-1])
    make_directories(directory, sandboxes, where)
    return _open(directory, sandboxes, where), parts[-1]


def make_directories(path: str, sandboxes: Sandboxes, where: str) -> None:
    """mkdir -p."""
    missing: list[str] = []
    parts = paths.split(path)
    while True:
        try:
            fd = _open(paths.join(parts), sandboxes, where)
            break
        except Missing:
            missing.insert(0, parts.pop())
    try:
        for name in missing:
            posix.mkdir(name, 0o755, dir_fd=fd)
            child = _step(fd, name)
            posix.close(fd)
            fd = child
    finally:
        posix.close(fd)


def operate(operations: "list[dict[str, object]]", sandboxes: Sandboxes, where: str) -> None:
    """Carry out the file operations: that is how a secret comes to its place."""
    for index, operation in enumerate(operations):
        here = f"{where}[{index}]"
        kind = operation.get("operation")
        do = _OPERATIONS.get(str(kind))
        values = operation.get(str(kind).lower())
        if do is None or not isinstance(values, dict):
            raise ShimError(f"{here}: {kind!r} is not an operation that mesos-shim knows")
        try:
            do(values, sandboxes, here)
        except OSError as error:
            raise ShimError(f"{here}: {kind}: {reason(error)}") from None


def _entry(values: "dict[str, object]", name: str, where: str) -> str:
    text = common.string(values.get(name), f"{where}.{name}")
    if text is None:
        raise ShimError(f"{where}.{name}: required")
    return text


def _link(values: "dict[str, object]", sandboxes: Sandboxes, where: str) -> None:
    text = _entry(values, "source", where)
    target = _path(_entry(values, "target", where), f"{where}.target")
    directory, name = _open_parent(target, sandboxes, where)
    try:
        posix.symlink(text, name, dir_fd=directory)
    finally:
        posix.close(directory)


def _mkdir(values: "dict[str, object]", sandboxes: Sandboxes, where: str) -> None:
    make_directories(_path(_entry(values, "target", where), f"{where}.target"), sandboxes, where)


def _mount_operation(values: "dict[str, object]", sandboxes: Sandboxes, where: str) -> None:
    mount(MountInfo(values, f"{where}.mount"), sandboxes)


def _rename(values: "dict[str, object]", sandboxes: Sandboxes, where: str) -> None:
    source = _path(_entry(values, "source", where), f"{where}.source")
    target = _path(_entry(values, "target", where), f"{where}.target")
    from_fd, from_name = _open_parent(source, sandboxes, where)
    to_fd, to_name = _open_parent(target, sandboxes, where)
    try:
        try:
            posix.rename(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(from_fd, from_name, to_fd, to_name)
            posix.unlink(from_name, dir_fd=from_fd)
    finally:
        posix.close(from_fd)
        posix.close(to_fd)


def _copy(from_fd: int, from_name: str, to_fd: int, to_name: str) -> None:
    """Content, owner and mode of a regular file, to another file system."""
    reading = posix.open(
        from_name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC, dir_fd=from_fd
    )
    try:
        status = posix.fstat(reading)
        if not S_ISREG(status.st_mode):
            raise ShimError(f"{from_name!r}: not a regular file, and its new place is on another file system")
        flags = posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC
        writing = posix.open(to_name, flags, 0o600, dir_fd=to_fd)
        try:
            while True:
                chunk = posix.read(reading, 1 << 16)
                if not chunk:
                    break
                while chunk:
                    chunk = chunk[posix.write(writing, chunk) :]
            posix.fchown(writing, status.st_uid, status.st_gid)
            posix.fchmod(writing, S_IMODE(status.st_mode))
        finally:
            posix.close(writing)
    finally:
        posix.close(reading)


_OPERATIONS = {"SYMLINK": _link, "MKDIR": _mkdir, "RENAME": _rename, "MOUNT": _mount_operation}
