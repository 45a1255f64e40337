"""namespaces/pid: a container sees its own processes only, in a /proc of its own, and they all end with it.

The first process of the namespace is an init (launch/init.py): it reaps orphans and forwards signals, for the kernel
gives process 1 duties that an executor does not know of.
"""

import posix

from ..plan.model import Draft
from ..spec.request import LaunchRequest
from ..system import syscalls


def missing(request: LaunchRequest) -> "str | None":
    """Why there is no pid namespace to be had, None if there is."""
    try:
        posix.stat("/proc/self/ns/pid")
    except OSError:
        return "this kernel has no pid namespaces (CONFIG_PID_NS), or /proc is not mounted"
    return None


def attempt() -> None:
    """Make one, for doctor's child. Raises OSError."""
    syscalls.unshare(syscalls.CLONE_NEWPID | (syscalls.CLONE_NEWUSER if posix.geteuid() != 0 else 0))


def add(request: LaunchRequest, plan: Draft) -> None:
    """The namespace, where the agent's own isolation has not made one already."""
    if not request.agent_namespaces & syscalls.CLONE_NEWPID:
        plan.namespaces.append("pid")
