"""`--rm`: a sandbox for one launch, made where none was given, and removed with all that is in it."""

import posix

from . import identity, paths, tree
from .errors import ShimError, reason
from .request import LaunchRequest
from .resolve import Resolved

# On disk, for a sandbox can be large; sticky, so that nobody renames it.
_PLACES = ("/var/tmp", "/tmp")  # noqa: S108


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
        why = "no such directory"
        for place in _PLACES:
            path = f"{place}/mesos-shim-{posix.urandom(8).hex()}"
            try:
                posix.mkdir(path, 0o700)
                if owner.switch:
                    posix.chown(path, owner.uid, owner.gid)
            except OSError as error:
                why = reason(error)
                continue
            request.sandbox = path
            self._open(path)
            return
        raise ShimError(f"--rm: no sandbox can be made in {' or '.join(_PLACES)}: {why}; give --sandbox DIR")

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

    def remove(self) -> None:
        """Remove it with its content, and say what could not be."""
        if self._parent < 0:
            return
        from . import launch

        problem = tree.remove(self._parent, self._name, self._inode)
        if problem is not None:
            launch.warn([f"--rm: the sandbox is not removed: {problem}"])
