"""Opens and makes directories in the sandbox, where the task's user may rename anything at any moment.

Every step is one component from a descriptor, never through a link, never across a mount. What is made is made 0700
for ourselves, opened, checked to be ours and empty, and only then given its owner and mode (threats 3, 4, 8). All of
it is noted, so that a launch that fails further on can take it back (launch/rollback.py).
"""

import errno
import posix
from _stat import S_IMODE, S_ISUID, S_ISVTX

from ..errors import ShimError, reason
from ..system import syscalls, walk
from ..system.walk import OPEN_STEP, Status
from .state import LaunchState

# On what we made lies this attribute, which only root can set or read (xattr(7)), with the container path it was made
# for. A directory that is there already must be empty or carry it. `user.` for those who are not root: there a
# directory of theirs crosses no border. In a user namespace its root may set no other either: what has an owner and a
# mode that only this root could have given has its mark from this root, too (threats 8).
_MARK = "trusted.mesos_shim"
_MARK_OF_USER = "user.mesos_shim"
# Stands behind the path as long as only the launch that made the directory uses it: that one may take it back.
NEW = b"\0new"

_ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default")
_LABEL = "security.selinux"

# Launches beside each other in one sandbox are over with it in less.
_TRIES = 10
_OPEN_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK


def open_or_report(sandbox: int, parts: "list[str]", what: str) -> "tuple[int, list[str]]":
    """The deepest directory of `parts` that exists, and the components still to be made. Nothing is created."""
    fd = posix.dup(sandbox)
    try:
        for depth, name in enumerate(parts):
            try:
                child = walk.step(fd, name, syscalls.O_PATH | posix.O_DIRECTORY)
            except FileNotFoundError:
                result, fd = fd, -1
                return result, parts[depth:]
            except OSError as error:
                raise _refusal(error, parts[: depth + 1], what) from None
            posix.close(fd)
            fd = child
        result, fd = fd, -1
        return result, []
    finally:
        if fd >= 0:
            posix.close(fd)


def _refusal(error: OSError, parts: "list[str]", what: str) -> ShimError:
    path = "/".join(parts)
    explanations = {
        errno.ENOTDIR: "is a link or not a directory",
        errno.ELOOP: "is a symbolic link",
        errno.EXDEV: "is a mount of its own",
    }
    return ShimError(f"{what}: {path!r} in the sandbox {explanations.get(error.errno or 0, reason(error))}")


class Source:
    """A directory of the sandbox that is to become a volume: its path there, and what it shall look like."""

    __slots__ = ("levels", "parts", "target", "target_fd", "what")

    def __init__(
        self, parts: "list[str]", levels: "list[Status | None]", target: str, target_fd: int, what: str
    ) -> None:
        self.parts = parts
        # For each of `parts` what it copies where it has to be made; None: root's, 0755.
        self.levels = levels
        self.target = target
        self.target_fd = target_fd
        self.what = what

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"{self.what}: {'/'.join(self.parts)!r} in the sandbox"


