"""Ambient capabilities, which a new user namespace takes away from an ordinary user's command (user_namespaces(7))."""

from ..system import other_syscalls

# By number (include/uapi/linux/capability.h).
_NAMES = (  # noqa: SIM905 (a list of 41 literals is as many lines)
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
).split()


def lost(possible: int) -> "list[str]":
    """What a new user namespace takes from the command of its ambient capabilities, which are among those bits."""
    names = ", ".join(held(possible))
    if not names:
        return []
    return [
        f"the command does not get the caller's ambient capabilities {names}: a launch without root needs a user "
        "namespace, which ends them"
    ]


def held(possible: int) -> "list[str]":
    """The names of the caller's ambient capabilities, of those bits."""
    numbers = [number for number in range(possible.bit_length()) if possible >> number & 1]
    return [_name(number) for number in numbers if other_syscalls.has_ambient(number)]


def _name(number: int) -> str:
    return f"CAP_{_NAMES[number].upper()}" if number < len(_NAMES) else f"capability {number}"
