"""The mounts that the configuration adds to a plan: private directories, and volumes in memory (isolators' too)."""

from _stat import S_IFDIR

from ..errors import ShimError
from ..system import paths
from .model import BIND, NOEXEC, OPEN, PRIVATE, STICKY, TMPFS, Facts, Mount

if False:  # for the type checker alone: no launch imports typing
    from ..spec.config_tables import PrivateDirectory, Tmpfs


def private(facts: Facts, taken: "set[str]") -> "list[Mount]":
    """The private directories whose paths are not `taken`."""
    return [_private(item, facts) for item in facts.private if facts.targets[item.container_path].path not in taken]


def tmpfs(items: "list[Tmpfs]", facts: Facts, taken: "set[str]") -> "list[Mount]":
    """The volumes in memory whose paths are not `taken`."""
    return [_tmpfs(item, facts) for item in items if facts.targets[item.container_path].path not in taken]


def _private(item: "PrivateDirectory", facts: Facts) -> Mount:
    covers = facts.targets[item.container_path]
    if covers.kind != S_IFDIR:
        raise ShimError(f"private_directories {item.container_path!r}: not a directory")
    mount = Mount(BIND, f"private_directories {item.container_path!r}", covers)
    mount.base = None if item.base is None else facts.bases[item.base]
    # An archive's own tmp/ in the sandbox must not be in the way.
    mount.source_parts = [PRIVATE if mount.base is None else facts.own, *paths.split(covers.path)]
    mount.kept = OPEN if mount.base is None and facts.sandbox.users_own else STICKY
    mount.quota = item.quota
    # What it covers may be mounted so that no program there is set-uid, or that none can be started.
    mount.restrictions = facts.restrictions.get(item.container_path, 0)
    if item.noexec is not None:
        mount.restrictions = mount.restrictions & ~NOEXEC | (NOEXEC if item.noexec else 0)
    return mount


def _tmpfs(item: "Tmpfs", facts: Facts) -> Mount:
    covers = facts.targets[item.container_path]
    if covers.kind != S_IFDIR:
        raise ShimError(f"tmpfs {item.container_path!r}: not a directory")
    mount = Mount(TMPFS, f"tmpfs {item.container_path!r}", covers)
    mount.size = item.size
    mount.noexec = bool(facts.restrictions[item.container_path] & NOEXEC) if item.noexec is None else item.noexec
    return mount
