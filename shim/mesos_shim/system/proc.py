"""What /proc tells of this process, of others, and of this boot."""

import posix

from . import files

# Fields of /proc/PID/stat, from the third on (proc_pid_stat(5)).
STATE, PARENT, THREADS, START = 0, 1, 17, 19
CPU = slice(11, 15)  # user and system, own and of children


def stat(pid: "int | str") -> "list[bytes]":
    """The fields of /proc/PID/stat from the third on. Raises OSError."""
    fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        # The name in field 2 may hold anything, parentheses too: what counts comes after the last one.
        return posix.read(fd, 4096).rpartition(b")")[2].split()
    finally:
        posix.close(fd)


def start_time(pid: "int | str", living: bool = False) -> "int | None":
    """When the process started, in clock ticks since boot; None if there is none.

    With `living` a zombie is none.
    """
    try:
        fields = stat(pid)
        return None if living and is_zombie(fields) else int(fields[START])
    except (OSError, IndexError, ValueError):
        return None


def is_zombie(fields: "list[bytes]") -> bool:
    """Whether the process has ended, by the fields of its stat file from the state on.

    Not where only its main thread has: that is shown as a zombie while the others run (field 20 counts them).
    """
    return fields[STATE] in b"ZX" and int(fields[THREADS]) < 2


def first() -> "dict[str, object]":
    """Who this process is, as long as the host's /proc is mounted: what a record says of a container's first one."""
    return {"pid": host_pid(), "start_time": start_time("self")}


def pid_namespace(pid: object) -> "int | None":
    """The inode of the pid namespace whose pids /proc shows, in which this process is `pid`; None if that is hidden."""
    # In a namespace without a /proc of its own this process is another to /proc than to itself.
    whose = "self" if pid == posix.getpid() else "1"
    try:
        return posix.stat(f"/proc/{whose}/ns/pid").st_ino
    except OSError:
        return None


def time_namespace() -> "int | None":
    """The inode of our time namespace, in which /proc tells us when processes started; None before Linux 5.6."""
    try:
        return posix.stat("/proc/self/ns/time").st_ino
    except OSError:
        return None


def host_pid() -> int:
    """This process as the mounted /proc knows it: in a new pid namespace getpid(2) would say 1."""
    try:
        return int(posix.readlink("/proc/self"))
    except (OSError, ValueError):
        return posix.getpid()


def boot_id() -> "str | None":
    """What the kernel calls this boot (random(4)): start times and inodes of another boot mean nothing."""
    text = files.read_start("/proc/sys/kernel/random/boot_id", 64)
    return None if text is None else text.strip().decode("ascii", "replace")


def namespaces() -> "dict[str, object]":
    """This process's mount namespace: its inode and, from Linux 6.11 on, the id that is never used again."""
    from ..system import syscalls  # not on macOS

    try:
        fd = posix.open("/proc/self/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return {}
    try:
        found: dict[str, object] = {"mnt": posix.fstat(fd).st_ino}
        try:
            found["mnt_id"] = syscalls.mount_namespace_id(fd)
        except OSError:
            pass
        return found
    finally:
        posix.close(fd)
