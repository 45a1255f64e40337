# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""One run at a time on a host: a lock that nobody but root can hold.

Whoever can open a directory can lock it (flock(2)), and most of what an installation changes can be opened by every
user. So a lock of root's lies in a directory that only root can open; another user's is on the directory itself. In
either case nobody waits for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time

ROOTS = next((path for path in ("/run", "/var/run") if os.path.isdir(path)), "/") + "/mesos-containerizer"
MAX_SECONDS = 600  # a run that installs on a slow host takes a minute
_PAUSE = 0.2


class LockError(OSError):
    """Why nothing was changed."""


@contextlib.contextmanager
def lock(path):
    """Holds the lock of `path`, a directory that is there."""
    fd = _roots(path) if os.geteuid() == 0 else os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _wait(fd, path)
        yield
    finally:
        os.close(fd)


def host():
    """Holds the lock of this host. Only root's runs need it: no one else can manage a unit or the agent's flags."""
    return lock("/") if os.geteuid() == 0 else contextlib.nullcontext()


def _roots(path):
    """The file that stands for `path`, in root's own directory."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(ROOTS, 0o700)
    directory = os.open(ROOTS, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(directory)
        if found.st_uid != 0 or stat.S_IMODE(found.st_mode) & 0o077:
            raise LockError(
                1, "uid %d, mode %04o, so others can open it" % (found.st_uid, stat.S_IMODE(found.st_mode)), ROOTS
            )
        name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=directory)
    finally:
        os.close(directory)


def _wait(fd, path):
    end = time.monotonic() + MAX_SECONDS
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                why = "another run has held its lock for %d s; lslocks shows it" % MAX_SECONDS
                raise LockError(11, why, path) from error
            time.sleep(_PAUSE)
