"""The first process of a container's pid namespace: it reaps, forwards signals, and ends with the command.

The rules are those of tini and dumb-init. It stays outside of the container's rights: root's, without a descriptor but
for the standard three and the one over which it tells the exact wait status, for its own exit could not.
"""

import posix

from ..errors import ShimError, reason
from ..system import syscalls
from . import execute, wait


def mount_proc() -> None:
    """Mount the pid namespace's own /proc, in its first process."""
    try:
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    except OSError as error:
        raise ShimError(
            f"mounting the container's own /proc: {reason(error)}; the kernel does not allow it if parts of "
            "/proc are covered, as in another container"
        ) from None


def split(relay: int, forwarded: "frozenset[int]" = wait.FORWARDED) -> None:
    """In the first process: go on in its child; never returns in the first.

    The first forwards the signals `forwarded`, which must be blocked.
    """
    pid = wait.make_process("the command")
    if pid == 0:
        posix.close(relay)
        return
    execute.close_others([relay])
    status = wait.wait(wait.Child(pid, None), forwarded=forwarded)
    try:
        posix.write(relay, b"%d" % status)
    except OSError:
        pass  # the supervisor was killed
    posix._exit(0)
