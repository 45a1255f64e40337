"""A user's FUSE mount that never answers, in a mount namespace of its own: whatever asks it waits until its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .shim import PYTHON

needs_fuse = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse")

# The connection is never initialised, so that every request waits for it, and a signal ends that. Its end closes it.
_MOUNT = """
import ctypes, os, sys
path, options, mode, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
fuse = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(fuse, True)
data = f"fd={fuse},rootmode={mode},user_id=65534,group_id=65534{options}"
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"fuse", os.fsencode(path), b"fuse", 6, data.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(command[0], command)
"""


def over(path: Path, *, answers_root: bool = True) -> list[str]:
    """Words before a command, which then sees such a mount over `path`, a directory or a file.

    With `answers_root` it was mounted with allow_other: root would have its answers too.
    """
    mode = f"{path.stat().st_mode & 0o170000:o}"
    options = ",allow_other" if answers_root else ""
    return ["unshare", "-m", "--propagation", "private", PYTHON, "-c", _MOUNT, str(path), options, mode]
