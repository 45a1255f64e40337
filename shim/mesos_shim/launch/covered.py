"""Finds the mount of a mount namespace that a path leads below: by links too, as the command would be led."""

import posix

from ..plan.model import Mount
from ..system import paths
from ..system.walk import MAX_LINKS

if False:  # for the type checker alone: no launch imports typing
    from typing import Sequence


def leads_to(path: str) -> str:
    """Where the absolute `path` leads in this mount namespace, as far as it is there."""
    left = paths.split(path)
    way: list[str] = []
    links = 0
    while left:
        name = left.pop(0)
        if name == "..":
            way = way[:-1]
            continue
        way.append(name)
        try:
            text = posix.readlink(paths.join(way))
        except OSError:  # no link, or nothing that we can see
            continue
        links += 1
        if links > MAX_LINKS:
            return paths.normal(path)
        way = [] if text.startswith("/") else way[:-1]
        left = paths.split(text) + left
    return paths.join(way)


def innermost(path: str, mounts: "Sequence[Mount]") -> "Mount | None":
    """The mount that `path`, which leads through no link, is at or below; of two, one in another, the inner one."""
    around = [mount for mount in mounts if path == mount.target or paths.is_below(path, mount.target)]
    return max(around, key=lambda mount: len(mount.target)) if around else None
