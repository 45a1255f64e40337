"""Leaves the host's namespaces for the container's own."""

from ..errors import ShimError, reason
from ..system import syscalls
from .state import LaunchState


def leave_host(state: LaunchState) -> None:
    """An own mount namespace whose mounts receive from the host's, and send nothing back (threats 1)."""
    # With a pid namespace the parent has made the user namespace already, to have the right to it.
    new_user = state.plan.new_user_namespace and "pid" not in state.plan.namespaces
    flags = syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWIPC if "ipc" in state.plan.namespaces else 0)
    if state.left_host:
        return
    unshare(flags | (syscalls.CLONE_NEWUSER if new_user else 0), state)
    state.left_host = True
    if state.plan.shared:
        from ..system import propagation

        propagation.make_slaves_but(state.plan.shared)
        return
    try:
        # Slave, not private: what the host mounts later (autofs, NFS) still arrives (Slurm bug 12567).
        syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC)
    except OSError as error:
        if not state.plan.isolates:
            return  # where '/' is no mount point, say; there is nothing to be kept from the host
        from . import namespace_remedies

        remedy = namespace_remedies.of_mount(error, state.plan.new_user_namespace)
        raise ShimError(f"making '/' a slave of the host's mounts: {reason(error)}{remedy}") from None


def try_namespaces(state: LaunchState) -> None:
    """All of a launch that needs the kernel's leave for namespaces, for a process that ends afterwards."""
    if "pid" in state.plan.namespaces:
        unshare(pid_flags(state), state)
    leave_host(state)


def pid_flags(state: LaunchState) -> int:
    """What the parent of a container with a pid namespace unshares."""
    return syscalls.CLONE_NEWPID | (syscalls.CLONE_NEWUSER if state.plan.new_user_namespace else 0)


def unshare(flags: int, state: LaunchState) -> None:
    """New namespaces; in a new user namespace the caller keeps their ids."""
    try:
        syscalls.unshare(flags)
    except OSError as error:
        from . import namespace_remedies

        what = "mount" if flags & syscalls.CLONE_NEWNS else "pid"
        remedy = namespace_remedies.remedy(error.errno, flags)
        raise namespace_remedies.Unenforceable(f"a new {what} namespace: {reason(error)}; {remedy}") from None
    if flags & syscalls.CLONE_NEWUSER:
        from . import user_namespace

        user_namespace.keep_ids(state.plan.user.uid, state.plan.user.gid)
