"""Whether a command of another user could reach the caller's terminal; it gets one of its own then (terminal.py)."""

import errno
import posix

from ..errors import ShimError, reason
from ..spec.request import LaunchRequest
from ..system import credentials

# What opening /dev/tty says where there is none (tty(4)): no session of a terminal, no such name, no such device.
_NO_TERMINAL = (errno.ENXIO, errno.ENOENT, errno.ENODEV)


def leave(request: LaunchRequest) -> None:
    """Go on at a terminal of the command's own, where it is another user's than the caller's."""
    if not _is_within_reach():
        return
    user = credentials.of_user(request.user, request.user_named)
    if user.uid != posix.geteuid():
        from . import terminal

        terminal.separate(user.uid)


def _is_within_reach() -> bool:
    """Whether the command could reach a terminal of the caller's: as its controlling one, or by a descriptor."""
    if posix.isatty(0) or posix.isatty(1) or posix.isatty(2):
        return True
    try:
        posix.close(posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC))
    except OSError as error:
        if error.errno in _NO_TERMINAL:
            return False
        raise ShimError(f"/dev/tty: {reason(error)}; it is unknown whether the command could reach it") from None
    return True
