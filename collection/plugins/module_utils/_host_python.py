# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The interpreter that a release will run with: one that every task user can execute."""

from __future__ import annotations

import os
import subprocess
import sys

OLDEST = (3, 8)
_NAMES = ("python3",) + tuple("python3.%d" % minor for minor in range(14, 7, -1))
_DIRECTORIES = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")

# What the interpreter must answer: its version, and where its library lies.
_QUESTION = "import os, sys; print('%d.%d' % sys.version_info[:2]); print(os.path.dirname(os.__file__))"


class NoPython(ValueError):
    """No interpreter is fit; the text says which were looked at and what is wrong with them."""


def choose(configured):
    """The path of the interpreter to use. A given one must be fit; else the system's own comes first."""
    if configured:
        wrong = unfit(configured)
        if wrong:
            raise NoPython("mesos_shim_python %s %s" % (configured, wrong))
        return configured
    candidates = [os.path.join(d, name) for d in _DIRECTORIES for name in _NAMES]
    reasons = []
    for path in candidates + [sys.executable]:
        if not path or not os.path.exists(path):
            continue
        wrong = unfit(path)
        if not wrong:
            return path
        reasons.append("%s %s" % (path, wrong))
    # An ordinary user's own installation serves that user alone: their own interpreter will do.
    if os.geteuid() != 0 and sys.version_info >= OLDEST:
        return sys.executable
    raise NoPython("no usable Python for the shim: %s; install python3" % ("; ".join(reasons) or "none is installed"))


def unfit(path):
    """What is wrong with an interpreter, or None."""
    if not os.path.isabs(path):
        return "is not an absolute path"
    closed = _closed_to_others(os.path.realpath(path)) or _closed_to_others(os.path.dirname(os.path.abspath(path)))
    if closed:
        return "cannot be executed by every task user: %s is closed to others" % closed
    try:
        answer = subprocess.run(  # noqa: S603
            [path, "-IS", "-c", _QUESTION], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True
        ).stdout.decode()
        version, library = answer.splitlines()
        number = tuple(int(part) for part in version.split("."))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return "does not run: %s" % error
    if number < OLDEST:
        return "is Python %s; the shim needs 3.8 or newer" % version
    closed = _closed_to_others(library)
    return "cannot be used by every task user: %s is closed to others" % closed if closed else None


def _closed_to_others(path):
    """The first component of a path that an unrelated user could not pass, or None."""
    current = "/"
    for name in path.split("/")[1:]:
        current = os.path.join(current, name)
        try:
            mode = os.stat(current).st_mode
        except OSError:
            return current
        if not mode & 0o001:
            return current
    return None
