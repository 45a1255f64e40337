"""Generations of a host below a directory of its own, switched by the modules that playbooks call."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .collection import run_module

_JOBS = {
    "active": "agent_generation",
    "confirmed": "agent_generation_confirm",
    "restored": "agent_generation_restore",
    "absent": "shim_uninstall",
}


class Generations:
    """A host's: called with a state, it makes that the host's."""

    def __init__(self, root: Path) -> None:
        self.flags_dir, self.prefix = root / "etc/mesos-slave", root / "opt"

    def __call__(self, state: str = "active", check: bool = False, **args: Any) -> dict[str, Any]:
        if state == "active":
            args = {"path": str(self.flags_dir), "confirm": True, **args}
        return run_module(_JOBS[state], check, prefix=str(self.prefix), **args)

    @property
    def state(self) -> dict[str, Any]:
        """What its state file says."""
        return dict(json.loads((self.prefix / "generations/state.json").read_text()))


def die_at(step: int) -> None:
    """Has this process end at the rename, link or removal of this number, counted from 0."""
    left = [step]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return call(*args, **kwargs)

        return counted

    for name in ("rename", "link", "unlink", "rmdir", "mkdir"):
        setattr(os, name, dying(getattr(os, name)))


def killed_at(step: int, call: Callable[[], object]) -> bool:
    """Has a child make the call, which is killed at that step; whether it was, rather than coming through."""
    pid = os.fork()
    if pid == 0:
        try:
            die_at(step)
            call()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9)
    return status == 9
