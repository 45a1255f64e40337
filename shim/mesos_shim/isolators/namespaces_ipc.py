"""namespaces/ipc: System V and POSIX objects of a container's own, and a /dev/shm of its own with a size."""

import posix

from ..plan.model import Draft
from ..spec.config_tables import Tmpfs
from ..spec.request import LaunchRequest
from ..system import syscalls

SHM = "/dev/shm"  # noqa: S108
QUEUES = "/dev/mqueue"
_MQUEUE_MAGIC = 0x19800202  # ipc/mqueue.c
# What the kernel gives a tmpfs without a size (tmpfs(5)); `tmpfs` in the configuration sets another.
DEFAULT_SIZE = "50%"


def missing(request: LaunchRequest) -> "str | None":
    """Why there is no IPC namespace to be had, None if there is."""
    try:
        posix.stat("/proc/self/ns/ipc")
    except OSError:
        return "this kernel has no IPC namespaces (CONFIG_IPC_NS), or /proc is not mounted"
    try:
        posix.stat(SHM)
    except OSError:
        return f"{SHM} does not exist on this host; mkdir -m 1777 {SHM}"
    return None


def attempt() -> None:
    """Make one, for doctor's child. Raises OSError."""
    syscalls.unshare(syscalls.CLONE_NEWIPC | (syscalls.CLONE_NEWUSER if posix.geteuid() != 0 else 0))


def tmpfs(request: LaunchRequest) -> "list[Tmpfs]":
    """A /dev/shm in memory."""
    if request.agent_namespaces & syscalls.CLONE_NEWIPC:
        return []
    return [Tmpfs(SHM, DEFAULT_SIZE)]


def add(request: LaunchRequest, plan: Draft) -> None:
    """The namespace, where the agent's own isolation has not made one already."""
    if not request.agent_namespaces & syscalls.CLONE_NEWIPC:
        plan.namespaces.append("ipc")
        plan.own_queues = _shows_queues()


def _shows_queues() -> bool:
    """Whether the host shows its POSIX message queues as files (mq_overview(7)), which a container would see too."""
    try:
        fd = posix.open(QUEUES, syscalls.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        return syscalls.file_system_type(fd) == _MQUEUE_MAGIC
    finally:
        posix.close(fd)
