"""What the helper does as root inside of a container's mount namespace, where files may be the task user's.

Isolators' commands and another working directory than the sandbox: usual launches have neither.
"""

import posix

from ..errors import ShimError, reason
from ..launch import execute, wait
from ..plan import model
from ..system.files import trusted_uids
from ..system.walk import resolve
from . import common

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

# All that root's commands get: the framework's variables, LD_PRELOAD and PATH among them, are not root's (threats 15).
_ROOTS_VARIABLES = {b"PATH": b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def run_as_root(
    commands: "list[common.Command | Callable[[], None]]", plan: model.Plan, where: str, directory: str = "/"
) -> None:
    """Run an isolator's own commands, or our calls in their place, one after the other, in the agent's `directory`.

    The first that fails ends the launch.
    """
    check_view_for_root(plan, where)
    for index, item in enumerate(commands):
        if not isinstance(item, common.Command):
            _do(item, f"{where}[{index}]")
            continue
        pid = wait.make_process(f"{where}[{index}]")
        if pid == 0:
            _exec(item, directory)
        _, status = posix.waitpid(pid, 0)
        if status:
            raise ShimError(f"{where}[{index}]: {item.argv!r} ended with wait status {status}")


def check_view_for_root(plan: model.Plan, what: str) -> None:
    """Refuse to run `what` as root in a mount namespace in which the task's user provides files over root's."""
    if plan.not_as_root is not None:
        raise ShimError(f"{what}: nothing runs as root in this container's mount namespace: {plan.not_as_root}")


def _do(call: "Callable[[], None]", where: str) -> None:
    try:
        call()
    except OSError as error:
        raise ShimError(f"{where}: doing the isolator's mount: {reason(error)}") from None


def _exec(item: common.Command, directory: str) -> None:
    try:
        posix.chdir(directory)
        execute.restore_signals()
        execute.command(item.argv, _ROOTS_VARIABLES, item.path)
    finally:
        posix._exit(127)


def change_directory(path: str, nested: bool = True) -> None:
    """Enter the working directory inside the new mount namespace, walked and checked as a sandbox is (system/walk.py).

    We are root still, and the task's user may put a link in the place of what is theirs.
    """
    found = resolve(path, "working_directory", trusted_uids(), nested)
    try:
        posix.fchdir(found.fd)
    except OSError as error:
        raise ShimError(f"working_directory {path!r}: {reason(error)}") from None
    finally:
        posix.close(found.fd)
