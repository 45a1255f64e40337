"""`mesos-containerizer`: tells the two launch protocols apart; every other subcommand is the packaged helper's."""

import posix
import sys

from .. import config as configuration
from ..errors import ShimError, reason


def main(arguments: "list[str]", config_path: str) -> int:
    """Run the helper; its exit status, where it comes back at all."""
    if arguments[:1] != ["launch"]:
        config = configuration.read(config_path, required=False)
        exec_packaged(config, arguments, f"mesos-containerizer {' '.join(arguments[:1])}")
    if b"MESOS_CONTAINERIZER_LAUNCH_INFO" in posix.environ and len(arguments) == 1:
        from . import modern

        return modern.launch(config_path)
    from . import legacy

    return legacy.launch(arguments[1:], config_path)


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
        from .. import execute

        execute.restore_signals()
        posix.execve(path, ["mesos-containerizer", *arguments], posix.environ)  # noqa: S606
    except OSError as error:
        raise ShimError(f"packaged_helper {path!r}: {reason(error)}") from None


def _same_as_ours(status: "posix.stat_result") -> bool:
    ours = posix.stat(sys.argv[0])
    return (ours.st_dev, ours.st_ino) == (status.st_dev, status.st_ino)


def wait_for_agent(reading: int, writing: int) -> None:
    """Close the write end and read the agent's one byte: it has isolated and fetched. Raises ShimError at its end."""
    try:
        posix.close(writing)
        # Its value says nothing: an agent writes whatever its buffer holds.
        byte = posix.read(reading, 1)
        posix.close(reading)
    except OSError as error:
        raise ShimError(f"the agent's pipe {reading}: {reason(error)}") from None
    if not byte:
        raise ShimError("the agent has gone before the launch: its end of the pipe is closed")
