"""Who has mounted a FUSE file system: a program of that user's answers for all that is in it.

What stat(2) says there of owners and modes, and whether a directory is empty, is that user's word (`user_allow_other`
in /etc/fuse.conf lets root see it). What root has mounted is as good as any other file system. No launch imports this
that meets none.
"""

import posix

from ..errors import ShimError
from . import mountinfo


def mounter(device: int, where: str) -> int:
    """The uid that has mounted the FUSE file system `device` (st_dev). Raises OSError, ShimError."""
    number = f"{posix.major(device)}:{posix.minor(device)}"
    for line in mountinfo.read():
        if line.device != number:
            continue
        if not line.kind.startswith("fuse"):
            return 0  # virtiofs, which only root can mount
        for option in line.super_options:
            name, _, value = option.partition("=")
            if name == "user_id":
                return int(value)
    raise ShimError(f"{where} is on a FUSE file system whose owner /proc/self/mountinfo does not show")
