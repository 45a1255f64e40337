"""Leaves the host's namespaces for the container's own."""

import errno
import posix

from ..errors import ShimError, reason
from ..system import syscalls
from .state import LaunchState


class Unenforceable(ShimError):
    """This host cannot give a launch its own mount namespace; nothing has been done yet."""


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
        raise ShimError(f"making '/' a slave of the host's mounts: {reason(error)}{_forbidden(error, state)}") from None


def _forbidden(error: OSError, state: LaunchState) -> str:
    """What to do about a mount that is forbidden where its namespace is not, as AppArmor has it."""
    if error.errno not in (errno.EPERM, errno.EACCES):
        return ""
    from . import namespace_remedies

    flags = syscalls.CLONE_NEWUSER if state.plan.new_user_namespace else syscalls.CLONE_NEWNS
    return f"; {namespace_remedies.remedy(error.errno, flags)}"


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
        raise Unenforceable(f"a new {what} namespace: {reason(error)}; {remedy}") from None
    if flags & syscalls.CLONE_NEWUSER:
        _keep_ids(state.plan.user.uid, state.plan.user.gid)


def _keep_ids(uid: int, gid: int) -> None:
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
