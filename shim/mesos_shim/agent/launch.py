"""An agent's call, of every release: wait for its byte, make the container's mount namespace, start the command.

Since 1.1 the agent reads a status file that only a parent can write, so we stay beside the command; before, we become
it. Sources: src/slave/containerizer/mesos/launch.cpp of 0.21.2, 0.28.3, 1.0.4, 1.1.3, 1.4.3, 1.11.0, and real agents.
"""

from ..launch import execute, order, planning, spawn, supervisor, wait
from ..launch.state import LaunchState
from ..system import paths
from . import common, handshake, launch_info, reading, view
from .reading import Launch

if False:  # for the type checker alone
    from typing import Iterator

    from . import call

_EXIT_FAILURE = 1


def launch(agents_call: "call.Call", config_path: str) -> int:
    """Launch for the agent that made the call `agents_call`.

    Where it reads a status file: 0 once that says how the command ended, 1 if none was started. Else this process
    becomes the command, and comes back only with an error.
    """
    runtime = agents_call.get("runtime_directory")
    if runtime is None:
        return _become(agents_call, config_path)
    status = handshake.open_status(runtime)
    wait_status, failed = _EXIT_FAILURE << 8, True
    try:
        signals = wait.hold_signals(wait.FORWARDED_FOR_AGENT)
        agents_call.check()
        work = reading.read(agents_call, agents_call.launch_info(), config_path)
        _leave_untouched(work, signals)
        signals = handshake.wait_for_agent(
            agents_call.descriptor("pipe_read"), agents_call.descriptor("pipe_write"), signals
        )
        if work.needs_packaged is not None:
            from . import hand_over

            hand_over.hand_over(work, signals)
        wait_status, failed = _run(work, signals, status)
    except Exception as error:
        from . import early_signal

        if not isinstance(error, early_signal.EarlySignal):
            raise
        wait_status = error.number
    finally:
        handshake.write_status(status, wait_status)
    return _EXIT_FAILURE if failed else 0


def _become(agents_call: "call.Call", config_path: str) -> int:
    """For an agent that waits for the command itself (before 1.1); comes back only with an error."""
    agents_call.check()
    work = reading.read(agents_call, agents_call.launch_info(), config_path)
    _leave_untouched(work, None)
    pipe = agents_call.descriptor("pipe_read")
    common.close_agents_end(agents_call.descriptor("pipe_write"))
    common.has_agents_byte(pipe)
    if work.needs_packaged is not None:
        from . import hand_over

        hand_over.hand_over(work, None)
    state = view.prepare(work)
    process = launch_info.Process(work.info, searches=False)
    state.plan = state.plan.but(command=process.command.argv)
    if planning.needs_parent(work.request):
        from ..launch import ending

        state.signals = wait.hold_signals(wait.FORWARDED_FOR_AGENT)
        child = supervisor.fork(state, steps(work, state, process))
        ending.end_as(_wait(state, child, [], state.signals))
    order.become(state, steps(work, state, process))
    return _EXIT_FAILURE


def _leave_untouched(work: Launch, signals: "wait.Signals | None") -> None:
    """Hand an image's launch over before anything of it is taken."""
    image = reading.image_of(work.info, work.held)
    if image is not None:
        from . import packaged

        packaged.hand_over_image(work.config, work.request, work.agents_call.arguments, signals, image)


def _run(work: Launch, signals: wait.Signals, status: int) -> "tuple[int, bool]":
    """Start the command and wait for it: its raw wait status, and whether it failed before it was the command.

    The descriptor `status` stays open.
    """
    state = view.prepare(work)
    process = launch_info.Process(work.info)
    state.plan = state.plan.but(command=process.command.argv)
    if process.terminal:
        launch_info.take_terminal()
    sequence, first = steps(work, state, process), list(_helpers_own(work, state))
    if _spawns(work, state, process, signals):
        child = spawn.spawn(state, sequence, signals, first)
    else:
        state.signals = signals
        child = supervisor.fork(state, sequence, first)
    return _wait(state, child, [status], signals), child.failed


def _helpers_own(work: Launch, state: LaunchState) -> "Iterator[order.Step]":
    """The helper in the container's namespaces as well, as Mesos' own is: an agent takes it for where that is."""
    if work.parent is not None:
        yield order.Step("join_pid_namespace", lambda _: _join_pid_namespace(work))
    elif state.plan.own_mount_namespace and "pid" not in state.plan.namespaces:
        yield order.LEAVE_HOST


def _join_pid_namespace(work: Launch) -> None:
    if work.parent is not None:
        from . import debug_container

        debug_container.enter(work.parent, debug_container.IN_PARENT)


def _wait(state: LaunchState, child: wait.Child, keep: "list[int]", signals: wait.Signals) -> int:
    """Stay until the command has ended: its raw wait status. The descriptors `keep` stay open."""
    supervisor.keep_only(state, child, keep)
    wait_status = wait.wait(child, forwarded=signals.forwarded)
    supervisor.clear_away(state)
    return wait_status


def _spawns(work: Launch, state: LaunchState, process: launch_info.Process, signals: wait.Signals) -> bool:
    """Whether the command can be started without a fork.

    What runs first as root, limits and another container's namespaces are the child's alone. Where the program is
    depends on the mount namespace; and only a child of fork knows its pid in time to put it into a variable.
    """
    return (
        not work.isolators.steps
        and not process.limits
        and not work.debug
        and not process.searches
        and not execute.is_for_our_pid(process.variables)
        and spawn.possible(state, signals)
    )


def steps(work: Launch, state: LaunchState, process: launch_info.Process) -> "Iterator[order.Step]":
    """The steps of the process that becomes the command; the agent has some of its own."""
    return order.steps(
        state,
        enter=view.entering(work, state, lambda state: _enter(work, state, process)),
        inside=[
            order.Step("agents_commands", lambda state: _run_as_root(work, state)),
            order.Step("working_directory", lambda state: _enter_directory(work, state, process)),
            order.Step("limits", lambda _: process.set_limits()),
            order.Step("program", process.give_program),
        ],
    )


def _enter(work: Launch, state: LaunchState, process: launch_info.Process) -> None:
    view.enter(work, state)
    if process.no_new_privileges:
        state.plan = state.plan.but(no_new_privs="the agent says so")


def _run_as_root(work: Launch, state: LaunchState) -> None:
    if work.isolators.steps:
        from . import inside

        inside.run_as_root(work.isolators.steps, state.plan, work.commands_where, work.agents_directory)


def _enter_directory(work: Launch, state: LaunchState, process: launch_info.Process) -> None:
    directory = process.directory
    if directory is not None and (work.debug or paths.normal(directory) != state.plan.sandbox.path):
        from . import inside

        inside.change_directory(directory, nested=len(work.container_ids) > 1)
