"""Walks a path by descriptors and checks every step: could somebody unprivileged have chosen where it leads?

The rule for root is systemd's "unsafe transition" (chase.c), sharpened (threats 6):
- below a directory that an unprivileged user owns, everything must be that user's;
- nothing may lie in a directory that others can write, unless it is sticky (then only the entry's owner can rename);
- symbolic links count only where nobody unprivileged could have made them (`/var/run` does, a link in /tmp does not).

Ordinary users may name what they can open, by the kernel's own rules, in directories of a team as well. A link counts
if it is root's or their own.

Nothing here writes. The descriptor that comes back pins the inode that was checked: whoever opens the path again, in
another mount namespace, compares (`Resolved.same`), so that what is used is what was checked.
"""

import errno
import posix
from _stat import S_IFMT, S_IMODE, S_ISLNK, S_ISVTX

from ..errors import ShimError, reason
from . import paths, syscalls
from .files import is_exactly
from .syscalls import O_PATH, file_system_type

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from . import acl
    from .credentials import Identity

_FUSE = 0x65735546  # include/uapi/linux/magic.h, FUSE_SUPER_MAGIC

_NO_ACCESS_LIST = (errno.ENODATA, errno.ENOTSUP, errno.ENOSYS)

# What the kernel does, path_resolution(7).
MAX_LINKS = 40

OPEN_STEP = O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC


class Status:
    """One directory on the way, `path`: its mode, owner and group, which a copy of it takes, and its inode."""

    __slots__ = ("gid", "inode", "mode", "path", "uid")

    def __init__(self, status: "posix.stat_result", path: str) -> None:
        self.path = path
        self.mode = status.st_mode
        self.uid = status.st_uid
        self.gid = status.st_gid
        self.inode = (status.st_dev, status.st_ino)


class Resolved:
    """A path that was walked: where it leads without links, what is there, and who controls it."""

    __slots__ = ("acl", "controller", "fd", "levels", "names", "path", "status", "users_own")

    def __init__(
        self, path: str, fd: int, status: "posix.stat_result", levels: "list[Status]", controller: "int | None"
    ) -> None:
        self.path = path
        self.fd = fd
        self.status = status
        # One Status for each component of `path`.
        self.levels = levels
        # The other paths that the walk went by: the one that was given, and what the links on it made of it.
        self.names: tuple[str, ...] = ()
        # The unprivileged uid that could rename or replace a component, or None.
        self.controller = controller
        # The access list, where it can matter: with one, the mode's group bits are its mask.
        self.acl: acl.Access | None = None
        # Whether a program of an unprivileged user's answers for its file system: then `status` says what that likes.
        self.users_own = False

    def writable_by(self, user: "Identity") -> bool:
        """Whether `user` may write it."""
        if self.acl is not None:
            return self.acl.lets_write(user, self.status.st_uid, self.status.st_gid)
        return user.owns_or_in(self.status.st_uid, self.status.st_gid, self.status.st_mode)

    def writable_by_strangers(self) -> bool:
        """Whether anyone but its owner, root and root's group may write it."""
        mode = self.status.st_mode
        if mode & 0o002 or (mode & 0o020 and self.status.st_gid != 0):
            return True
        return self.acl is not None and self.acl.strangers_write((0,))

    @property
    def kind(self) -> int:
        """The file's type (S_IFDIR and so on)."""
        return S_IFMT(self.status.st_mode)

    def same(self, fd: int) -> bool:
        """Whether the descriptor refers to the very inode that was checked."""
        status = posix.fstat(fd)
        return (status.st_dev, status.st_ino) == (self.status.st_dev, self.status.st_ino)


def _access(fd: int) -> "acl.Access | None":
    """The access list of what the O_PATH descriptor `fd` refers to, None without one. Raises OSError."""
    try:
        data = posix.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access")
    except OSError as error:
        if error.errno in _NO_ACCESS_LIST:
            return None
        raise
    from . import acl  # few directories have one

    return acl.Access(data)


class Missing(ShimError):
    """A component of the path is not there."""


