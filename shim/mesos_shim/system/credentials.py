"""The task's user: uid, gid and groups, as the kernel will see them."""

import posix
import sys

from ..errors import ShimError, reason

if False:  # for the type checker alone: no launch imports typing
    from typing import Any, Callable


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


def of_user(name: "str | None", where: str, keep_caller_groups: bool = False) -> Identity:
    """The identity of the account `name` (a name or a uid), with its groups; None: the caller's own.

    With `keep_caller_groups` whoever is that user already keeps their group and groups.
    """
    if name is None:
        return current()
    import pwd  # a look-up in the account database costs: only where it is asked for

    try:
        entry = pwd.getpwuid(int(name)) if name.isascii() and name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError, ValueError):
        raise ShimError(f"{where}: no account {name!r} on this host") from None
    if keep_caller_groups and entry.pw_uid == posix.geteuid():
        return current()
    groups = posix.getgrouplist(entry.pw_name, entry.pw_gid)
    switch = (entry.pw_uid, entry.pw_gid) != (posix.getuid(), posix.getgid()) or posix.geteuid() == 0
    if switch and posix.geteuid() != 0:
        raise ShimError(f"{where}: only root can launch as {name!r}; you are uid {posix.geteuid()}")
    return Identity(entry.pw_uid, entry.pw_gid, groups, switch)


def become(identity: Identity) -> None:
    """Take the ids on for good, and no right of the caller's along. Raises OSError or ShimError: then nothing may run.

    The kernel takes a process's capabilities at that only where no securebit says otherwise, and leaves the inheritable
    ones in any case (capabilities(7)): a unit's `SecureBits=` and `AmbientCapabilities=` would be the task's.
    """
    to_another = sys.platform == "linux" and identity.uid != 0
    if to_another:
        _clear_securebits()
    posix.setgroups(identity.groups)
    if not hasattr(posix, "setresuid"):  # macOS: where root calls these, they set the saved ids too
        posix.setgid(identity.gid)
        posix.setuid(identity.uid)
        return
    posix.setresgid(identity.gid, identity.gid, identity.gid)
    posix.setresuid(identity.uid, identity.uid, identity.uid)
    if to_another:
        _drop_capabilities()


def _clear_securebits() -> None:
    from . import syscalls

    bits = syscalls.prctl(syscalls.PR_GET_SECUREBITS)
    if not bits:
        return
    try:
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, 0)
    except OSError as error:
        raise ShimError(
            f"the caller's securebits {bits:#x} cannot be cleared ({reason(error)}), so the command would "
            "keep rights of root; remove SecureBits= from the caller's unit"
        ) from None


def _drop_capabilities() -> None:
    """Empty all sets but the bounding one, which says what set-id programs may gain, and look whether they are."""
    from . import syscalls

    syscalls.set_capabilities(0, 0, 0)
    # An ambient one is always permitted and inheritable too: without those there is none.
    left = syscalls.capabilities(), syscalls.prctl(syscalls.PR_GET_SECUREBITS)
    if left != ((0, 0, 0), 0):
        raise ShimError(f"the command would keep rights of the caller: capabilities and securebits {left}")


def open_as(identity: Identity, opener: "Callable[[str, int], int]", path: str, flags: int) -> int:
    """Open `path` by `opener` with the task user's rights, so that a 0700 parent keeps them out (threats 19)."""
    fd: int = with_rights_of(identity, lambda: opener(path, flags))
    return fd


def with_rights_of(identity: Identity, act: "Callable[[], Any]") -> "Any":
    """What `act` returns, done with the rights of that user where we are root: it finds what they could find.

    By the ids of file access alone (setfsuid(2)): a process whose effective ids are the user's is the user's to
    renice and to put on other processors.
    """
    if posix.geteuid() != 0 or identity.uid == 0:
        return act()
    from . import syscalls

    groups, gid, rights = posix.getgroups(), posix.getegid(), syscalls.capabilities()
    posix.setgroups(identity.groups)
    try:
        syscalls.set_file_ids(identity.uid, identity.gid)
        # Not left to the kernel, which with SECBIT_NO_SETUID_FIXUP would let us open everything.
        syscalls.set_capabilities(0, rights[1], rights[2])
        return act()
    finally:
        syscalls.set_capabilities(*rights)
        syscalls.set_file_ids(0, gid)
        posix.setgroups(groups)
