"""What one launch has done so far, and who stands for its container: kept apart from the plan, which stays as it is."""

from ..plan.model import Plan


class LaunchState:
    """The traces of one launch while its plan is carried out."""

    __slots__ = (
        "first",
        "left_host",
        "lock",
        "notes",
        "pid_namespace",
        "plan",
        "private",
        "record_place",
        "recorded",
        "relay",
        "remove",
        "status_fd",
        "supervisor",
        "telling",
        "warnings",
    )

    def __init__(self, plan: Plan) -> None:
        # Another plan takes its place where the host turns out to give less.
        self.plan = plan
        self.warnings = list(plan.warnings)
        # What launch/rollback.py needs to take back what was made.
        self.notes: list[tuple[object, ...]] = []
        self.record_place: object = None
        self.recorded: dict[str, object] | None = None  # once it was begun
        # Directories of this container's own outside of the sandbox, once they are made: path and inode.
        self.private: list[tuple[str, int, int]] = []
        # Whether this process, or the one that it was forked from, has its own mount namespace already.
        self.left_host = False
        # The container's first process, where that can no longer be asked when the record is written.
        self.first: dict[str, object] | None = None
        # Whose pids are recorded, where the container gets a pid namespace and can no longer ask.
        self.pid_namespace: int | None = None
        # Of the parent that stays: who it is, whether it removes the sandbox, where an init tells it the wait status.
        self.supervisor: dict[str, int] = {}
        self.remove = False
        # A descriptor of the sandbox, locked for as long as that parent runs (supervisor.hold).
        self.lock: int | None = None
        # Where that parent reports the start and the end, as long as somebody reads it.
        self.status_fd: int | None = None
        # Over which a child tells that parent what it is to know.
        self.telling: int | None = None
        self.relay: int | None = None
