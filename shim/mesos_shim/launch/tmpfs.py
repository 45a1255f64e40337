"""Volumes in memory, and the directory that covers the agent's work_dir: each a tmpfs of its own."""

from _stat import S_IMODE

from ..errors import ShimError, reason
from ..plan.model import Mount
from ..system import syscalls
from ..system.mounts import Mounts
from .state import LaunchState

if False:  # for the type checker alone: no launch imports typing
    import posix


def make(mount: Mount, state: LaunchState, mounts: Mounts) -> int:
    """The tmpfs of `mount`, like what it covers, not attached yet."""
    covers = mount.covers.status
    options = {"mode": f"{S_IMODE(covers.st_mode):o}"}
    if not state.plan.new_user_namespace and _can_give(covers):
        options.update(uid=str(covers.st_uid), gid=str(covers.st_gid))
    options["size"] = mount.size or "1m"
    inodes = _inodes(options["size"])
    if inodes is not None:
        options["nr_inodes"] = inodes
    attributes = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
    if mount.noexec:
        attributes |= syscalls.MOUNT_ATTR_NOEXEC
    try:
        return mounts.tmpfs(options, attributes)
    except OSError as error:
        raise ShimError(f"{mount.what}: a tmpfs of size {options['size']}: {reason(error)}") from None


def _can_give(covers: "posix.stat_result") -> bool:
    """Whether root can give what it makes to the owner of `covers`: not where it is root by its number alone."""
    if (covers.st_uid, covers.st_gid) == (0, 0):
        return True
    from ..system import unmapped

    return not unmapped.root_is_missing()


def _inodes(size: str) -> "str | None":
    """How many files a tmpfs of that size may have: one for each page of 4 KiB, and 1,024 at least.

    The kernel's own limit goes by the host's memory, not by the size: empty files alone would take gigabytes of it
    (tmpfs(5)). For half of the memory, which is what `50%` says, it is the right one.
    """
    if size.endswith("%"):
        return None
    from ..spec.config_tables import bytes_of  # loaded when the size was read

    return str(max(1024, bytes_of(size) // 4096))
