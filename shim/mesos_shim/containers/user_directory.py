"""Where the records of an ordinary user lie who has configured nothing.

Root can make a directory for them, /run/mesos-shim-UID: the agent's unit does so where the agent is not root's. Else
they lie in a directory of the user and the boot, because the run directory of a login vanishes at the last logout while
what was started in it runs on. If records lie there already, as releases before 0.3 had them, it is used until it goes.
"""

import posix
from _stat import S_ISDIR

from ..system import proc, unmapped

# Nobody but root can make anything there.
OF_ROOTS_MAKING = "/run/mesos-shim-"


def state_dir(stem: str) -> str:
    """The directory of the caller's records; `stem` is how the path of one of the user and the boot begins."""
    uid = unmapped.outside(posix.geteuid())
    if _is_ours(f"{OF_ROOTS_MAKING}{uid}"):
        return f"{OF_ROOTS_MAKING}{uid}"
    run = f"/run/user/{uid}"
    configured = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if configured.startswith("/") and configured != run and _is_ours(configured):
        return configured + "/mesos-shim"
    boot = proc.boot_id()
    if boot is None:
        return run + "/mesos-shim"
    own = _own(stem, uid, boot)
    if not _is_ours(own) and _is_ours(run) and (_is_ours(run + "/mesos-shim") or _is_there(own)):
        return run + "/mesos-shim"
    return own


def _own(stem: str, uid: int, boot: str) -> str:
    return f"{stem}{uid}-{boot.replace('-', '')[:16]}"


def _is_ours(path: str) -> bool:
    """Whether the caller has a directory there, and no link."""
    try:
        status = posix.lstat(path)
    except OSError:
        return False
    return S_ISDIR(status.st_mode) and status.st_uid == posix.geteuid()


def _is_there(path: str) -> bool:
    """Whether somebody has put something there."""
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def of_earlier_boots(stem: str) -> "list[str]":
    """The caller's directories of boots before this one, whose containers have all ended."""
    boot = proc.boot_id()
    if boot is None:
        return []
    uid = unmapped.outside(posix.geteuid())
    parent, _, start = stem.rpartition("/")
    paths = [f"{parent}/{name}" for name in sorted(posix.listdir(parent)) if name.startswith(f"{start}{uid}-")]
    return [path for path in paths if path != _own(stem, uid, boot) and _is_ours(path)]
