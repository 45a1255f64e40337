"""The fixture that starts containers."""

from ..containers import start

__all__ = ["start"]
