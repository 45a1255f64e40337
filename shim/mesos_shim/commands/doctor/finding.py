"""One line of the doctor's report."""

import os
import sys
from typing import Callable, NamedTuple

from ...errors import ShimError, reason

OK = "ok"
DEGRADED = "degraded"
BROKEN = "broken"


class Finding(NamedTuple):
    """Which check, how it is, what that means, what fixes it ("" where nothing needs to be)."""

    check: str
    state: str
    message: str
    remedy: str = ""


def checked(check: str, examine: "Callable[[], list[Finding]]") -> "list[Finding]":
    """What `examine` finds; an error in it is a finding as well, so that one check never hides the others."""
    try:
        return examine()
    except Exception as error:
        if isinstance(error, OSError):
            text = f"{reason(error)}: {error.filename}" if error.filename else reason(error)
        else:
            text = str(error) if isinstance(error, ShimError) else f"{type(error).__name__}: {error}"
        if sys.platform == "linux" and not os.path.exists("/proc/self"):
            remedy = "mount -t proc proc /proc"
        else:
            remedy = "fix what the message names; if nothing is wrong with it, report a bug"
        return [Finding(check, BROKEN, f"check failed: {text}", remedy)]
