"""What passes between an agent and its helper: the byte that lets a launch go on, signals, the status file."""

import _signal
import posix

from .. import errors
from ..errors import ShimError, reason
from ..launch import wait
from ..launch.order import Step
from ..launch.state import LaunchState
from . import common


def wait_for_agent(reading: int, writing: int, signals: wait.Signals) -> wait.Signals:
    """Wait for the agent's byte, with the signals let through as long as that takes; returns how they were held.

    Whatever would be forwarded to the command calls the launch off as long as there is none, as in launch.cpp.
    """
    common.close_agents_end(writing)
    if not common.has_agents_byte(reading, wait=False):
        from . import early_signal

        early_signal.catch(signals)
        wait.release_signals(signals)
        common.has_agents_byte(reading)
        signals = wait.hold_signals(signals.forwarded)
    early = _signal.sigpending() & signals.forwarded
    if early:
        from . import early_signal

        raise early_signal.EarlySignal(min(early))
    return signals


def reset_signals(state: LaunchState) -> None:
    """Every signal's default again, but for those that CPython ignores until execute.restore_signals."""
    for number in state.signals.forwarded if state.signals is not None else ():
        ignored = number in (_signal.SIGPIPE, _signal.SIGXFSZ)
        _signal.signal(number, _signal.SIG_IGN if ignored else _signal.SIG_DFL)


RESET_SIGNALS = Step("reset_signals", reset_signals)


def open_status(runtime: str) -> int:
    """The status file, opened first of all: the agent reads there how the container ended, whatever happens."""
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
        return posix.open(runtime + "/status", flags, 0o600)
    except OSError as error:
        raise ShimError(f"{runtime}/status: {reason(error)}") from None


def write_status(status: int, wait_status: int) -> None:
    """The raw wait status in decimal: one write, no newline (a 1.11 agent aborts over anything else)."""
    try:
        posix.write(status, b"%d" % wait_status)
    except OSError as error:
        errors.warn([f"status file: {reason(error)}: the agent will report the container as killed"])
