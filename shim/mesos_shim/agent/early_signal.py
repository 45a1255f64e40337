"""Signals that come before there is a command: they call the launch off, as in launch.cpp."""

import _signal

from ..launch import wait


class EarlySignal(Exception):  # noqa: N818 (no error: the agent's way of calling a launch off)
    """A signal that came before there was a command to forward it to."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def catch(signals: wait.Signals) -> None:
    """Have each of them call the launch off."""
    for number in signals.forwarded:
        _signal.signal(number, _raise_early)


def _raise_early(number: int, frame: object) -> None:
    raise EarlySignal(number)
