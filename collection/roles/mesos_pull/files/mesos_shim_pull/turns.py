# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Whose turn it is. Nothing here reads or writes anything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .config import Config
from .text import COMMIT, NAME, PullError, one_line

MAX_HOSTS = 1_000_000  # wave() counts so far, one by one at worst


@dataclass(frozen=True)
class Rollout:
    """What the fleet knows of the change; one node in ZooKeeper, replaced by its version."""

    change: str
    done: int = 0  # hosts that have applied it
    # Hosts that hold a place, and for which change: a host that died keeps its place, also when the next change begins.
    open: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # host: reason

    @property
    def begun(self) -> int:
        """How many hosts have started to apply the change."""
        return self.done + len(self.failed) + sum(change == self.change for change in self.open.values())

    def with_place(self, name: str) -> Rollout:
        """The host has started."""
        return replace(self, open={**self.open, name: self.change})

    def without_place(self, name: str) -> Rollout:
        """The host has ended, or has left the fleet."""
        return replace(self, open={other: change for other, change in self.open.items() if other != name})


@dataclass(frozen=True)
class Turn:
    """Whether this host may start now, and why not."""

    go: bool
    why: str


def decide(rollout: Rollout, config: Config, fleet: int, canaries: dict[str, bool]) -> Turn:
    """Whether it is this host's turn.

    Arguments:
        rollout: the change, as ZooKeeper has it.
        config: this host, which has not applied the change, and the rules.
        fleet: how many hosts are registered.
        canaries: the registered hosts that go first, and whether each has applied the change.
    """
    if rollout.failed:
        name, reason = sorted(rollout.failed.items())[0]
        return Turn(False, f"stopped: it failed on {len(rollout.failed)} host(s), {name}: {reason}")
    if config.name in rollout.open:
        return Turn(True, "finishes what it had begun")
    if len(rollout.open) >= config.places:
        return Turn(False, f"waits: {len(rollout.open)} of {config.places} places are taken, {some(rollout.open)}")
    if config.name in canaries:
        return Turn(True, "is a canary")
    missing = [name for name, applied in canaries.items() if not applied]
    if missing:
        return Turn(False, f"waits for the canaries: {some(missing)}")
    number, reach = wave(rollout.done, fleet, config.waves)
    if rollout.begun >= reach:
        return Turn(False, f"waits for the end of wave {number}: {some(rollout.open)}")
    return Turn(True, f"belongs to wave {number}")


def wave(done: int, fleet: int, waves: tuple[str, ...]) -> tuple[int, int]:
    """The number of the wave that is under way, and how many hosts may have started until its end."""
    number, reach = 0, 0
    while reach <= done:
        size = waves[min(number, len(waves) - 1)]
        # As Ansible reads serial: a percentage is rounded down, and is one host at least.
        reach += max(1, fleet * int(size[:-1]) // 100) if size.endswith("%") else int(size)
        number += 1
    return number, reach


def some(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def parse_rollout(data: bytes, where: str) -> Rollout:
    """What another host has written; raises PullError if it is not a rollout."""
    try:
        rollout = Rollout(**json.loads(data))
        places = rollout.open.items()
        if not COMMIT.match(rollout.change):
            raise ValueError("change")
        if not all(NAME.match(name) and COMMIT.match(change) for name, change in places):
            raise ValueError("open")
        if not all(map(NAME.match, rollout.failed)):
            raise ValueError("failed")
        if not isinstance(rollout.done, int) or isinstance(rollout.done, bool) or not 0 <= rollout.done <= MAX_HOSTS:
            raise ValueError("done")
        failed = {name: one_line(str(reason)) for name, reason in rollout.failed.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        why = one_line(str(error))
        raise PullError(f"{where} in ZooKeeper holds no rollout ({why}); look at it, then delete it") from None
    return replace(rollout, failed=failed)
