"""Walks by the rules of walk.py that usual launches do not make: by each name of a path, to what is not there yet."""

import posix

from . import paths, walk
from .walk import Resolved, Status


def levels_by_name(path: str, what: str, trusted: "tuple[int, ...]") -> "list[Status]":
    """One Status for each component of the absolute `path`, which may lead through links: of where it leads."""
    parts = paths.split(path)

    def level(here: str) -> Status:
        found = walk.as_caller(lambda lenient: walk.follow_links(here, what, trusted, True, walk.step_into, lenient))
        posix.close(found.fd)
        return Status(found.status, found.path)

    return [level(paths.join(parts[: depth + 1])) for depth in range(len(parts))]


def would_be(
    parent: Resolved, name: str, status: "posix.stat_result", what: str, trusted: "tuple[int, ...]"
) -> Resolved:
    """What `resolve` would find once somebody has made the directory `name` in `parent`."""
    path = paths.join([*paths.split(parent.path), name])

    def follow(lenient: bool) -> Resolved:
        writable = not lenient and walk.others_write(parent.fd, parent.status, trusted)
        controller = walk.check_entry(
            parent.status, writable, status, parent.controller, trusted, path, what, lenient, False
        )
        return Resolved(path, parent.fd, status, [*parent.levels, Status(status, path)], controller)

    return walk.as_caller(follow)
