"""The packaged mesos-containerizer, to which goes what we do not do ourselves."""

import posix
import sys

from .. import config as configuration
from .. import execute
from ..errors import ShimError, reason


def exec_packaged(config: configuration.Config, arguments: "list[str]", what: str) -> None:
    """Become the packaged helper that the configuration names, or refuse by `what` it was needed for."""
    path = config.packaged_helper
    if path is None:
        raise ShimError(
            f"{what}: needs the packaged mesos-containerizer; name its path as packaged_helper in the configuration"
        )
    try:
        status = posix.stat(path)
        if status.st_uid not in (0, posix.geteuid()) or status.st_mode & 0o022:
            raise ShimError(f"packaged_helper {path!r}: others than root can write it")
        if _same_as_ours(status):
            raise ShimError(f"packaged_helper {path!r} is this program itself; name the packaged one")
        execute.restore_signals()
        posix.execve(path, ["mesos-containerizer", *arguments], execute.environment())  # noqa: S606
    except OSError as error:
        raise ShimError(f"packaged_helper {path!r}: {reason(error)}") from None


def _same_as_ours(status: "posix.stat_result") -> bool:
    ours = posix.stat(sys.argv[0])
    return (ours.st_dev, ours.st_ino) == (status.st_dev, status.st_ino)
