"""Decides what a namespace means for privileges: who could feed a set-id program, or root, with files of theirs."""

from _stat import S_IFDIR, S_ISVTX

from ..system.credentials import Identity
from ..system.walk import Resolved
from .model import CLOSED, OPEN, STICKY, Mount


def why_no_new_privs(mounts: "list[Mount]", user: Identity) -> "str | None":
    """The first volume that could feed a set-id program what the task's user could not, or None (threats 8, 24).

    Root's own files can feed it as well, one in the place of another: whose choice a source is counts, too.
    """
    for mount in mounts:
        if mount.kept < _kept_from(user, mount.covers):
            return f"{mount.target} is covered by what others than root could have chosen or can change"
    return None


def why_not_as_root(mounts: "list[Mount]", user: Identity) -> "str | None":
    """The first volume that could feed what root itself runs in this mount namespace, or None.

    A directory that we made is empty and root's where it covers one of root's; what anybody else brings is not.
    """
    for mount in mounts:
        ours = mount.source is None and mount.kept > OPEN
        if not ours and mount.kept < _kept_from(user, mount.covers):
            source = mount.source.path if mount.source is not None else "a directory on a user's own file system"
            return f"{mount.target} is covered by {source}, which others than root could have chosen or can change"
    return None


def kept_by_root(source: Resolved) -> int:
    """How well a volume's source is kept from everybody but root; who owns it can make it writable at any time."""
    if source.users_own or source.controller is not None or source.status.st_uid != 0:
        return OPEN
    if source.writable_by_strangers():
        return STICKY if _is_sticky(source) else OPEN
    return CLOSED


def _kept_from(user: Identity, covered: Resolved) -> int:
    """How well what is covered was kept from the task's user."""
    if user.uid == 0:
        return OPEN
    if not covered.writable_by(user):
        return CLOSED
    return STICKY if _is_sticky(covered) and covered.status.st_uid != user.uid else OPEN


def _is_sticky(found: Resolved) -> bool:
    return found.kind == S_IFDIR and bool(found.status.st_mode & S_ISVTX)
