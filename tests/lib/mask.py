"""Makes this process a masked platform, not a real one, as on macOS: run by `exec`, before what is to see it.

`sys.platform` says darwin, and what only Linux has is not there: functions of `posix`, symbols of the C library, /proc.
"""

import _ctypes
import _signal
import builtins
import posix
import sys
from typing import Any

# Of Python's posix, what macOS has not.
for name in (
    *("pipe2", "setresuid", "setresgid", "getresuid", "getresgid", "setns", "unshare", "eventfd", "memfd_create"),
    *("getxattr", "setxattr", "listxattr", "removexattr", "pidfd_open", "splice", "sched_getaffinity"),
    *("O_PATH", "O_TMPFILE", "O_DIRECT", "ST_RDONLY_", "P_PIDFD", "posix_fadvise", "getrandom"),
):
    if hasattr(posix, name):
        delattr(posix, name)
for name in ("sigwaitinfo", "sigtimedwait"):
    delattr(_signal, name)

LINUX_SYMBOLS = {"unshare", "setns", "mount", "umount2", "syscall", "prctl", "fstatfs", "ioctl", "statx"}
real_dlsym = _ctypes.dlsym


def dlsym(handle: int, name: str) -> int:
    if name in LINUX_SYMBOLS:
        raise OSError(f"symbol not found: {name}")
    return int(real_dlsym(handle, name))


_ctypes.dlsym = dlsym


def masked(call: Any) -> Any:
    """The call, for which /proc and /sys are not there."""

    def without_proc(path: object, *rest: object, **named: object) -> object:
        text = path.decode(errors="replace") if isinstance(path, bytes) else path
        if isinstance(text, str) and text.startswith(("/proc", "/sys", "/run/systemd")) and not named.get("dir_fd"):
            frame = sys._getframe(1)
            if "psutil" not in frame.f_code.co_filename:
                raise FileNotFoundError(2, f"masked: {text}")
        return call(path, *rest, **named)

    return without_proc


for name in ("open", "stat", "lstat", "readlink", "listdir", "access"):
    setattr(posix, name, masked(getattr(posix, name)))
builtins.open = masked(builtins.open)

import os  # noqa: E402

for name in ("open", "stat", "lstat", "readlink", "listdir", "access"):
    setattr(os, name, getattr(posix, name))
os.uname = lambda: posix.uname_result(("Darwin", "mac", "23.0.0", "masked", "arm64"))
sys.platform = "darwin"
