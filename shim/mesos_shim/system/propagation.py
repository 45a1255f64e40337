"""BIDIRECTIONAL volumes: some mounts stay peers of the host's, and nothing but them may (launch.cpp, prepareMounts)."""

from ..errors import ShimError, reason
from . import mountinfo, paths, syscalls


def make_slaves_but(shared: "tuple[str, ...]") -> None:
    """Have every mount of this namespace receive from the host's and send nothing back, but for those at `shared`."""
    for line in reversed(list(mountinfo.read())):
        if line.path in shared:
            continue
        try:
            syscalls.mount(None, line.path, None, syscalls.MS_SLAVE)
        except OSError as error:
            raise ShimError(f"making {line.path!r} a slave of the host's mount: {reason(error)}") from None


def refuse_shared(path: str, what: str) -> None:
    """Refuse to mount `what` on `path` where the host would have that mount too."""
    found = None
    for line in mountinfo.read():
        if (path == line.path or paths.is_below(path, line.path)) and (
            found is None or len(line.path) >= len(found.path)
        ):
            found = line
    if found is not None and found.shared:
        raise ShimError(
            f"{what}: {path!r} lies in the mount {found.path!r}, which a BIDIRECTIONAL volume shares with the host, so "
            "the host would get this mount too"
        )
