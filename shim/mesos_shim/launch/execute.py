"""From our process to the command: ids, descriptors, signals and environment as the caller gave them, then exec."""

import _signal
import errno
import posix
import sys

from ..errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, ShimError, reason
from ..system import credentials, files, syscalls

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable, Sequence

    from ..plan.model import Mount

_DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
# getrusage(2) counts the largest resident set in kilobytes on Linux, in bytes on macOS.
MAXRSS_UNIT = 1024 if sys.platform == "linux" else 1
# The directory of one's own open descriptors.
_OPEN = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_SHELL = "/bin/sh"
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")  # PEP 538
# Variables that are for the process of one pid alone (sd_listen_fds(3), sd_watchdog_enabled(3)), and our pid as the
# caller knows it, which is not the command's where a parent stays.
_FOR_ONE_PID = (b"LISTEN_PID", b"WATCHDOG_PID")
_OUR_PID = posix.getpid()


def environment() -> "dict[bytes, bytes]":
    """The caller's environment, without what the interpreter put into it (threats 21)."""
    result = dict(posix.environ)
    if result.get(b"LC_CTYPE") in _COERCED and not result.get(b"LC_ALL"):
        original = _original(b"LC_CTYPE")
        if original is None:
            del result[b"LC_CTYPE"]
        else:
            result[b"LC_CTYPE"] = original
    return result


def is_for_our_pid(variables: "dict[bytes, bytes]") -> bool:
    """Whether a variable is for this program's process alone: then it must be for the command's."""
    return b"%d" % _OUR_PID in [variables.get(name) for name in _FOR_ONE_PID]


def give_our_pid(variables: "dict[bytes, bytes]") -> None:
    """Have such variables be for this process, which becomes the command, as it sees itself."""
    pid = posix.getpid()
    for name in _FOR_ONE_PID:
        if pid != _OUR_PID and variables.get(name) == b"%d" % _OUR_PID:
            variables[name] = b"%d" % pid
            # The inode of that process's pidfd, which a newer systemd compares as well where it is given.
            variables.pop(name + b"FDID", None)


def _original(name: bytes) -> "bytes | None":
    """The variable as the kernel handed it to us: /proc/self/environ is not touched by setenv(3)."""
    try:
        variables = files.read_file("/proc/self/environ")
    except OSError:
        return None
    for entry in variables.split(b"\0"):
        if entry.startswith(name + b"="):
            return entry[len(name) + 1 :]
    return None


def restore_signals() -> None:
    """Undo what CPython does to signals at its start (Py_InitializeEx: SIGPIPE and SIGXFSZ ignored)."""
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)


def become(user: credentials.Identity) -> None:
    """Take the user's ids on, and keep the signal that a caller wants us to get at its end. Raises as the former does.

    The kernel clears it with a change of ids (prctl(2), PR_SET_PDEATHSIG). Who has ended by then has sent none.
    """
    parent, number = posix.getppid(), syscalls.death_signal() if sys.platform == "linux" else 0
    credentials.become(user)
    if number:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, number)
        if posix.getppid() != parent:
            posix.kill(posix.getpid(), number)


def leave_session_keyring() -> None:
    """Have an empty session keyring in the place of the caller's, for another user's command. Raises ShimError.

    It is made as root, whose share of keys is large (keyrings(7), root_maxkeys): a user could fill their own. A kernel
    without keyrings has nothing to leave, and a filter that forbids keyctl(2) forbids it to the command as well.
    """
    if sys.platform != "linux":
        return
    try:
        syscalls.new_session_keyring()
    except OSError as error:
        if error.errno not in syscalls.ABSENT:
            raise ShimError(f"creating a session keyring for the command: {reason(error)}") from None


