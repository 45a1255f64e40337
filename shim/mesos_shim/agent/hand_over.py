"""Hands a launch over to the packaged helper, in the container's mount namespace: what it does better than we."""

import posix

from .. import errors
from ..errors import ShimError, reason
from ..launch import execute, order, wait
from ..launch.state import LaunchState
from . import common, handshake, untouched, view
from .reading import Launch

_CLONE_NEWNS = 0x20000


def hand_over(work: Launch, signals: "wait.Signals | None") -> None:
    """Attach our volumes, take their entries out of the launch info, and become the packaged helper."""
    from . import packaged

    what = f"ContainerLaunchInfo.{work.needs_packaged}"
    program = packaged.open_packaged(work.config, what)
    untouched.check_no_parent(work.request, what)
    state, place = view.make_plan(work)
    common.check_view_for_root(state.plan, what)
    # The helper makes the namespaces that the agent names.
    state.plan = state.plan.but(apart=state.plan.before is not None)
    if signals is not None:
        handshake.let_signals_be(signals)
    if work.parent is not None and work.target is not None:
        from . import debug_container

        # It joins the view itself, from outside of it: in an image's it would not be found.
        debug_container.check(work.parent)
        work.given.values["namespace_mnt_target"] = str(work.parent.pid)
    else:
        view.enter(work, state)
    order.settle(work.request, state, place)
    errors.warn(state.warnings)
    try:
        _become_packaged(work, state, signals, program)
    except BaseException:
        order.give_up(state)
        raise


def _become_packaged(work: Launch, state: LaunchState, signals: "wait.Signals | None", program: int) -> None:
    from . import packaged

    info = {name: value for name, value in work.info.items() if name not in ("mounts", "file_operations")}
    if (
        state.plan.own_view and "clone_namespaces" in info
    ):  # else it would make mounts slaves that are shared with the host
        flags = common.numbers(info["clone_namespaces"], "ContainerLaunchInfo.clone_namespaces")
        info["clone_namespaces"] = [flag for flag in flags if flag != _CLONE_NEWNS]
    if "pre_exec_commands" in info:
        items = common.objects(info["pre_exec_commands"], work.commands_where)
        info["pre_exec_commands"] = [items[index] for index in work.isolators.kept]
    try:
        if info.get("working_directory") is None and not work.given.by_arguments:
            info["working_directory"] = posix.getcwd()
        # Root's program does not start in a user's directory: an empty element of LD_LIBRARY_PATH would name that.
        if info.get("working_directory") is not None:
            posix.chdir("/")
    except OSError as error:
        raise ShimError(f"leaving the sandbox for the packaged helper: {reason(error)}") from None
    # It waits for the agent's byte, which we have read: a pipe of our own holds another.
    reading, writing = posix.pipe()
    posix.write(writing, b"\0")
    for fd in (reading, writing):
        posix.set_inheritable(fd, True)
    arguments = work.given.again(info, reading, writing)
    if signals is not None:
        wait.release_signals(signals)
    if state.plan.user.switch:
        execute.leave_session_keyring()
    packaged.drop_inheritable()
    if state.plan.no_new_privs is not None:
        order.set_no_new_privs()
    packaged.become(work.config, program, arguments)
