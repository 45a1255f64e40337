"""Finds the sandbox of a launch, and the agent's work_dir that it lies in."""

import posix
from _stat import S_IFDIR

from ..errors import ShimError, reason
from ..spec.request import LaunchRequest, sandbox_path
from ..system import paths, syscalls
from ..system.walk import Resolved, Status, resolve, user_behind


def find(request: LaunchRequest, trusted: "tuple[int, ...]") -> Resolved:
    """The sandbox; where it is the current directory, that very directory, wherever its name leads by now."""
    if request.sandbox_planned is not None:
        return request.sandbox_planned
    path = sandbox_path(request)
    if path == "/":
        raise ShimError("the sandbox is '/'; change to a directory of the task, or give --sandbox DIR")
    if request.sandbox is not None:
        found = resolve(path, request.sandbox_named, trusted, nested=len(request.agent_ids) > 1)
    else:
        # Where the caller stands needs no check, because the caller is there.
        try:
            fd = posix.open(".", syscalls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except OSError as error:
            raise ShimError(f"the current directory {path!r}: {reason(error)}; give --sandbox DIR") from None
        found = Resolved(path, fd, posix.fstat(fd), _levels(path), None)
        found.users_own = user_behind(fd, found.status, trusted, f"the current directory {path!r}") is not None
    if found.kind != S_IFDIR:
        raise ShimError(f"{request.sandbox_named}: {path!r} is not a directory")
    return found


def _levels(path: str) -> "list[Status]":
    parts = paths.split(path)
    names = [paths.join(parts[: depth + 1]) for depth in range(len(parts))]
    try:
        return [Status(posix.lstat(name), name) for name in names]
    except OSError as error:
        raise ShimError(f"the current directory {path!r}: {reason(error)}; give --sandbox DIR") from None


def work_dir_of(sandbox_path: str) -> "str | None":
    """The agent's work_dir, from `<work_dir>/slaves/S/frameworks/F/executors/E/runs/R` (Mesos, slave/paths.hpp)."""
    parts = paths.split(sandbox_path)
    for start in range(len(parts) - 7):
        if parts[start : start + 8 : 2] == ["slaves", "frameworks", "executors", "runs"]:
            return paths.join(parts[:start])
    return None
