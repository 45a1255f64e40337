# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""mesos-shim-pull [--config FILE] [status | retry | forget NAME]: this host applies a change of the fleet by itself.

A timer runs it. The change is the newest commit of a git repository that holds the inventory. Hosts agree in ZooKeeper
on whose turn it is: canaries first, then in waves, never more than some at a time, and nobody after a host that failed.

    status  print the state of the change in the fleet
    retry   begin the newest commit again on hosts that have not applied it, after a failure or to go back
    forget  remove a host that has left the fleet, so that no other waits for it

Exit status: 0 applied, nothing to do, or not this host's turn; 1 it failed on this host (status: on any host);
2 the configuration, the repository or ZooKeeper cannot be used.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from dataclasses import replace

from .config import Config, read_config
from .fleet import Fleet
from .playbook import play
from .repository import Repository
from .text import NAME, PullError, one_line
from .turns import Rollout, Turn, decide

CONFIG = "/etc/mesos-shim-pull.json"


def take_place(fleet: Fleet, repository: Repository, config: Config, change: str) -> tuple[Turn, bool]:
    """Take a place for this host, if it is its turn; also whether the change has failed on it."""

    def step(rollout: Rollout | None) -> tuple[Rollout | None, tuple[Turn, bool]]:
        rollout = rollout or Rollout(change)
        # Place that an earlier change has left: nobody runs it any more, and this change has an order of its own.
        if rollout.open.get(config.name, change) != change:
            rollout = rollout.without_place(config.name)
        following = rollout
        if rollout.change != change:
            if not repository.is_later(change, rollout.change):
                where = f"the fleet is at {rollout.change[:12]}, which this commit does not follow"
                return rollout, (Turn(False, f"waits: {where}; retry begins it nevertheless"), False)
            following = Rollout(change, open=rollout.open)
        turn = decide(following, config, fleet.size(), fleet.canaries(change))
        failed = config.name in following.failed
        return (following.with_place(config.name) if turn.go else rollout), (turn, failed)

    found: tuple[Turn, bool] = fleet.update(step)
    return found


def leave(fleet: Fleet, config: Config, change: str, reason: str) -> None:
    """Give the host's place back, if it has one, and tell the others how the change went here."""

    def step(rollout: Rollout | None) -> tuple[Rollout | None, None]:
        if rollout is None or config.name not in rollout.open:
            return None, None
        rollout = rollout.without_place(config.name)
        if rollout.change != change:  # a later change has begun meanwhile, and is not judged by this one
            return rollout, None
        if reason:
            return replace(rollout, failed={**rollout.failed, config.name: reason}), None
        return replace(rollout, done=rollout.done + 1), None

    if not reason:
        fleet.note_applied(change)
    fleet.update(step)


def run(config: Config) -> int:
    """Apply the newest change if it is this host's turn."""
    repository = Repository(config)
    with repository.locked():
        change = repository.fetch()
        said = f"{config.name}: {change[:12]}"
        with Fleet(config) as fleet:
            fleet.register()
            if repository.applied() == change:
                leave(fleet, config, change, "")  # an earlier run may not have been able to
                print(f"{said} is applied")
                return 0
            repository.check_out(change)
            turn, failed = take_place(fleet, repository, config, change)
        print(f"{said} {turn.why}", flush=True)
        if not turn.go:
            return int(failed)
        reason = play(config, repository.path, change)
        if not reason:
            repository.note_applied(change)
        print(f"{said} " + (f"failed: {reason}" if reason else "is applied"), flush=True)
        with Fleet(config) as fleet:
            leave(fleet, config, change, reason)
        return 1 if reason else 0


def retry(config: Config) -> int:
    """Forget which hosts have failed, and begin the newest commit, even if it is older than the fleet's."""
    repository = Repository(config)
    with repository.locked():
        change = repository.fetch()

    def step(rollout: Rollout | None) -> tuple[Rollout | None, None]:
        if rollout is not None and rollout.change == change:
            return replace(rollout, failed={}), None
        return Rollout(change, open=rollout.open if rollout else {}), None

    with Fleet(config) as fleet:
        fleet.update(step)
    print(f"{change[:12]} begins again on hosts that have not applied it")
    return 0


def status(config: Config) -> int:
    """Print the state of the change."""
    with Fleet(config) as fleet:
        rollout, _version = fleet.rollout()
        size = fleet.size()
    if rollout is None:
        print("no change has begun")
        return 0
    under_way = [
        name if change == rollout.change else f"{name} ({change[:12]})" for name, change in rollout.open.items()
    ]
    failed = "; ".join(f"{name}: {reason}" for name, reason in sorted(rollout.failed.items()))
    print(f"change     {rollout.change}")
    print(f"done       {rollout.done} of {size} hosts")
    print(f"under way  {', '.join(sorted(under_way)) or 'none'}")
    print(f"failed     {failed or 'none'}")
    print(f"this host  {one_line(Repository(config).applied()) or 'no change yet'}")
    return 1 if rollout.failed else 0


def forget(config: Config, name: str) -> int:
    """Remove a host that has left the fleet, so that nobody waits for it."""
    if not NAME.match(name):
        raise PullError(f"forget: {name!r} is not the name of a host")
    held = Repository(config).locked() if name == config.name else contextlib.nullcontext()
    with held, Fleet(config) as fleet:  # not while this host is at it
        fleet.forget(name)
    print(f"{name} is forgotten")
    return 0


def act(arguments: list[str], path: str) -> int:
    """Do one command."""
    config = read_config(path)
    if arguments[:1] == ["forget"] and len(arguments) == 2:
        return forget(config, arguments[1])
    command = {(): run, ("retry",): retry, ("status",): status}.get(tuple(arguments))
    if command is None:
        raise PullError(f"{' '.join(arguments)!r}: expected nothing, status, retry, or forget NAME")
    return command(config)


def main(arguments: list[str]) -> int:
    """Do what the command line says; returns the exit status."""
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    path = CONFIG
    if arguments[:1] == ["--config"] and len(arguments) > 1:
        path, arguments = arguments[1], arguments[2:]
    logging.getLogger("kazoo").addHandler(logging.NullHandler())
    try:
        return act(arguments, path)
    except (PullError, OSError) as error:
        print(f"mesos-shim-pull: {one_line(str(error))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
