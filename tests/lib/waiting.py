"""Waiting for what no event announces."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

SECONDS = 60.0  # for what a healthy machine does in a hundredth of it

T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Poll the condition; returns its first true value.

    Raises: TimeoutError that names what did not happen.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still not: {what}")
        time.sleep(0.01)
    return value
