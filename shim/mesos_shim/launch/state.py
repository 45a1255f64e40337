"""What one launch has done so far, and who stands for its container: kept apart from the plan, which stays as it is."""

import posix

from ..plan.model import Plan
from ..spec.request import LaunchRequest

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from ..containers.record import Place
    from . import temporary_sandbox, wait


# What a child writes to its parent once it goes on in usage-only mode.
USAGE_ONLY_NOTICE = b"u"


class LaunchState:
    """One launch while its plan is carried out: what its steps take from each other, and its traces."""

    __slots__ = (
        "cgroups",
        "child",
        "first",
        "init_status",
        "killed",
        "left_host",
        "lock",
        "notes",
        "notify_fd",
        "path",
        "pid",
        "pid_namespace",
        "place",
        "plan",
        "private",
        "recorded",
        "relay",
        "remains",
        "remove",
        "request",
        "sandbox",
        "signals",
        "start",
        "status_fd",
        "supervisor",
        "variables",
        "warnings",
    )

    def __init__(self, request: LaunchRequest, plan: Plan) -> None:
        self.request = request
        # Another plan takes its place where the host turns out to give less.
        self.plan = plan
        self.warnings = list(plan.warnings)
        # What launch/rollback.py needs to roll back what was made.
        self.notes: list[tuple[object, ...]] = []
        # Where the record goes, None without one; and the record itself, once it was begun.
        self.place: Place | None = None
        self.recorded: dict[str, object] | None = None
        # Directories of this container's own outside of the sandbox, once they are made: path and inode.
        self.private: list[tuple[str, int, int]] = []
        # Whether this process, or the one that it was forked from, has its own mount namespace already.
        self.left_host = False
        # The container's first process, where that can no longer be asked when the record is written.
        self.first: dict[str, object] | None = None
        # Whose pids are recorded, where the container gets a pid namespace and can no longer ask.
        self.pid_namespace: int | None = None
        # The command's variables and its program, where they are not the caller's environment and its first word.
        self.variables: dict[bytes, bytes] | None = None
        self.path: str | None = None
        # Becomes the command, or starts it as a child of `pid` (spawn.py).
        self.start: Callable[..., int] = posix.execve
        self.pid = 0
        # How the caller had the signals that are held, where the command's process has to release them.
        self.signals: wait.Signals | None = None
        # Of the parent that stays: who it is, its child, groups that were made for it, whether the sandbox is removed
        # at its end and how, the pipe by which an init reports the wait status.
        self.supervisor: dict[str, int] = {}
        self.child: wait.Child | None = None
        self.cgroups: list[str] = []
        self.remove = False
        self.sandbox: temporary_sandbox.Sandbox | None = None
        self.relay: int | None = None
        self.init_status: int | None = None
        # A descriptor of the sandbox, locked for as long as that parent runs (supervisor.lock_sandbox).
        self.lock: int | None = None
        # Where that parent reports the start and the end, as long as somebody reads it.
        self.status_fd: int | None = None
        # How many processes were killed for memory, and whether something was not removed, which gc then does.
        self.killed: int | None = None
        self.remains = False
        # Over which a child notifies that parent of what it is to know.
        self.notify_fd: int | None = None