def keep_only(keep: "list[int]") -> None:
    """Let no descriptor above 2 into the command but those of `keep` (threats 9). Raises OSError."""
    try:
        syscalls.close_range(3, -1, syscalls.CLOSE_RANGE_CLOEXEC)
    except OSError as error:
        # EINVAL: Linux 5.9 and 5.10 have the call without the flag.
        if error.errno not in (*syscalls.ABSENT, errno.EINVAL):
            raise
        for name in posix.listdir(_OPEN):
            if int(name) > 2:
                try:
                    posix.set_inheritable(int(name), False)
                except OSError as error:
                    if error.errno != errno.EBADF:  # the descriptor that listed them
                        raise
    for fd in keep:
        posix.set_inheritable(fd, True)


# Called while all descriptors are still open: what of our own code is not in memory yet is fetched (bundle/boot.py).
before_closing: "list[Callable[[], None]]" = []


# Called before this process sees files that a task may have put there: nothing is imported by a path from then on.
before_leaving: "list[Callable[[], None]]" = []


def stop_imports() -> None:
    """Load all further code from the bundle, never from a namespace that is not the host's (bundle/boot.py).

    Without a bundle (another interpreter than the one that this was staged by, an installed wheel) from memory.
    """
    if not before_leaving:
        from . import unbundled

        before_leaving.append(unbundled.stop_imports)
    for stop in before_leaving:
        stop()


def close_others(keep: "list[int]") -> None:
    """Close every descriptor above 2 but those of `keep`, and go to `/`: for a process that stays beside the command.

    Its pipes would never end otherwise, and the host's file systems stay busy. A core of ours, with root's memory in
    it, would lie in the sandbox (core(5)).
    """
    try:
        posix.chdir("/")
    except OSError:
        pass  # whoever may not search it stays where a core of that user's may lie
    for prepare in before_closing:
        prepare()
    first = 3
    try:
        for fd in sorted(keep):
            if fd > first:
                syscalls.close_range(first, fd - 1, 0)
            first = max(first, fd + 1)
        syscalls.close_range(first, -1, 0)
    except OSError:
        for name in posix.listdir(_OPEN):
            if int(name) > 2 and int(name) not in keep:
                try:
                    posix.close(int(name))
                except OSError:
                    continue  # the descriptor that listed them


def command(
    arguments: "Sequence[str]",
    variables: "dict[bytes, bytes]",
    path: "str | None" = None,
    start: "Callable[..., int]" = posix.execve,
    mounts: "Sequence[Mount]" = (),
) -> int:
    """Become the command (`path`, else its first word), which never returns, or have `start` make a process of it.

    `start` is called as execve, and its result, a pid, is returned. `mounts` are those of the namespace, which may
    be why it is not found. Raises ShimError with 126 or 127 as env(1).
    """
    name = arguments[0] if path is None else path
    if not name or any("\0" in argument for argument in arguments):
        raise ShimError(f"command {name!r}: empty or with a NUL byte", EXIT_NOT_FOUND)
    denied: OSError | None = None
    for candidate in _candidates(name, variables):
        try:
            return _start(candidate, arguments, variables, start)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            denied = error
            if error.errno != errno.EACCES:
                break
    if denied is not None and denied.errno == errno.EAGAIN:
        from . import wait

        raise ShimError(f"no process for {name!r}: {wait.why_no_process(denied)}", EXIT_NOT_EXECUTABLE)
    if denied is not None:
        raise ShimError(f"command {name!r}: {reason(denied)}", EXIT_NOT_EXECUTABLE)
    from . import not_found

    raise not_found.explain(name, _candidates(name, variables), mounts)


def _start(
    program: bytes, arguments: "Sequence[str]", variables: "dict[bytes, bytes]", start: "Callable[..., int]"
) -> int:
    """`start` it; a script without `#!` by the shell, as execvp(3) does, and so env, xargs, nohup and Mesos' helper."""
    try:
        return start(program, arguments, variables)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        try:
            return start(_SHELL, [_SHELL, program, *arguments[1:]], variables)
        except OSError:
            raise error from None


def _candidates(name: str, variables: "dict[bytes, bytes]") -> "list[bytes]":
    raw = name.encode("utf-8", "surrogateescape")
    if b"/" in raw:
        return [raw]
    return [(directory or b".") + b"/" + raw for directory in variables.get(b"PATH", _DEFAULT_PATH).split(b":")]