def resolve(
    path: str,
    what: str,
    trusted: "tuple[int, ...]",
    nested: bool = False,
    take_step: "Callable[[int, str], int] | None" = None,
    strict: bool = False,
) -> Resolved:
    """Walk the absolute `path`. Raises Missing where a component is absent, ShimError where a step is unsafe.

    `what` names the path's role in messages ("volume '/opt': host_path '/srv/x'", for example). With `nested`
    directories of root's may lie on the way through one user's, if its end is that user's again: so an agent makes the
    sandbox of a nested container in its parent's (slave/paths.cpp, createSandboxDirectory). `take_step` opens the entry
    of a directory where that is not to be done blindly (system/guarded_walk.py). With `strict` the rule for root holds
    for ordinary users, too: what others put there would be run, or removed, on their behalf.
    """

    def follow(lenient: bool) -> Resolved:
        found = follow_links(path, what, trusted, nested, take_step or step_into, lenient)
        owner = found.status.st_uid
        if nested and not lenient and found.controller not in (None, owner):
            raise ShimError(f"{what}: {path!r} belongs to uid {owner}, not to uid {found.controller}")
        return found

    return follow(lenient=False) if strict else as_caller(follow)


def as_caller(follow: "Callable[[bool], Resolved]") -> Resolved:
    """What `follow` finds, leniently for an ordinary user: what the kernel lets them open is good enough.

    By the real uid: root checks as root also where it looks with the task user's rights. Whether root is an ordinary
    user by another number (`unshare -r`) is asked only where something is refused.
    """
    if posix.getuid() != 0:
        return follow(True)
    try:
        return follow(False)
    except Missing:
        raise
    except ShimError:
        from . import unmapped

        if not unmapped.root_is_missing():
            raise
    return follow(True)


def follow_links(
    path: str,
    what: str,
    trusted: "tuple[int, ...]",
    nested: bool,
    take_step: "Callable[[int, str], int]",
    lenient: bool,
) -> Resolved:
    """As `resolve`, by one of the two rules."""
    way = paths.split(path)
    names: tuple[str, ...] = ()
    for _ in range(MAX_LINKS):
        result = _walk(way, what, trusted, nested, take_step, lenient)
        if isinstance(result, Resolved):
            result.names = names
            return result
        names = (*names, paths.join(way))
        way = result
    raise ShimError(f"{what}: {path!r} leads through more than {MAX_LINKS} symbolic links")


def _walk(
    way: "list[str]",
    what: str,
    trusted: "tuple[int, ...]",
    nested: bool,
    take_step: "Callable[[int, str], int]",
    lenient: bool,
) -> "Resolved | list[str]":
    """The end of the way; or, where a trusted link is met, the way that it makes, to be walked from the root."""
    levels: list[Status] = []
    controller: int | None = None
    users_own = False
    fd = posix.open("/", OPEN_STEP)
    try:
        status = posix.fstat(fd)
        for depth, name in enumerate(way):
            here = paths.join(way[: depth + 1])
            child = _open_step(fd, name, here, what, take_step)
            try:
                writable = not lenient and controller is None and others_write(fd, status, trusted)
            finally:
                parent_status, parent, fd = status, fd, child
                posix.close(parent)
            status = posix.fstat(fd)
            controller = check_entry(parent_status, writable, status, controller, trusted, here, what, lenient, nested)
            if status.st_dev != parent_status.st_dev:
                behind = user_behind(fd, status, trusted, f"{what}: {here!r}")
                users_own = behind is not None
                controller = behind if controller is None else controller
            if S_ISLNK(status.st_mode):
                from . import links  # most paths have none

                links.check(status, controller, trusted, here, what, lenient)
                return links.way_through(fd, way, depth, here, what)
            levels.append(Status(status, here))
        found = Resolved(paths.join(way), fd, status, levels, controller)
        found.users_own = users_own
        if status.st_mode & 0o020:
            found.acl = _access(fd)
        fd = -1
        return found
    finally:
        if fd >= 0:
            posix.close(fd)


def step_into(fd: int, name: str) -> int:
    """The entry `name` of the directory `fd`, as the kernel's own walk finds it: an automount is mounted.

    With O_PATH alone it stays as it is, and what would be below it is not there; O_DIRECTORY has the kernel mount it
    (fs/namei.c, follow_automount).
    """
    try:
        return posix.open(name, OPEN_STEP | posix.O_DIRECTORY, dir_fd=fd)
    except NotADirectoryError:  # a file or a link
        return posix.open(name, OPEN_STEP, dir_fd=fd)


def _open_step(fd: int, name: str, here: str, what: str, take_step: "Callable[[int, str], int]") -> int:
    try:
        return take_step(fd, name)
    except FileNotFoundError:
        raise Missing(f"{what}: {here!r} does not exist") from None
    except OSError as error:
        raise ShimError(f"{what}: {here!r}: {reason(error)}") from None


