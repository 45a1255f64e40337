# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Directories that every task's user must be able to enter, whatever the umask of the account that makes them.

sudo and login shells may have a umask of 077 (sudoers(5), umask): what they make is closed to everybody else.
"""

from __future__ import annotations

import contextlib
import os
import stat

_ENTER, _READ, _WRITE = 0o055, 0o044, 0o022


def make(path):
    """Makes a directory and what is missing on the way to it, each of mode 0755."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above != path:
        make(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chmod(path, 0o755)  # noqa: S103 (see above)


def missing(path):
    """The directory and those on the way to it that are not there, the deepest first."""
    found = []
    while path and not os.path.lexists(path):
        found.append(path)
        path = os.path.dirname(path)
    return found


def closed(paths):
    """Those of them that others cannot enter, or read where they are files; what is not there is not closed."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            wanted = _ENTER if stat.S_ISDIR(status.st_mode) else _READ
            if not stat.S_ISLNK(status.st_mode) and status.st_mode & wanted != wanted:
                found.append(path)
    return found


def writable(paths):
    """Those of them that group or others may write; what is not there is not."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(path)
            if not stat.S_ISLNK(status.st_mode) and status.st_mode & _WRITE:
                found.append(path)
    return found


def shut_above(path):
    """The first directory above it that others cannot enter, None where they can come to it."""
    parts = os.path.realpath(path).split(os.sep)
    for depth in range(1, len(parts)):
        above = os.sep.join(parts[:depth]) or os.sep
        with contextlib.suppress(FileNotFoundError):
            if not os.stat(above).st_mode & stat.S_IXOTH:
                return above
    return None


def hold(paths):
    """Opens them to everybody."""
    for path in paths:
        _change_mode(path, lambda mode: mode | (_ENTER if stat.S_ISDIR(mode) else _READ))


def protect(paths):
    """Leaves writing them to their owner."""
    for path in paths:
        _change_mode(path, lambda mode: mode & ~_WRITE)


def _change_mode(path, change):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fchmod(fd, stat.S_IMODE(change(os.fstat(fd).st_mode)))
    finally:
        os.close(fd)
