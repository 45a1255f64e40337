"""Symbolic links on the way of a walk (walk.py): whose they may be, and where they lead."""

import posix

from ..errors import ShimError
from . import paths
from .files import is_exactly


def check(
    link: "posix.stat_result",
    controller: "int | None",
    trusted: "tuple[int, ...]",
    here: str,
    what: str,
    lenient: bool,
) -> None:
    """Refuse a link that could lead where somebody else likes."""
    maker = controller
    if lenient:
        sure = is_exactly(link.st_uid, trusted) or (controller is None and link.st_uid in trusted)
        maker = None if sure else link.st_uid
    if maker is not None:
        raise ShimError(f"{what}: {here!r} is a symbolic link that uid {maker} could have made")


def way_through(fd: int, way: "list[str]", depth: int, here: str, what: str) -> "list[str]":
    """The way that the link `fd`, the component `depth` of `way`, makes of it, to be walked from the root."""
    text = posix.readlink("", dir_fd=fd)
    base = [] if text.startswith("/") else way[:depth]
    steps = paths.split(text)
    while steps and steps[0] == "..":  # the way so far is free of links, so going up is taking one off
        steps.pop(0)
        base = base[:-1]
    if ".." in steps:
        raise ShimError(f"{what}: {here!r} leads through '..' in the middle of {text!r}; name the path itself")
    return base + steps + way[depth + 1 :]
