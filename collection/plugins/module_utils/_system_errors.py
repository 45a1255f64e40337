# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What the system has refused, in one line that says what to do where that is known."""

from __future__ import annotations

import errno
import os

_FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM = "free some space there (df -h, df -i), then run it again"


def said(error, path, variable=None):
    """An OSError as a message.

    path: what it was about, where the error names none.
    variable: of the inventory, which says where that is. A full file system is blamed on it, not on a temporary file.
    """
    full = error.errno in _FULL
    if full and variable:
        where = "%s %s" % (variable, path)
    else:
        where = os.fsdecode(error.filename) if error.filename else path
    return "%s: %s" % (where, error.strerror or error) + (": " + ROOM if full else "")
