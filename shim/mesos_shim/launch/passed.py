"""Opens what is passed through: names that a volume of the operator's covers, and that stay visible."""

import posix
from _stat import S_IFMT

from ..errors import reason
from ..plan.model import Mount
from ..system import guarded_walk
from .state import LaunchState


def open_name(mount: Mount, state: LaunchState) -> int:
    """What is passed through, at its name or at another one; -1 where it stays hidden after all.

    Programs replace such files at any time (kinit does), so the owner counts and not the inode.
    """
    try:
        fd = guarded_walk.walk(mount.target if mount.source is None else mount.source.path)
    except OSError as error:
        state.warnings.append(f"{mount.what}: stays hidden: {reason(error)}")
        return -1
    status, planned = posix.fstat(fd), mount.covers.status
    # In a new user namespace nobody can tell whether what another put in the place of root's is root's: then it stays.
    root_is_gone = state.plan.new_user_namespace and planned.st_uid != state.plan.user.uid
    same = mount.covers.same(fd) if root_is_gone else status.st_uid == planned.st_uid
    if not same or S_IFMT(status.st_mode) != S_IFMT(planned.st_mode):
        posix.close(fd)
        state.warnings.append(
            f"{mount.what}: stays hidden, because another user replaced it while the launch was being prepared"
        )
        return -1
    return fd
