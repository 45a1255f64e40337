"""The cgroups of a plan; most launches have none."""

from ..system.cgroups import DIRECTORY


class Leaf:
    """The group that a container will get in one hierarchy; or the one that the agent has put it into (not `ours`)."""

    __slots__ = ("controllers", "delegate", "directory", "ours", "settings", "step_aside", "version")

    def __init__(self, version: int, base: str, name: str) -> None:
        self.version = version
        self.ours = True
        # The group below which it is made: there, and in `mesos-shim` below it, version 2 must switch controllers on.
        self.delegate = base
        # Whether we are the only process in it, and must step aside for that.
        self.step_aside = False
        self.directory = f"{base}/{DIRECTORY}/{name}"
        self.controllers: list[str] = []
        self.settings: list[tuple[str, str]] = []
