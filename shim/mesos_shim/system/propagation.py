"""BIDIRECTIONAL volumes: some mounts stay peers of the host's, and nothing but them may (launch.cpp, prepareMounts)."""

from ..errors import ShimError, reason
from . import legacy_mounts, paths, syscalls


def make_slaves_but(shared: "list[str]") -> None:
    """Have every mount of this namespace receive from the host's and send nothing back, but for those at `shared`."""
    for line in reversed(legacy_mounts.mount_lines()):
        target = legacy_mounts.unescape(line[4])
        if target in shared:
            continue
        try:
            syscalls.mount(None, target, None, syscalls.MS_SLAVE)
        except OSError as error:
            raise ShimError(f"making {target!r} a slave of the host's mount: {reason(error)}") from None


def refuse_shared(path: str, what: str) -> None:
    """Refuse to mount `what` on `path` where the host would have that mount too."""
    found, longest = None, ""
    for line in legacy_mounts.mount_lines():
        target = legacy_mounts.unescape(line[4])
        if (path == target or paths.is_below(path, target)) and len(target) >= len(longest):
            longest, found = target, line
    if found is not None and any(field.startswith(b"shared:") for field in found[6:]):
        raise ShimError(
            f"{what}: {path!r} lies in the mount {longest!r}, which a BIDIRECTIONAL volume shares with the host: "
            "the host would have this mount too"
        )
