"""One line of the doctor's report."""

from typing import NamedTuple

OK = "ok"
DEGRADED = "degraded"
BROKEN = "broken"


class Finding(NamedTuple):
    """Which check, how it is, what that means, what mends it ("" where nothing needs to be)."""

    check: str
    state: str
    message: str
    remedy: str = ""
