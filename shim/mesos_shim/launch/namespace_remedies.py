"""What of the host forbids a launch its namespaces, and how that is changed."""

import errno

from ..errors import ShimError
from ..system import files, syscalls

_CAP_SYS_ADMIN = 21  # include/uapi/linux/capability.h
_SYSCTLS = (
    (syscalls.CLONE_NEWUSER, "user.max_user_namespaces"),
    (syscalls.CLONE_NEWNS, "user.max_mnt_namespaces"),
    (syscalls.CLONE_NEWPID, "user.max_pid_namespaces"),
    (syscalls.CLONE_NEWIPC, "user.max_ipc_namespaces"),
)
_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", b"0", "sysctl kernel.unprivileged_userns_clone=1 allows it"),
    ("/proc/sys/user/max_user_namespaces", b"0", "sysctl user.max_user_namespaces=10000 allows it"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        b"1",
        "AppArmor forbids it: sysctl kernel.apparmor_restrict_unprivileged_userns=0 or a profile with 'userns,'",
    ),
)


class Unenforceable(ShimError):
    """This host cannot give a launch its own mount namespace; nothing has been done yet."""


def remedy(code: "int | None", flags: int) -> str:
    """What to do where unshare(2) of the namespaces `flags`, or a mount in them, has failed with `code`."""
    if code in (errno.ENOSPC, errno.EUSERS):
        return _limit_remedy(flags)
    if flags & syscalls.CLONE_NEWUSER:
        return user_namespace_switch()
    if code not in (errno.EPERM, errno.EACCES):
        return "'mesos-shim doctor' shows what this host allows"
    if not syscalls.capabilities()[0] >> _CAP_SYS_ADMIN & 1:
        return (
            "root has no CAP_SYS_ADMIN here; add it to this container, or to CapabilityBoundingSet= of the unit, or "
            "launch as an ordinary user, who does not need it"
        )
    return "a seccomp filter or a security module forbids it; allow unshare and mount for this container"


def of_mount(error: OSError, new_user_namespace: bool) -> str:
    """What to do about a mount that is forbidden where its namespace is not, as AppArmor has it."""
    if error.errno not in (errno.EPERM, errno.EACCES):
        return ""
    return f"; {remedy(error.errno, syscalls.CLONE_NEWUSER if new_user_namespace else syscalls.CLONE_NEWNS)}"


def _limit_remedy(flags: int) -> str:
    """Which limit there is none left of; unshare(2) says the same of namespaces that are nested too deep."""
    exhausted = [name for flag, name in _SYSCTLS if flags & flag]
    for name in exhausted:
        if _value(f"/proc/sys/{name.replace('.', '/')}") == b"0":
            return f"sysctl {name}=10000 allows it"
    return (
        f"the limit of namespaces is reached; raise sysctl {' or '.join(exhausted)}, unless they are "
        "nested 32 levels deep"
    )


def user_namespace_switch() -> str:
    """Which of the host's switches keeps ordinary users from a user namespace, and how it is turned."""
    for path, forbids, what in _SWITCHES:
        if _value(path) == forbids:
            return what
    return (
        "a seccomp filter or a container's policy may forbid it; run as root, or choose --on-unenforceable usage-only"
    )


def _value(path: str) -> bytes:
    return (files.read_start(path, 32) or b"").strip()
