"""Opens and makes directories in the sandbox, where the task's user may rename anything at any moment.

Every step is one component from a descriptor, never through a link, never across a mount. What is made is made 0700
for ourselves, opened, checked to be ours and empty, and only then given its owner and mode (threats 3, 4, 8).
"""

import posix

from . import linux
from .errors import ShimError, reason
from .resolve import Status

# On what we made lies this attribute, which only root can set or read (xattr(7)), with the container path it was made
# for. A directory that is there already must be empty or carry it. `user.` for those who are not root: there a
# directory of theirs crosses no border.
_MARK = "trusted.mesos_shim"
_MARK_OF_USER = "user.mesos_shim"

_COPIED = ("system.posix_acl_access", "system.posix_acl_default")
_LABEL = "security.selinux"
_ENODATA, _ENOTSUP = 61, 95

_RESOLVE = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_MAGICLINKS | linux.RESOLVE_NO_XDEV
_OPEN_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK


def step(fd: int, name: str, flags: int, within_mount: bool = True) -> int:
    """Open the entry `name` of the directory `fd`: no link, and with `within_mount` no mount point either.

    One component at a time cannot be answered EAGAIN by a rename storm, as a whole path can (threats 12).
    """
    flags |= posix.O_NOFOLLOW | posix.O_CLOEXEC
    if not within_mount:
        return posix.open(name, flags, dir_fd=fd)
    try:
        return linux.openat2(fd, name, flags, _RESOLVE)
    except OSError as error:
        if error.errno not in linux.ABSENT:
            raise
    from . import classic  # kernels before 5.6

    return classic.step_within_mount(fd, name, flags)


def open_or_report(sandbox: int, parts: "list[str]", what: str) -> "tuple[int, list[str]]":
    """The deepest directory of `parts` that exists, and the components still to be made. Nothing is created."""
    fd = posix.dup(sandbox)
    try:
        for depth, name in enumerate(parts):
            try:
                child = step(fd, name, linux.O_PATH | posix.O_DIRECTORY)
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
    explanations = {20: "is a link or not a directory", 40: "is a symbolic link", 18: "is a mount of its own"}
    return ShimError(f"{what}: {path!r} in the sandbox {explanations.get(error.errno or 0, reason(error))}")


def make(
    sandbox: int,
    parts: "list[str]",
    covers: "list[Status]",
    mirrored: bool,
    target_fd: int,
    target: str,
    what: str,
    warnings: "list[str]",
) -> int:
    """The directory `parts` of the sandbox with mode and owner of the last of `covers`; made if it is not there.

    `covers` are the levels of the target. Where the source mirrors it, each level that has to be made copies its own;
    else parents are root's and 0755. Returns an O_PATH descriptor.
    """
    fd = posix.dup(sandbox)
    try:
        last = len(parts) - 1
        for depth, name in enumerate(parts):
            wanted = covers[-1] if depth == last else (covers[depth] if mirrored else None)
            child, made = _enter_or_make(fd, name, parts[: depth + 1], what)
            try:
                if depth == last:
                    _settle(child, made, covers[-1], target_fd, target, parts, what, warnings)
                elif made:
                    _dress(child, wanted, None)
            except BaseException:
                posix.close(child)
                raise
            posix.close(fd)
            fd = child
        return posix.open(".", linux.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=fd)
    except OSError as error:
        raise ShimError(f"{what}: {'/'.join(parts)!r} in the sandbox: {reason(error)}") from None
    finally:
        posix.close(fd)


def _enter_or_make(fd: int, name: str, parts: "list[str]", what: str) -> "tuple[int, bool]":
    made = False
    try:
        posix.mkdir(name, 0o700, dir_fd=fd)
        made = True
    except FileExistsError:
        pass
    try:
        child = step(fd, name, _OPEN_DIRECTORY)
    except OSError as error:
        raise _refusal(error, parts, what) from None
    if made:
        status = posix.fstat(child)
        # Somebody may have renamed ours away and another into its place since.
        if status.st_uid != posix.geteuid() or status.st_mode & 0o7077 & ~0o2000 or posix.listdir(child):
            posix.close(child)
            raise ShimError(f"{what}: {'/'.join(parts)!r} in the sandbox was replaced while it was being made")
    return child, made


def enter_or_copy(fd: int, name: str, level: Status, what: str) -> int:
    """The directory `name`, as a step on the way to a mount point; made as a copy of `level` where it is not there."""
    child, made = _enter_or_make(fd, name, [name], what)
    if made:
        _dress(child, level, None)
    return child


def _settle(
    child: int,
    made: bool,
    covers: Status,
    target_fd: int,
    target: str,
    parts: "list[str]",
    what: str,
    warnings: "list[str]",
) -> None:
    """Give the source itself what it copies, unless it is one that we made before."""
    root = posix.geteuid() == 0
    mark = _MARK if root else _MARK_OF_USER
    if not made:
        if _read(child, mark) == target.encode("utf-8", "surrogateescape"):
            return
        if not root and posix.fstat(child).st_uid == posix.geteuid():
            return
        if posix.listdir(child):
            raise ShimError(
                f"{what}: {'/'.join(parts)!r} in the sandbox is there already and not empty; "
                f"its content would pass for that of {target!r}"
            )
    _dress(child, covers, target_fd)
    if posix.listdir(child):  # nobody can add to it from here on whom the covered directory keeps out
        raise ShimError(f"{what}: {'/'.join(parts)!r} in the sandbox was filled while it was being made")
    try:
        posix.setxattr(child, mark, target.encode("utf-8", "surrogateescape"))
    except OSError as error:
        warnings.append(
            f"{what}: {'/'.join(parts)!r} could not be marked as ours ({reason(error)}): "
            "a second launch in this sandbox will want it empty"
        )


def _dress(fd: int, wanted: "Status | None", label_from: "int | None") -> None:
    """Owner, group and mode of `wanted` (None: root's 0755) for the directory `fd`; no ACL but that of `label_from`."""
    for name in _COPIED:
        _write(fd, name, None if label_from is None else _read_path(label_from, name))
    label = None if label_from is None else _read_path(label_from, _LABEL)
    if label is not None and label != _read(fd, _LABEL):
        posix.setxattr(fd, _LABEL, label)
    if posix.geteuid() == 0:  # others can give nothing away: what they make stays theirs
        posix.fchown(fd, wanted.uid if wanted is not None else 0, wanted.gid if wanted is not None else 0)
    posix.fchmod(fd, wanted.mode & 0o7777 if wanted is not None else 0o755)


def _read(fd: int, name: str) -> "bytes | None":
    try:
        return posix.getxattr(fd, name)
    except OSError as error:
        if error.errno in (_ENODATA, _ENOTSUP, 1, 38):
            return None
        raise


def _read_path(fd: int, name: str) -> "bytes | None":
    # An O_PATH descriptor has no attributes of its own to read; the link in /proc leads to the same inode.
    try:
        return posix.getxattr(f"/proc/self/fd/{fd}", name)
    except OSError as error:
        if error.errno in (_ENODATA, _ENOTSUP, 1, 38):
            return None
        raise


def _write(fd: int, name: str, value: "bytes | None") -> None:
    if value is not None:
        posix.setxattr(fd, name, value)
        return
    try:
        posix.removexattr(fd, name)
    except OSError as error:
        if error.errno not in (_ENODATA, _ENOTSUP):
            raise
