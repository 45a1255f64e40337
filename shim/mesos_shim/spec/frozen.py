"""What is written while it is read from its source, and never after."""


class Frozen:
    """Fields can be set until `freeze` is called. After that an attempt is a mistake of ours: AttributeError.

    By hand, because a frozen dataclass or a named tuple costs more to import than all else that a launch imports.
    """

    __slots__ = ("_is_frozen",)

    def freeze(self) -> None:
        """From here on no field is set anew."""
        object.__setattr__(self, "_is_frozen", True)

    def __setattr__(self, name: str, value: object) -> None:
        if getattr(self, "_is_frozen", False):
            raise AttributeError(f"{type(self).__name__}.{name} is set after it was frozen")
        object.__setattr__(self, name, value)
