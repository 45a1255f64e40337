"""`mesos-shim enter ID -- COMMAND`: a command inside a running container's view, as its user.

The namespaces are opened first and the process's start time is compared afterwards: what was opened is then the
container's, whoever has its pid by the time it is joined.
"""

import os
import sys

from . import execute, identity, linux, options, record, registry, supervise
from .errors import ShimError, one_line, reason
from .isolators import cgroup
from .registry import Entry
from .usage import membership, processes
from .usage.counters import Counters
from .usage.processes import Process

HELP = """\
usage: mesos-shim enter ID [--config FILE] -- COMMAND [ARG...]

Runs COMMAND in the namespaces, the cgroups and the sandbox of a running
container, as its user, with the caller's environment. Ends as COMMAND ends.
'mesos-shim ps' lists the ids.

example: mesos-shim enter run-1a2b3c4d5e6f -- sh
"""

# A user namespace first: it gives the right to the others. Those that the shim never makes are joined too, where the
# container's process has them.
_KINDS = ("user", "mnt", "pid", "ipc", "net", "uts", "cgroup", "time")


def main(arguments: "list[str]", config_path: str) -> int:
    """Become the command, or wait for it where it runs in a pid namespace; its exit status."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    given, operands = options.parse(arguments[:cut], ("--config",), (), "enter")
    if options.asks_help(given, HELP):
        return 0
    command = arguments[cut + 1 :]
    if len(operands) != 1:
        raise ShimError("enter: one container id; 'mesos-shim ps' lists them")
    if not command:
        raise ShimError("enter: no command; it goes after '--'")
    if not processes.LINUX:
        raise ShimError("enter: a container has no view of its own on this system; run the command in its sandbox")
    entry, process = _find(options.state_dir(given, config_path), operands[0])
    found = _open_namespaces(entry, process)
    _join_groups(entry)
    return _run(entry, found, command)


def _find(state: str, container_id: str) -> "tuple[Entry, Process]":
    """The container and one of its live processes: the recorded one, else one that it left behind."""
    entries, warnings = registry.read_all(state)
    for entry in entries:
        if entry.container_id == container_id:
            break
    else:
        for warning in warnings:
            sys.stderr.write(f"mesos-shim: warning: {one_line(warning)}\n")
        raise ShimError(f"enter: no container {container_id!r} in {state}; 'mesos-shim ps' lists them")
    members = membership.find(entries, processes.table(), Counters(state, locked=False).known(entries))
    if container_id in members.hidden:
        raise ShimError(f"enter: container {container_id!r} is of another pid namespace and is not seen from here")
    if not members.alive(entry):
        raise ShimError(f"enter: container {container_id!r} has ended; 'mesos-shim gc' clears what it left")
    return entry, members.one(entry)


def _open_namespaces(entry: Entry, process: Process) -> "dict[str, int]":
    """Descriptors of those namespaces of the process that are not ours."""
    pid = process.pid
    if record.start_time(pid) != process.start:
        raise ShimError(f"enter: container {entry.container_id!r} has just ended")
    found = {}
    for kind in _KINDS:
        ours = _inode(f"/proc/self/ns/{kind}")
        if ours is None:
            continue  # a kind that this kernel does not have
        try:
            fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ShimError(f"enter: container {entry.container_id!r} has just ended") from None
        except OSError as error:
            raise ShimError(f"enter: pid {pid} of {entry.container_id!r}: {kind} namespace: {reason(error)}") from None
        if os.fstat(fd).st_ino == ours:
            if kind == "mnt" and entry.namespaces.get("mnt", ours) != ours:
                # A 1.x agent's helper stands for the command in the record until there is one.
                raise ShimError(
                    f"enter: pid {pid} of {entry.container_id!r} is not in the view that it was launched in: "
                    "it has just been started, try again, or has left it"
                )
            os.close(fd)
        else:
            found[kind] = fd
    if record.start_time(pid) != process.start:
        raise ShimError(f"enter: container {entry.container_id!r} has just ended; pid {pid} is another's by now")
    return found


def _inode(path: str) -> "int | None":
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _join_groups(entry: Entry) -> None:
    """What is run inside counts as the container's, and has its limits; who may not move himself is told."""
    for directory in sorted(set(entry.cgroups.values())):
        try:
            cgroup.join([directory])
        except ShimError as error:
            sys.stderr.write(f"mesos-shim: warning: {one_line(str(error))}: it will not count as the container's\n")


def _run(entry: Entry, found: "dict[str, int]", command: "list[str]") -> int:
    signals = supervise.hold_signals()
    try:
        if "user" in found:
            # Its uids mean nothing inside: become the user outside, whose namespace it is.
            _become(entry)
        for fd in found.values():
            linux.setns(fd, 0)
    except OSError as error:
        raise ShimError(f"enter: joining the namespaces of {entry.container_id!r}: {reason(error)}") from None
    if "pid" not in found:
        supervise.release_signals(signals)
        _finish(entry, "user" in found, command)
    # A process does not change its own pid namespace, only its children's (setns(2)).
    child = supervise.fork(lambda _: _inside(entry, "user" in found, command, signals), "mesos-shim")
    execute.close_others([])
    return supervise.exit_code(supervise.wait(child))


def _inside(entry: Entry, is_user: bool, command: "list[str]", signals: supervise.Signals) -> None:
    supervise.release_signals(signals)
    _finish(entry, is_user, command)


def _become(entry: Entry) -> None:
    gid = entry.uid if entry.gid is None else entry.gid
    if os.geteuid() == 0:
        identity.become(identity.Identity(entry.uid, gid, entry.groups, switch=True))
    elif entry.uid != os.geteuid():
        raise ShimError(f"enter: {entry.container_id!r} runs as uid {entry.uid}; only root or that user can enter it")


def _finish(entry: Entry, is_user: bool, command: "list[str]") -> None:
    """Inside: the user's ids, the sandbox, the command."""
    execute.keep_only([])
    execute.restore_signals()
    if entry.no_new_privs:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if not is_user:
        _become(entry)
    # As the user: he may have put a link in the sandbox's place, and root would follow it where he may not go.
    try:
        os.chdir(entry.sandbox)
    except OSError as error:
        sys.stderr.write(f"mesos-shim: warning: sandbox {one_line(entry.sandbox)}: {reason(error)}; starting in /\n")
        sys.stderr.flush()
        os.chdir("/")
    execute.command(command, execute.environment())