def others_write(fd: int, status: "posix.stat_result", trusted: "tuple[int, ...]") -> bool:
    """Whether anyone but its owner, root and members of harmless groups may write the directory `fd`."""
    if status.st_mode & 0o002:
        return True
    if not status.st_mode & 0o020:
        return False
    if not _is_harmless(status.st_gid, trusted):
        return True
    access = _access(fd)
    return access is not None and access.strangers_write(trusted, lambda gid: _is_harmless(gid, trusted))


def _is_harmless(gid: int, trusted: "tuple[int, ...]") -> bool:
    """Whether nobody gains a right by the group: root's, the caller's own, one without members or a trusted one."""
    if gid in (0, _own_group()):
        return True
    from . import groups  # few directories on the way may be written by another group

    return groups.gives_nobody_a_right(gid, trusted)


def check_entry(
    parent: "posix.stat_result",
    writable: bool,
    child: "posix.stat_result",
    controller: "int | None",
    trusted: "tuple[int, ...]",
    here: str,
    what: str,
    lenient: bool,
    nested: bool,
) -> "int | None":
    """The uid that controls the entry `here` of the directory `parent`, or None where only trusted ones do."""
    if controller is None and parent.st_uid not in trusted:
        controller = parent.st_uid
    if lenient:
        # Only a link is checked, by who could have made it: where anybody can make an entry, what stands for a root who
        # is not mapped may be anybody's, with all that is below it (threats 6).
        anybodys = parent.st_mode & 0o022 and not is_exactly(child.st_uid, trusted)
        return child.st_uid if controller is None and anybodys else controller
    if controller is not None:
        # Root's directory in /tmp, where root is not mapped, may hold what is the caller's own (threats 6).
        mixed = nested or controller in trusted
        if child.st_uid != controller and not (mixed and child.st_uid in trusted):
            raise ShimError(f"{what}: {here!r} belongs to uid {child.st_uid}, but uid {controller} can replace it")
        return controller
    if not writable:
        return None
    if not parent.st_mode & S_ISVTX:
        mode = f"{S_IMODE(parent.st_mode):04o}"
        if not parent.st_mode & 0o002:
            raise ShimError(
                f"{what}: {here!r} lies in a directory that others can write (mode {mode}, group {parent.st_gid}); "
                "chmod g-w or +t it, or put the group into trusted_groups"
            )
        raise ShimError(
            f"{what}: {here!r} lies in a directory that others can write (mode {mode}); chmod o-w,g-w or +t it"
        )
    # Each is compared: what stands for a root who is not mapped may be anybody's where anybody can make it (threats 6).
    return None if is_exactly(child.st_uid, trusted) else child.st_uid


def user_behind(fd: int, status: "posix.stat_result", trusted: "tuple[int, ...]", where: str) -> "int | None":
    """The unprivileged uid whose program answers for the file system of `fd`, or None (threats 29).

    Raises ShimError where it says that its top is somebody else's.
    """
    if file_system_type(fd) != _FUSE:
        return None
    from . import fuse

    uid = fuse.mounter(status.st_dev, where)
    if uid in trusted:
        return None
    if status.st_uid != uid:
        raise ShimError(
            f"{where} is a file system of uid {uid}'s own (FUSE), which says that it is uid {status.st_uid}'s"
        )
    return uid


def _own_group() -> int:
    """The group whose members an ordinary caller trusts with their own directories: the primary group.

    By the real ids: root checks as root also where it looks with the task user's rights.
    """
    return posix.getgid() if posix.getuid() else 0


_NO_LINKS = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_RESOLVE = syscalls.RESOLVE_BENEATH | _NO_LINKS | syscalls.RESOLVE_NO_XDEV


def step(fd: int, name: str, flags: int, within_mount: bool = True) -> int:
    """Open the entry `name` of the directory `fd`: no link, and with `within_mount` no mount point either.

    One component at a time cannot be answered EAGAIN by a rename storm, as a whole path can (threats 12).
    """
    flags |= posix.O_NOFOLLOW | posix.O_CLOEXEC
    if not within_mount:
        return posix.open(name, flags, dir_fd=fd)
    try:
        return syscalls.openat2(fd, name, flags, _RESOLVE)
    except OSError as error:
        if error.errno not in syscalls.ABSENT:
            raise
    from ..system import legacy_mounts  # kernels before 5.6

    return legacy_mounts.step_within_mount(fd, name, flags)
