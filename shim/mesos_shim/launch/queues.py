"""The message queues of a container's own IPC namespace."""

from ..errors import ShimError, reason
from ..system import syscalls


def mount() -> None:
    """Mount the message queues of the own IPC namespace over the host's (mq_overview(7)); both are the kernel's."""
    try:
        syscalls.mount("mqueue", "/dev/mqueue", "mqueue", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    except OSError as error:
        raise ShimError(f"mounting the container's own /dev/mqueue: {reason(error)}") from None