def make(sandbox: int, source: Source, state: LaunchState) -> int:
    """The directory `source`, made if it is not there; what is made is noted in the state. An O_PATH descriptor."""
    fd = posix.dup(sandbox)
    try:
        last = len(source.parts) - 1
        for depth, name in enumerate(source.parts):
            child, made = enter_or_make(fd, name, source.parts[: depth + 1], source.what, state)
            try:
                if depth == last:
                    _adopt(child, made, source, state)
                else:
                    finish_level(child, made, source.levels[depth], state)
            except BaseException:
                posix.close(child)
                raise
            posix.close(fd)
            fd = child
        return posix.open(".", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
    except OSError as error:
        raise ShimError(f"{source.label}: {reason(error)}") from None
    finally:
        posix.close(fd)


def enter_or_make(fd: int, name: str, parts: "list[str]", what: str, state: LaunchState) -> "tuple[int, bool]":
    """The directory `name`, and whether it is the one that we have just made."""
    try:
        try:
            return walk.step(fd, name, _OPEN_DIRECTORY), False
        except FileNotFoundError:
            made = new_directory(fd, name, state)
        child = walk.step(fd, name, _OPEN_DIRECTORY)
    except OSError as error:
        raise _refusal(error, parts, what) from None
    try:
        # Somebody may have renamed ours away and another into its place since, or another launch has dressed it:
        # then it is checked as any that was there already.
        return child, made and _is_pristine(child)
    except BaseException:
        posix.close(child)
        raise


def new_directory(fd: int, name: str, state: LaunchState) -> bool:
    """Make the directory `name`, 0700, and note it in the state; False where something has that name already."""
    # Noted first: an interrupt may come right after it was made.
    directory = posix.dup(fd)
    state.notes.append(("made", directory, name))
    try:
        posix.mkdir(name, 0o700, dir_fd=fd)
    except OSError as error:
        state.notes.pop()
        posix.close(directory)
        if isinstance(error, FileExistsError):
            return False
        raise
    return True


def _is_pristine(fd: int, wanted: "Status | None" = None) -> bool:
    """Whether the directory `fd` is as `new_directory` makes it, whatever umask and the parent's set-group-id: empty.

    With `wanted` it may have that mode already: so a launch leaves it that was killed before it gave the owner.
    """
    status = posix.fstat(fd)
    if status.st_uid != posix.geteuid():
        return False
    killed = wanted is not None and wanted.uid != status.st_uid and S_IMODE(wanted.mode ^ status.st_mode) == 0
    return (killed or not status.st_mode & (S_ISUID | S_ISVTX | 0o077)) and is_empty(fd)


def finish_level(child: int, made: bool, wanted: "Status | None", state: LaunchState, wanted_fd: int = -1) -> None:
    """Dress a directory on the way to another, if it is ours; also one that a launch left bare when it was killed."""
    if made or _is_pristine(child, wanted):
        _apply_metadata(child, wanted, state, wanted_fd)


def is_empty(fd: int) -> bool:
    """Whether the directory `fd` has no entry. One is read: a stranger may have made millions."""
    with posix.scandir(fd) as entries:
        return next(entries, None) is None


def _adopt(child: int, made: bool, source: Source, state: LaunchState) -> None:
    """Give the source itself what it copies, unless it is one that we made before."""
    root = posix.geteuid() == 0
    target = source.target.encode("utf-8", "surrogateescape")
    stale = False
    if not made:
        found = mark_of(child)
        marked = found in (target, target + NEW)
        stale = marked and _is_stale(child, source)
        if marked and not stale:
            if found != target:
                set_mark(child, target)  # the other launch must not take it back from now on
            return
        if not root and posix.fstat(child).st_uid == posix.geteuid():
            return
        if not is_empty(child) and not _is_marked(child, target):
            raise ShimError(
                f"{source.label} already exists and is not empty, so its content would appear as that of "
                f"{source.target!r}"
            )
        if not _is_pristine(child):
            _note_metadata(child, state)
    _apply_metadata(child, source.levels[-1], state, source.target_fd)
    # Nobody can add to it from here on whom the covered directory keeps out. A launch beside this one may have made
    # it and be running by now: then its mark is there; an aged one has had it all along.
    if not is_empty(child) and (stale or not _is_marked(child, target)):
        raise ShimError(f"{source.label} was filled while the launch was being prepared")
    try:
        if made:
            set_mark(child, target + NEW, posix.XATTR_CREATE)
        else:
            set_mark(child, target)
    except FileExistsError:
        pass  # another launch has taken it meanwhile
    except OSError as error:
        state.warnings.append(
            f"{source.label} could not be marked as the shim's ({reason(error)}): "
            "a second launch in this sandbox needs it empty"
        )


def _is_stale(fd: int, source: Source) -> bool:
    """Whether what it was made for has another owner or mode by now; if so and it is empty, it is dressed anew.

    Its owner, where that is not root, may have changed its mode, as they may change that of what it covers.
    """
    wanted, status = source.levels[-1], posix.fstat(fd)
    if wanted is None or posix.geteuid() or status.st_uid == wanted.uid != 0:
        return False
    if (status.st_uid, status.st_gid, status.st_mode) == (wanted.uid, wanted.gid, wanted.mode) or _root_is_missing():
        return False
    if not is_empty(fd):
        raise ShimError(
            f"{source.label} is from an earlier launch: uid {status.st_uid}, gid {status.st_gid}, mode "
            f"{S_IMODE(status.st_mode):04o}, but {source.target!r} has uid {wanted.uid}, gid {wanted.gid}, mode "
            f"{S_IMODE(wanted.mode):04o} now; remove it, or launch in another sandbox"
        )
    return True


def _mark_name() -> str:
    """The attribute that says what a directory was made for, but for root in a user namespace."""
    return _MARK if posix.geteuid() == 0 else _MARK_OF_USER


def _is_root_of_a_namespace() -> bool:
    from ..system import unmapped  # asked where there is no mark to be read or set

    return posix.geteuid() == 0 and unmapped.is_nested()


def mark_of(where: "int | str", follow: bool = True) -> "bytes | None":
    """What the directory was made for, None for one that is not ours. Raises OSError."""
    found = _read(where, _mark_name(), follow)
    return _read(where, _MARK_OF_USER, follow) if found is None and _is_root_of_a_namespace() else found


def set_mark(fd: int, value: bytes, flags: int = 0) -> None:
    """Say of the directory `fd` what it was made for. Raises OSError."""
    try:
        posix.setxattr(fd, _mark_name(), value, flags)
    except PermissionError:
        if not _is_root_of_a_namespace():
            raise
        posix.setxattr(fd, _MARK_OF_USER, value, flags)


def _is_marked(fd: int, target: bytes) -> bool:
    return mark_of(fd) in (target, target + NEW)


def _note_metadata(fd: int, state: LaunchState) -> None:
    """Note how a directory that was there already looks, before it is changed."""
    status = posix.fstat(fd)
    mark = _MARK_OF_USER if _is_root_of_a_namespace() else _mark_name()
    attributes = {name: _read(fd, name) for name in (*_ACCESS_LISTS, mark)}
    state.notes.append(("dressed", posix.dup(fd), status.st_uid, status.st_gid, status.st_mode, attributes))


def _apply_metadata(fd: int, wanted: "Status | None", state: LaunchState, wanted_fd: int = -1) -> None:
    """Owner, group, mode, access lists and label of `wanted` (None: root's 0755, no list) for the directory `fd`.

    `wanted_fd` is its descriptor where the caller has one. Root's first of all: an owner of before could give it a list
    again behind each that we take away. Another owner last, who may change it from then on.
    """
    root = posix.geteuid() == 0  # others can give nothing away: what they make stays theirs
    if root:
        posix.fchown(fd, 0, 0)
        posix.fchmod(fd, 0o700)
    lists: dict[str, bytes | None] = dict.fromkeys(_ACCESS_LISTS)
    label, mode = None, 0o755
    if wanted is not None:
        mode = S_IMODE(wanted.mode)
        opened = _open_level(wanted) if wanted_fd < 0 else -1
        try:
            source = opened if wanted_fd < 0 else wanted_fd
            lists = {name: _read_pinned(source, name) for name in _ACCESS_LISTS}
            label = _read_pinned(source, _LABEL)
        finally:
            if opened >= 0:
                posix.close(opened)
    _apply(fd, mode, lists)
    _copy_label(fd, label, root, state)
    if root:
        _enforce_metadata(fd, mode, lists)
        if wanted is not None and (wanted.uid, wanted.gid) != (0, 0):
            _give(fd, wanted)


def _apply(fd: int, mode: int, lists: "dict[str, bytes | None]") -> None:
    for name, value in lists.items():
        _write(fd, name, value)
    posix.fchmod(fd, mode)


def _give(fd: int, wanted: Status) -> None:
    try:
        posix.fchown(fd, wanted.uid, wanted.gid)
    except OSError as error:
        # Of a root who is root by number alone it stays, as an ordinary user's own does.
        if error.errno != errno.EINVAL or not _root_is_missing():
            raise


def _root_is_missing() -> bool:
    from ..system import unmapped  # most launches never ask

    return unmapped.root_is_missing()


def _enforce_metadata(fd: int, mode: int, lists: "dict[str, bytes | None]") -> None:
    """See to it that the file system does as it was told, while nobody but root may change it again. Raises ShimError.

    Another launch of root's may have found the directory as bare as we did and dress it alike: what it has begun, which
    shows for a moment, is done once more.
    """
    for attempt in range(_TRIES):
        status = posix.fstat(fd)
        metadata = (status.st_uid, status.st_gid, S_IMODE(status.st_mode), {name: _read(fd, name) for name in lists})
        if metadata == (0, 0, mode, lists):
            return
        if attempt < _TRIES - 1:
            posix.fchown(fd, 0, 0)
            _apply(fd, mode, lists)
    raise ShimError(
        f"the file system of the sandbox does not keep owner and mode of a directory: uid {metadata[0]}, "
        f"gid {metadata[1]}, mode {metadata[2]:04o} instead of root's, {mode:04o}, or another access list"
    )


def _copy_label(fd: int, label: "bytes | None", root: bool, state: LaunchState) -> None:
    if label is None or label == _read(fd, _LABEL):
        return
    try:
        posix.setxattr(fd, _LABEL, label)
    except OSError as error:
        if root or error.errno not in (errno.EPERM, errno.EACCES):
            raise
        state.warnings.append(f"SELinux label {label.rstrip(bytes(1))!r} could not be copied: {reason(error)}")


def _open_level(level: Status) -> int:
    """A descriptor of the directory that `level` was read from; refused if another is there by now."""
    fd = posix.open(level.path, OPEN_STEP)
    try:
        status = posix.fstat(fd)
        if (status.st_dev, status.st_ino) != level.inode:
            raise ShimError(f"{level.path!r} was replaced while the launch was being prepared")
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _read(where: "int | str", name: str, follow: bool = True) -> "bytes | None":
    try:
        return posix.getxattr(where, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.ENOSYS):
            return None
        raise


def _read_pinned(fd: int, name: str) -> "bytes | None":
    # An O_PATH descriptor has no attributes of its own to read; the link in /proc leads to the same inode.
    return _read(f"/proc/self/fd/{fd}", name)


def _write(fd: int, name: str, value: "bytes | None") -> None:
    if value is not None:
        posix.setxattr(fd, name, value)
        return
    try:
        posix.removexattr(fd, name)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
