"""`mesos-shim enter ID -- COMMAND`: a command inside a running container's mount namespace, as its user.

What is joined is checked first (containers/namespaces.py). What is root's stays outside: the terminal
(launch/terminal.py), the session keyring, the environment, every descriptor above 2.
"""

import os
import sys

from ..containers import membership, namespaces, processes, record, registry
from ..containers.counters import Counters
from ..containers.processes import Process
from ..containers.registry import Entry
from ..errors import ShimError, one_line, reason
from ..launch import ending, execute, supervisor, terminal, wait
from ..spec.config import Config
from ..system import cgroups, credentials, other_syscalls, syscalls
from . import agents_user, options

HELP = """\
usage: mesos-shim enter ID [--config FILE] -- COMMAND [ARG...]

Runs COMMAND in the namespaces, cgroups and sandbox of a running container, as
the container's user. If you are at a terminal, the command gets its own. From
root's environment it gets only TERM, LANG and similar variables; HOME, USER,
SHELL and PATH are set as for a login. The exit status is that of COMMAND.
'mesos-shim ps' lists the ids.

example: mesos-shim enter run-1a2b3c4d5e6f -- sh
"""

# What a login shell leaves alone (su(1), --login), and what says in which words and colours to speak.
_KEPT = (b"TERM", b"COLORTERM", b"NO_COLOR", b"LANG", b"LANGUAGE", b"TZ")
_PATH = b"/usr/local/bin:/usr/bin:/bin"
_PATH_OF_ROOT = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(arguments: "list[str]", config_path: str) -> int:
    """Become the command, or wait for it where it runs in a pid namespace; its exit status."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    values, operands = options.parse(arguments[:cut], ("--config",), (), "enter")
    if options.asks_help(values, HELP):
        return 0
    command = arguments[cut + 1 :]
    if len(operands) != 1:
        raise ShimError("enter: one container id; 'mesos-shim ps' lists them")
    if not command:
        raise ShimError("enter: no command; it goes after '--'")
    if not processes.LINUX:
        raise ShimError("enter: containers have no mount namespace on this system; run the command in the sandbox")
    entry, process = _find(options.read_config(values, config_path), operands[0])
    variables = _environment(entry)
    terminal.separate(entry.uid)
    what = f"enter: container {entry.container_id!r}"
    found = namespaces.open_those_of(what, process.pid, process.start, namespaces.KINDS, entry.namespaces, entry.uid)
    _join_groups(entry)
    return _run(entry, found, command, variables)


def _find(config: Config, container_id: str) -> "tuple[Entry, Process]":
    """The container and one of its live processes: the recorded one, else one that it left behind."""
    state = record.state_dir(config.state_dir)
    entries, warnings = registry.read_all(state)
    for entry in entries:
        if entry.container_id == container_id:
            break
    else:
        for warning in warnings:
            sys.stderr.write(f"mesos-shim: warning: {one_line(warning)}\n")
        if agents_user.identity(config) is not None:  # whatever its tasks have recorded, root does not go there
            raise ShimError(
                f"enter: no container {container_id!r} in {state}; an agent's are entered as its user: "
                f"runuser --pty -u {config.agent_user} -- mesos-shim enter ..."
            )
        raise ShimError(f"enter: no container {container_id!r} in {state}; 'mesos-shim ps' lists them")
    members = membership.find(entries, processes.table(), Counters(state, locked=False).previous_members(entries))
    if container_id in members.hidden:
        raise ShimError(f"enter: container {container_id!r} is in another pid namespace and is not visible from here")
    if not members.alive(entry):
        raise ShimError(f"enter: container {container_id!r} has ended; 'mesos-shim gc' removes what it left behind")
    return entry, members.one(entry)


def _environment(entry: Entry) -> "dict[bytes, bytes]":
    """The command's variables: an ordinary caller's own; of root's those alone that a login would keep."""
    variables = execute.environment()
    if os.geteuid() != 0:
        return variables
    import pwd  # here, not in the container's mount namespace

    kept = {name: value for name, value in variables.items() if name in _KEPT or name.startswith(b"LC_")}
    kept[b"PATH"] = _PATH if entry.uid else _PATH_OF_ROOT
    try:
        account = pwd.getpwuid(entry.uid)
    except KeyError:
        return {**kept, b"HOME": b"/"}
    name, home, shell = map(os.fsencode, (account.pw_name, account.pw_dir, account.pw_shell))
    return {**kept, b"HOME": home, b"SHELL": shell or b"/bin/sh", b"USER": name, b"LOGNAME": name}


def _join_groups(entry: Entry) -> None:
    """What is run inside counts as the container's, and has its limits; if it cannot be moved, a warning says so."""
    for directory in sorted(set(entry.cgroups.values())):
        try:
            cgroups.join([directory])
        except ShimError as error:
            sys.stderr.write(f"mesos-shim: warning: {one_line(str(error))}: it will not count as the container's\n")


def _run(entry: Entry, found: "dict[str, int]", command: "list[str]", variables: "dict[bytes, bytes]") -> int:
    signals = wait.hold_signals()
    execute.stop_imports()
    try:
        if "user" in found:
            # Its uids mean nothing inside: become the user outside, whose namespace it is.
            _become(entry)
        for fd in found.values():
            other_syscalls.setns(fd, 0)
    except OSError as error:
        raise ShimError(f"enter: joining the namespaces of {entry.container_id!r}: {reason(error)}") from None

    def finish(_: int = 0) -> None:
        wait.release_signals(signals)
        _finish(entry, "user" in found)
        execute.command(command, variables)

    if "pid" not in found:
        finish()
    # A process does not change its own pid namespace, only its children's (setns(2)).
    child = supervisor.make_child(finish, "mesos-shim")
    execute.close_others([])
    return ending.exit_code(wait.wait(child))


def _become(entry: Entry) -> None:
    gid = entry.uid if entry.gid is None else entry.gid
    if os.geteuid() == 0:
        execute.leave_session_keyring()
        credentials.become(credentials.Identity(entry.uid, gid, entry.groups, switch=True))
    elif entry.uid != os.geteuid():
        raise ShimError(f"enter: {entry.container_id!r} runs as uid {entry.uid}; only root or that user can enter it")


def _finish(entry: Entry, is_user: bool) -> None:
    """Inside: the user's ids, the sandbox."""
    try:
        execute.keep_only([])
        execute.restore_signals()
        if entry.no_new_privs:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        if not is_user:
            _become(entry)
    except OSError as error:
        raise ShimError(f"enter: becoming uid {entry.uid} of {entry.container_id!r}: {reason(error)}") from None
    # As the user: they may have put a link in the sandbox's place, and root would follow it where they may not go.
    try:
        os.chdir(entry.sandbox)
    except OSError as error:
        sys.stderr.write(f"mesos-shim: warning: sandbox {one_line(entry.sandbox)}: {reason(error)}; starting in /\n")
        sys.stderr.flush()
        os.chdir("/")
