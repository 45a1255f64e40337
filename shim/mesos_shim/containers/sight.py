"""What of this host's processes can be seen from here. What cannot be seen has not ended.

A record says who a container's first process was: a pid, which means something in one pid namespace only, and a start
time, which every time namespace shows differently (time_namespaces(7)). Whoever looks from another one, or through a
/proc that hides processes, can find that something runs, and never that it has ended.
"""

import os
from typing import NamedTuple, Optional

from ..system import mountinfo, unmapped
from ..system.paths import is_number
from ..system.proc import boot_id, host_pid, pid_namespace, time_namespace
from .processes import LINUX

# include/linux/proc_ns.h: the namespaces of the boot. From the first pid namespace every process is seen.
FIRST_PIDS = 0xEFFFFFFC
FIRST_TIMES = 0xEFFFFFFA
_CAP_SYS_PTRACE = 1 << 19  # include/uapi/linux/capability.h
# proc(5), hidepid: to whom it shows all processes, and where the group of `gid` is not asked (fs/proc/base.c).
_SHOWS_ALL = ("0", "off")
_NOBODY_EXEMPT = ("4", "ptraceable")


class Sight(NamedTuple):
    """From where processes are looked at."""

    boot: Optional[str]
    # The pid namespace whose processes /proc shows, and the time namespace in which it tells their start to us.
    pids: Optional[int]
    times: Optional[int]
    # Why processes that are there may not be shown; None where all of that pid namespace are.
    hiding: Optional[str]

    def counts_pids_of(self, namespace: "int | None") -> bool:
        """Whether a pid that was recorded in `namespace` (None: nobody said which) is the same process's here."""
        return namespace == self.pids or (namespace is None and self.pids in (None, FIRST_PIDS))

    def counts_time_of(self, namespace: "int | None") -> bool:
        """Whether a start time of `namespace` can be compared; who did not say stood in that of the boot."""
        return (namespace or FIRST_TIMES) == (self.times or FIRST_TIMES)


def current_sight() -> Sight:
    """Ask the kernel."""
    if not LINUX:
        return Sight(None, None, None, None)
    return Sight(boot_id(), pid_namespace(host_pid()), time_namespace(), _hiding())


def _hiding() -> "str | None":
    options = _proc_options()
    if options is None:
        return "/proc is not in /proc/self/mountinfo, so what it hides is not known"
    hidden = options.get("hidepid", "0")
    if hidden in _SHOWS_ALL or _traces_all() or (hidden not in _NOBODY_EXEMPT and _in_group(options.get("gid", "0"))):
        return None
    return f"/proc hides processes (hidepid={hidden}), and we lack CAP_SYS_PTRACE or root's user namespace"


def _proc_options() -> "dict[str, str] | None":
    """The options of the file system at /proc; None where that cannot be found out."""
    try:
        device = os.stat("/proc").st_dev
        mounts = mountinfo.read()
    except OSError:
        return None
    number = f"{os.major(device)}:{os.minor(device)}"
    for mount in mounts:
        if mount.device == number:
            pairs = [option.partition("=") for option in mount.super_options]
            return {name: value for name, _, value in pairs}
    return None


def _in_group(group: str) -> bool:
    return is_number(group) and int(group) in (*os.getgroups(), os.getegid())


def _traces_all() -> bool:
    """Whether we have CAP_SYS_PTRACE over every process."""
    try:
        if os.stat("/proc/self/ns/user").st_ino != unmapped.FIRST_USERS:
            return False
        with open("/proc/self/status", "rb") as file:
            effective = next(line for line in file if line.startswith(b"CapEff:"))
    except (OSError, StopIteration):
        return False
    return bool(int(effective.split()[1], 16) & _CAP_SYS_PTRACE)
