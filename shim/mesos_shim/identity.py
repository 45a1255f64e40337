"""The task's user: uid, gid and groups, as the kernel will see them."""

import posix

from .errors import ShimError, reason

if False:  # for the type checker alone: no launch imports typing
    from typing import Any, Callable

_EINVAL = 22


class Identity:
    """Whom the command runs as. `switch` says whether that differs from the caller, who then must be root."""

    __slots__ = ("gid", "groups", "switch", "uid")

    def __init__(self, uid: int, gid: int, groups: "list[int]", switch: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.switch = switch

    def owns_or_in(self, uid: int, gid: int, mode: int) -> bool:
        """Whether these ids may write a file of that owner, group and mode (ACLs aside: they only add)."""
        if self.uid == 0:
            return True
        if self.uid == uid:
            return bool(mode & 0o200)
        if gid == self.gid or gid in self.groups:
            return bool(mode & 0o020)
        return bool(mode & 0o002)


def current() -> Identity:
    """The caller's own."""
    try:
        groups = posix.getgroups()
    except OSError as error:
        raise ShimError(f"the caller's groups: {reason(error)}") from None
    return Identity(posix.geteuid(), posix.getegid(), groups, switch=False)


def of_user(name: "str | None", where: str, own_as_is: bool = False) -> Identity:
    """The identity of the account `name` (a name or a uid), with its groups; None: the caller's own.

    With `own_as_is` whoever is that user already keeps the group and the groups that he has.
    """
    if name is None:
        return current()
    import pwd  # a look-up in the account database costs: only where it is asked for

    try:
        entry = pwd.getpwuid(int(name)) if name.isascii() and name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError, ValueError):
        raise ShimError(f"{where}: no account {name!r} on this host") from None
    if own_as_is and entry.pw_uid == posix.geteuid():
        return current()
    groups = posix.getgrouplist(entry.pw_name, entry.pw_gid)
    switch = (entry.pw_uid, entry.pw_gid) != (posix.getuid(), posix.getgid()) or posix.geteuid() == 0
    if switch and posix.geteuid() != 0:
        raise ShimError(f"{where}: only root can launch as {name!r}; you are uid {posix.geteuid()}")
    return Identity(entry.pw_uid, entry.pw_gid, groups, switch)


def become(identity: Identity) -> None:
    """Take the ids on for good; a failure of any call refuses the launch."""
    posix.setgroups(identity.groups)
    if not hasattr(posix, "setresuid"):  # macOS: where root calls these, they set the saved ids too
        posix.setgid(identity.gid)
        posix.setuid(identity.uid)
        return
    posix.setresgid(identity.gid, identity.gid, identity.gid)
    posix.setresuid(identity.uid, identity.uid, identity.uid)


def lend(identity: Identity) -> None:
    """Take the ids on as real ones, which a child started with POSIX_SPAWN_RESETIDS makes its effective ones.

    Those of this process stay: it keeps its rights, nobody of that user can trace it, and `take_back` undoes it. The
    saved ones, which the child has from us, become its effective ones when it is the command (execve(2)).
    """
    if identity.uid != 0:
        _clear_ambient()
    posix.setgroups(identity.groups)
    posix.setresgid(identity.gid, -1, -1)
    posix.setresuid(identity.uid, -1, -1)


def _clear_ambient() -> None:
    """No capability survives the exec: the kernel clears these where all three ids are left, and one is not yet."""
    from . import linux

    try:
        linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno != _EINVAL:  # Linux before 4.3 has none
            raise


def real_ids() -> "tuple[list[int], int, int]":
    """What `lend` changes of this process: groups, gid, uid."""
    return posix.getgroups(), posix.getgid(), posix.getuid()


def take_back(ids: "tuple[list[int], int, int]") -> None:
    """Have the real ids and the groups again that were ours."""
    groups, gid, uid = ids
    posix.setresuid(uid, -1, -1)
    posix.setresgid(gid, -1, -1)
    posix.setgroups(groups)


def open_as(identity: Identity, opener: "Callable[[str, int], int]", path: str, flags: int) -> int:
    """Open `path` by `opener` with the task user's rights, so that a 0700 parent keeps him out (threats 19)."""
    fd: int = with_rights_of(identity, lambda: opener(path, flags))
    return fd


def with_rights_of(identity: Identity, act: "Callable[[], Any]") -> "Any":
    """What `act` returns, done with the rights of that user where we are root: it finds what they could find.

    Our real and saved ids stay root's, so nobody of that user can trace this process or send it a signal.
    """
    if posix.geteuid() != 0 or identity.uid == 0:
        return act()
    groups, gid = posix.getgroups(), posix.getegid()
    posix.setgroups(identity.groups)
    try:
        posix.setegid(identity.gid)
        posix.seteuid(identity.uid)
        return act()
    finally:
        posix.seteuid(0)
        posix.setegid(gid)
        posix.setgroups(groups)
