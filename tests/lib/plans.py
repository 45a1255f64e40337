"""Invented facts for a plan."""

from __future__ import annotations

import os
from stat import S_IFDIR

from mesos_shim.launch.state import LaunchState
from mesos_shim.plan import model
from mesos_shim.spec.request import LaunchRequest
from mesos_shim.system.credentials import Identity
from mesos_shim.system.walk import Resolved, Status

USER = Identity(1000, 1000, [50], switch=True)


def status(mode: int = 0o755, uid: int = 0, gid: int = 0, kind: int = S_IFDIR) -> os.stat_result:
    """A stat_result of those."""
    return os.stat_result((kind | mode, 7, 8, 1, uid, gid, 0, 0, 0, 0))


def resolved(path: str, **keywords: int) -> Resolved:
    """A resolved path whose levels are all alike."""
    found = status(**keywords)
    parts = [part for part in path.split("/") if part]
    levels = [Status(found, "/" + "/".join(parts[: depth + 1])) for depth in range(len(parts))]
    return Resolved(path, -1, found, levels, None)


def launch_of(draft: model.Draft) -> LaunchState:
    """A launch of that plan, which nobody asked for in particular."""
    return LaunchState(LaunchRequest(), model.finished(draft))
