"""The plan of an agent's launch, and this process in the container's mount namespace."""

from ..containers import record
from ..launch import order, planning
from ..launch.state import LaunchState
from ..system import proc
from . import handshake, reading, view_record
from .reading import Launch

if False:  # for the type checker alone
    from typing import Callable, Iterator


def prepare(work: Launch) -> LaunchState:
    """The launch of `work`, planned."""
    request = work.request
    if work.debug:
        request.info = None
        request.isolation = ()
    if work.setup is not None:
        from . import filesystem_linux

        request.agents_paths = filesystem_linux.covered(work.setup)
    plan = planning.make_plan(request, [] if work.debug else reading.private_directories(work))
    if work.setup is not None:
        plan = filesystem_linux.prepare(work.setup, plan)
    if work.debug:
        from . import debug_container

        records = record.state_dir(work.config.state_dir)
        work.parent = debug_container.find(work.container_ids, work.runtime or "", records, work.target)
        plan = debug_container.inherit(work.parent, plan)
    if work.isolators.mounts and not work.debug:
        plan = plan.but(
            private_mount_namespace=True
        )  # what an isolator mounts, 0.21's agent would have had on the host as well
    state = LaunchState(request, plan)
    state.warnings.extend(work.warnings)
    order.open_record(state)
    return state


def entering(work: Launch, state: LaunchState, enter: "Callable[[LaunchState], None]") -> "Iterator[order.Step]":
    """Into the container's mount namespace, where `enter` has the mounts made, or joined."""
    yield handshake.RESET_SIGNALS
    if work.parent is None and state.plan.own_mount_namespace and not state.left_host:
        yield order.LEAVE_HOST
    yield order.Step("enter", enter)


def enter(work: Launch, state: LaunchState) -> None:
    """This process in the container's mount namespace, and in its sandbox."""
    if work.parent is not None or work.setup is not None:
        # The mount namespace's /proc may be one of a pid namespace.
        state.first = proc.first()
        state.pid_namespace = proc.pid_namespace(state.first["pid"])
    who = None if work.directory is None else _who(work, state)  # as long as the host's /proc is there
    if work.parent is not None:
        from . import debug_container

        debug_container.enter(work.parent)
    else:
        order.enter_mount_tree(state)
    if who is not None and work.directory is not None:
        helper, anchor = who
        covered = bool(state.plan.mounts) or state.plan.before is not None or work.parent is not None
        view_record.write(work.directory, state.plan, helper, anchor, covered)


def _who(work: Launch, state: LaunchState) -> "tuple[tuple[int, int], tuple[int, int]]":
    """The helper, and the process that keeps the mount namespace: those whom a DEBUG container looks for."""
    helper = (state.supervisor["pid"], state.supervisor["start_time"]) if state.supervisor else view_record.myself()
    stays = "pid" not in state.plan.namespaces and work.parent is None
    return helper, helper if stays else view_record.myself()
