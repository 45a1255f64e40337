"""The new user namespace of an ordinary user's launch: who the caller is in it."""

import posix

from ..errors import ShimError, reason


def keep_ids(uid: int, gid: int) -> None:
    """Map the caller's uid and gid to themselves in the new user namespace (user_namespaces(7))."""
    try:
        # Without CAP_SETGID outside, setgroups must be denied before a gid may be mapped.
        _write_file("/proc/self/setgroups", "deny")
        _write_file("/proc/self/uid_map", f"{uid} {uid} 1")
        _write_file("/proc/self/gid_map", f"{gid} {gid} 1")
    except OSError as error:
        from . import namespace_remedies

        remedy = namespace_remedies.user_namespace_switch()
        raise ShimError(f"mapping uid {uid} into a new user namespace: {reason(error)}; {remedy}") from None


def _write_file(path: str, text: str) -> None:
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, text.encode("ascii"))
    finally:
        posix.close(fd)
