"""The cgroups of this host: whether it has some for us, and which are ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesos_shim.isolators.groups import leaf
from mesos_shim.system import cgroups, proc

from .containers import parent_of


def available() -> str | None:
    """Why this host has no groups for us, or None."""
    try:
        for controller in ("cpu", "memory"):
            leaf(cgroups.find(controller), "any")
    except cgroups.Unavailable as error:
        return str(error)
    return None


WHY = available()
needs_cgroups = pytest.mark.skipif(WHY is not None, reason=f"needs cgroups of cpu and memory: {WHY}")


def ours() -> set[str]:
    """Every group that a shim made and that is still there, but for those of others who work on this machine."""
    found = set()
    for path in Path("/sys/fs/cgroup").glob("**/mesos-shim/*@*"):
        pid, start = cgroups.maker(path.name) or (0, 0)
        if start >= OWN_START and (proc.start_time(pid) != start or os.getpid() in ancestors(pid)):
            found.add(str(path))
    return found


OWN_START = proc.start_time("self") or 0


def ancestors(pid: int) -> set[int]:
    found = set()
    while pid > 1:
        found.add(pid)
        try:
            pid = parent_of(pid)
        except OSError:  # it has just ended
            break
    return found
