"""The fixtures of other folders that hostile tests share."""

from ..containers import start
from ..terminals import terminal

__all__ = ["start", "terminal"]
