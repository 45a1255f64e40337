"""`--rm`: a sandbox for one launch, made where none was given, and removed with all that is in it."""

import errno
import posix
import sys
from _stat import S_IFDIR

from ..errors import ShimError, reason
from ..spec.request import LaunchRequest
from ..system import credentials, remove_tree
from ..system.files import trusted_uids
from ..system.other_walks import would_be
from ..system.syscalls import O_PATH
from ..system.walk import Resolved, resolve

# On disk, for a sandbox can be large; sticky, so that nobody renames it.
_PLACES = ("/var/tmp", "/tmp")  # noqa: S108
# What stands for a name that only a launch chooses.
_UNKNOWN = "mesos-shim-XXXXXXXXXXXXXXXX"
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC


def planned(request: LaunchRequest) -> Resolved:
    """The sandbox that a launch of `request` would make, as far as that can be told without making it."""
    owner = credentials.of_user(request.user, request.user_named)
    why = ""
    for directory in _PLACES:
        try:
            read_only = posix.statvfs(directory).f_flag & posix.ST_RDONLY
            if posix.access(directory, posix.W_OK | posix.X_OK):
                return _planned_in(directory, owner)
            why = posix.strerror(errno.EROFS if read_only else errno.EACCES)
        except OSError as error:
            why = reason(error)
    raise _nowhere(why)


def _planned_in(directory: str, owner: credentials.Identity) -> Resolved:
    status = posix.stat_result((S_IFDIR | 0o700, 0, 0, 2, owner.uid, owner.gid, 0, 0, 0, 0))
    if sys.platform != "linux":
        return Resolved(f"{directory}/{_UNKNOWN}", -1, status, [], None)
    trusted = trusted_uids()
    return would_be(resolve(directory, "--sandbox", trusted), _UNKNOWN, status, "--sandbox", trusted)


def _nowhere(why: str) -> ShimError:
    return ShimError(f"--rm: no sandbox can be made in {' or '.join(_PLACES)}: {why}; give --sandbox DIR")


class Sandbox:
    """The sandbox to be removed: the directory that it lies in, its name there, and which inode it is."""

    def __init__(self, request: LaunchRequest) -> None:
        """Make one where `request` names none, for its user alone. Raises ShimError."""
        self._parent = -1
        self._name = ""
        self._inode = (0, 0)
        if request.sandbox is not None:
            return
        owner = credentials.of_user(request.user, request.user_named)
        why = ""
        for directory in _PLACES:
            self._name = f"mesos-shim-{posix.urandom(8).hex()}"
            try:
                self._make(directory, owner)
            except OSError as error:
                why = reason(error)
                continue
            request.sandbox = f"{directory}/{self._name}"
            return
        raise _nowhere(why)

    def _make(self, directory: str, owner: credentials.Identity) -> None:
        parent = posix.open(directory, _DIRECTORY)
        try:
            posix.mkdir(self._name, 0o700, dir_fd=parent)
            try:
                fd = posix.open(self._name, _DIRECTORY | posix.O_NOFOLLOW, dir_fd=parent)
                try:
                    self._inode = _inode(posix.fstat(fd))
                    if owner.switch:
                        posix.fchown(fd, owner.uid, owner.gid)
                finally:
                    posix.close(fd)
            except OSError:
                _discard(self._name, parent)
                raise
        except OSError:
            posix.close(parent)
            raise
        self._parent = parent

    def adopt(self, found: Resolved) -> None:
        """Remember the sandbox as the launch found it, whatever has its name by now."""
        if self._parent >= 0:
            if _inode(found.status) != self._inode:
                raise ShimError(f"--rm: {found.path!r} was replaced while the launch was being prepared")
            return
        self._inode = _inode(found.status)
        above, _, self._name = found.path.rpartition("/")
        try:
            if found.fd >= 0 and sys.platform == "linux":
                self._parent = posix.open("..", O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=found.fd)
            else:
                self._parent = posix.open(above or "/", _DIRECTORY)
        except OSError as error:
            raise ShimError(f"--rm: {found.path!r}: {reason(error)}") from None

    def descriptors(self) -> "list[int]":
        """What must stay open until the end."""
        return [self._parent] if self._parent >= 0 else []

    def remove(self) -> "str | None":
        """Remove it with its content. Returns what could not be, and why."""
        return None if self._parent < 0 else remove_tree.remove(self._parent, self._name, self._inode)


def _inode(status: "posix.stat_result") -> "tuple[int, int]":
    return status.st_dev, status.st_ino


def _discard(name: str, parent: int) -> None:
    """Take the directory away that was made a moment ago; its new owner may have put something there."""
    try:
        posix.rmdir(name, dir_fd=parent)
    except OSError:
        return
