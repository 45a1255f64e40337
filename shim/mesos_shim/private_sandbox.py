"""`--rm`: a sandbox for one launch, made where none was given, and removed with all that is in it."""

import posix
import sys

from . import identity, paths, tree
from .errors import ShimError, reason
from .request import LaunchRequest
from .resolve import S_IFDIR, Resolved, resolve, trusted_uids, would_be

# On disk, for a sandbox can be large; sticky, so that nobody renames it.
_PLACES = ("/var/tmp", "/tmp")  # noqa: S108


# What stands for a name that only a launch chooses.
_UNKNOWN = "mesos-shim-XXXXXXXXXXXXXXXX"
_EACCES, _EROFS = 13, 30


def planned(request: LaunchRequest) -> Resolved:
    """The sandbox that a launch of `request` would make, as far as that can be told without making it."""
    owner = identity.of_user(request.user, request.user_named)
    why = ""
    for place in _PLACES:
        try:
            read_only = posix.statvfs(place).f_flag & posix.ST_RDONLY
            if posix.access(place, posix.W_OK | posix.X_OK):
                return _planned_in(place, owner)
            why = posix.strerror(_EROFS if read_only else _EACCES)
        except OSError as error:
            why = reason(error)
    raise _nowhere(why)


def _planned_in(place: str, owner: identity.Identity) -> Resolved:
    status = posix.stat_result((S_IFDIR | 0o700, 0, 0, 2, owner.uid, owner.gid, 0, 0, 0, 0))
    if sys.platform != "linux":
        return Resolved(f"{place}/{_UNKNOWN}", -1, status, [], None)
    trusted = trusted_uids()
    return would_be(resolve(place, "--sandbox", trusted), _UNKNOWN, status, "--sandbox", trusted)


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
        owner = identity.of_user(request.user, request.user_named)
        why = ""
        for place in _PLACES:
            path = f"{place}/mesos-shim-{posix.urandom(8).hex()}"
            try:
                posix.mkdir(path, 0o700)
            except OSError as error:
                why = reason(error)
                continue
            try:
                if owner.switch:
                    posix.chown(path, owner.uid, owner.gid)
                self._open(path)
            except OSError as error:
                why = reason(error)
                _discard(path)
                continue
            request.sandbox = path
            return
        raise _nowhere(why)

    def _open(self, path: str) -> None:
        parts = paths.split(path)
        status = posix.lstat(path)
        self._inode = (status.st_dev, status.st_ino)
        self._name = parts[-1]
        self._parent = posix.open(paths.join(parts[:-1]), posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)

    def judged(self, found: Resolved) -> None:
        """Remember the sandbox as the launch found it."""
        if self._parent < 0:
            try:
                self._open(found.path)
            except OSError as error:
                raise ShimError(f"--rm: {found.path!r}: {reason(error)}") from None

    def descriptors(self) -> "list[int]":
        """What must stay open until the end."""
        return [self._parent] if self._parent >= 0 else []

    def remove(self) -> "str | None":
        """Remove it with its content. Returns what could not be, and why."""
        return None if self._parent < 0 else tree.remove(self._parent, self._name, self._inode)


def _discard(path: str) -> None:
    """Take the directory away that was made a moment ago; its new owner may have put something there."""
    try:
        posix.rmdir(path)
    except OSError:
        return
