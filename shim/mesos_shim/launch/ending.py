"""Ends as a command has ended, for a parent that has waited for it (wait.py)."""

import _signal
import posix
import resource


def exit_code(status: int) -> int:
    """What a shell would say of the wait status: the exit code, or 128 + signal."""
    return 128 + posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)


def end_as(status: int) -> None:
    """End as the command ended, by the same signal too, but without a second core file."""
    if posix.WIFSIGNALED(status):
        number = posix.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(number, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {number})
        posix.kill(posix.getpid(), number)
    posix._exit(exit_code(status))
