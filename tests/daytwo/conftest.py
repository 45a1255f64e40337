"""The fixtures that start containers, and programs at terminals."""

from ..containers import start
from ..terminals import terminal

__all__ = ["start", "terminal"]
