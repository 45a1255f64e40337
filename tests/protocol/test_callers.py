"""Each caller of the helper by its release: exit status, signal, variables, directory, ids, for root and for others."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from mesos_shim.launch import wait

from ..lib import wire
from ..lib.callers import AGENTS, EXECUTORS, Asked, call_of_agent, call_of_executor, words_of_executor
from ..lib.launching import host_mounts
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root
PRIVATE_TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}
SET_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
# What a launch shows of itself, a line each: the private /tmp, its user, its directory, one variable.
LOOK = {"value": "stat -c %a /tmp; id -u; pwd; echo $FOO; exit 7"}
FOO = (("FOO", "bär"), ("PATH", "/usr/bin:/bin"))


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent with one container, whose ContainerInfo it tells in the way of every release."""
    found = PlayedAgent(open_tmp, shim)
    found.shim.configure(default_container_info=PRIVATE_TMP)
    found.checkpoint()
    found.hold(None)
    return found


def give_to_nobody(agent: PlayedAgent) -> None:
    """Let the task's user, or a rootless agent, have the directories that are its own."""
    for path in (agent.sandbox, agent.runtime, *agent.runtime.iterdir()):
        os.chown(path, NOBODY, NOBODY)


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("release", AGENTS)
def test_an_agents_launch(agent: PlayedAgent, release: str, user: str) -> None:
    """A private /tmp of mode 1777, the task's user, sandbox, variables and exit status; nothing on the host."""
    before = host_mounts()
    os.chown(agent.sandbox, NOBODY if user == "nobody" else 0, -1)
    status, out, err, _ = call_of_agent(agent, release, Asked(LOOK, user, FOO))
    uid = NOBODY if user == "nobody" else 0
    assert (status, err) == (7, "")
    assert out.splitlines() == ["1777", str(uid), str(agent.sandbox), "bär"]
    assert host_mounts() == before


@pytest.mark.parametrize("release", AGENTS)
def test_a_rootless_agents_launch(agent: PlayedAgent, release: str) -> None:
    """An agent that is the task's user: the same in a user namespace."""
    give_to_nobody(agent)
    agent.shim.configure(default_container_info=PRIVATE_TMP, state_dir=str(agent.sandbox / "state"))
    for path in agent.work_dir.rglob("executor.info"):
        os.chown(path, NOBODY, NOBODY)
    status, out, err, _ = call_of_agent(agent, release, Asked(LOOK, None, FOO), *SET_NOBODY)
    assert (status, err) == (7, "")
    assert out.splitlines() == ["1777", str(NOBODY), str(agent.sandbox), "bär"]


@pytest.mark.parametrize("release", AGENTS)
def test_death_by_a_signal(agent: PlayedAgent, release: str) -> None:
    """The agent learns which one."""
    assert call_of_agent(agent, release, Asked({"value": "kill -ABRT $$"}))[0] == -signal.SIGABRT


@pytest.mark.parametrize("release", AGENTS)
def test_an_agent_that_has_gone(agent: PlayedAgent, release: str) -> None:
    """End of file in the place of its byte: nothing starts."""
    status, out, err, _ = call_of_agent(agent, release, Asked({"value": "echo started"}), go=False)
    assert (status, out) == (1, "")
    assert "the agent closed its end of the pipe" in err


@pytest.mark.parametrize("release", AGENTS)
def test_arguments_are_the_whole_argv(agent: PlayedAgent, release: str) -> None:
    """shell: false."""
    command = {"shell": False, "value": "/usr/bin/printf", "arguments": ["printf", "%s|", "a b", "$HOME"]}
    assert call_of_agent(agent, release, Asked(command))[:3] == (0, "a b|$HOME|", "")


def program_in(directory: Path, text: str) -> None:
    """A program called `prog`, which prints `text`."""
    path = directory / "prog"
    path.write_text(f"#!/bin/sh\necho {text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("release", AGENTS)
def test_a_program_in_the_working_directory_comes_first_since_1_1(agent: PlayedAgent, release: str) -> None:
    """Before, only PATH counts."""
    other = agent.root / "other"
    other.mkdir()
    program_in(agent.sandbox, "sandbox")
    program_in(other, "path")
    command = {"shell": False, "value": "prog", "arguments": ["prog"]}
    _, out, err, _ = call_of_agent(agent, release, Asked(command, None, (("PATH", str(other)),)))
    assert (out, err) == ("sandbox\n" if release in ("1.1", "1.2") else "path\n", "")


@pytest.mark.parametrize("release", AGENTS)
def test_what_a_release_cannot_tell_is_said_once(agent: PlayedAgent, release: str) -> None:
    """Without a checkpoint, and before 1.5 without a config: the operator's default holds, with one warning."""
    (agent.runtime / "config").unlink()
    for path in agent.work_dir.rglob("executor.info"):
        path.unlink()
    status, out, err, _ = call_of_agent(agent, release, Asked({"value": "stat -c %a /tmp"}))
    assert (status, out) == (0, "1777\n")
    assert err.count("\n") == 1
    assert "passes no ContainerInfo" in err


@pytest.mark.parametrize("release", AGENTS)
def test_a_checkpointed_container_info_counts(agent: PlayedAgent, release: str) -> None:
    """A framework's own read-only volume, of every release that has a checkpoint."""
    (agent.runtime / "config").unlink()
    agent.checkpoint(wire.container_info(wire.volume("/opt", "data", mode=2)))
    status, out, _, _ = call_of_agent(agent, release, Asked({"value": "touch /opt/x || echo read-only"}))
    assert (status, out) == (0, "read-only\n")


# The flags themselves.


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--help=maybe"], "neither 'true' nor 'false'"),
        (["--unshare_namespace_mnt=2"], "neither 'true' nor 'false'"),
        (["--no-user"], "a value is missing"),
        (["--launch_info"], "a value is missing"),
        (["--user=a", "--user=b"], "given twice"),
        (["--no-such=1"], "is not an argument"),
        (["command"], "is not an argument"),
    ],
)
def test_a_flag_that_is_none_is_refused(agent: PlayedAgent, words: list[str], fault: str) -> None:
    """One line, exit 1, nothing started."""
    done = subprocess.run([agent.shim.helper, "launch", *words], capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert fault in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["--help="], ["--help=true"], ["--HELP=1"], ["--no-help", "--x"]])
def test_every_form_of_a_boolean(agent: PlayedAgent, words: list[str]) -> None:
    """As stout's flags take it; the last of these is no help, and refused for its other word."""
    done = subprocess.run([agent.shim.helper, "launch", *words], capture_output=True, text=True, check=False, env={})
    assert done.stdout.startswith("usage: mesos-containerizer launch") == ("--x" not in words)


def test_arguments_win_over_variables(agent: PlayedAgent) -> None:
    """The same flag both ways (stout, flags.hpp: the environment is merged for what is not given yet)."""
    variables = {"MESOS_CONTAINERIZER_HELP": "true", "MESOS_CONTAINERIZER_LAUNCH_INFO": '{"command":{"value":"false"}}'}
    info = json.dumps({"command": {"value": "echo argument"}})
    words = [agent.shim.helper, "launch", "--help=false", f"--launch_info={info}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**variables, "PATH": "/bin"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "argument\n", "")


def test_variables_of_the_framework_steer_no_call_of_arguments(agent: PlayedAgent) -> None:
    """Up to 1.1 the helper's environment is the framework's: no flag is taken from there (threats 15)."""
    pwned = agent.root / "PWNED"
    info = json.dumps({"command": {"value": f"touch {pwned}"}, "user": "root"})
    hostile = (
        ("MESOS_CONTAINERIZER_LAUNCH_INFO", info),
        ("MESOS_CONTAINERIZER_RUNTIME_DIRECTORY", str(agent.root)),
        ("MESOS_CONTAINERIZER_HELP", "true"),
        ("MESOS_CONTAINERIZER_USER", "root"),
        *FOO,
    )
    for release in ("0.21", "0.23", "0.28", "1.0"):
        status, out, err, _ = call_of_agent(agent, release, Asked(LOOK, "nobody", hostile))
        assert (status, err, out.splitlines()[:2]) == (7, "", ["1777", str(NOBODY)])
    assert not pwned.exists()
    assert not (agent.root / "status").exists()


# mesos-executor's call.


@pytest.mark.parametrize("prefix", [(), SET_NOBODY])
@pytest.mark.parametrize("release", EXECUTORS)
def test_an_executors_launch_becomes_the_command(agent: PlayedAgent, release: str, prefix: tuple[str, ...]) -> None:
    """Its variables, directory, ids and exit status; no volume and no default, no record, no process that stays."""
    os.chmod(agent.sandbox, 0o777)
    command = {"value": f"stat -c %d:%i /tmp; id -u; pwd; echo $FOO; cat /proc/{os.getpid()}/task/*/children; exit 7"}
    words = words_of_executor(agent, release, Asked(command, None, FOO))
    environment = EXECUTORS[release](Asked(command, None, FOO))[1]
    process = subprocess.Popen(
        [*prefix, *words],
        env=environment,
        cwd=agent.sandbox,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (7, "")
    host = os.stat("/tmp")
    *lines, children = out.splitlines()
    assert lines == [f"{host.st_dev}:{host.st_ino}", str(NOBODY if prefix else 0), str(agent.sandbox), "bär"]
    assert str(process.pid) in children.split()
    assert not list(agent.shim.state_dir.rglob("*.json"))


@pytest.mark.parametrize("release", EXECUTORS)
def test_an_executors_command_is_the_very_process(agent: PlayedAgent, release: str) -> None:
    """The executor kills, and waits for, the pid that it started."""
    done = call_of_executor(agent, release, Asked({"value": "echo $PPID $$; kill -TERM $$"}))
    parent, own = done.stdout.split()
    assert (int(parent), done.returncode) == (os.getpid(), -signal.SIGTERM)
    assert own != parent


@pytest.mark.parametrize("release", EXECUTORS)
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_an_executors_launch_for_a_user(agent: PlayedAgent, release: str, user: str) -> None:
    """An executor that is root may name the task's user; who is that user already keeps its groups."""
    show = "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status"
    done = call_of_executor(agent, release, Asked({"value": show}, user))
    expected = subprocess.run(["id", "-G", user], capture_output=True, text=True, check=True).stdout
    uid = NOBODY if user == "nobody" else 0
    own = " ".join(map(str, [os.getegid(), *(gid for gid in os.getgroups() if gid != os.getegid())])) + "\n"
    # What covers what was judged for root: another user gains no rights there.
    assert done.stdout == f"{uid}\n{uid}\n{expected if uid else own}NoNewPrivs:\t{1 if uid else 0}\n"


def test_an_ordinary_executor_cannot_become_another(agent: PlayedAgent) -> None:
    """One line, exit 1."""
    done = call_of_executor(agent, "1.2", Asked({"value": "echo started"}, "root"), *SET_NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert "only root can launch as 'root'" in done.stderr


def executor_call(agent: PlayedAgent, *prefix: str, **info: object) -> subprocess.CompletedProcess[str]:
    """mesos-executor's call of 1.2 and later with these fields of the launch info."""
    words = [*prefix, str(agent.shim.helper), "launch", "--help=false", f"--launch_info={json.dumps(info)}"]
    return subprocess.run(
        [*words, "--unshare_namespace_mnt=false"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=agent.sandbox,
    )


def test_an_executors_limits_directory_and_no_new_privileges(agent: PlayedAgent) -> None:
    """As launch.cpp applies them."""
    limits = {"rlimits": [{"type": "RLMT_NOFILE", "soft": 99, "hard": 100}, {"type": "RLMT_CORE"}]}
    done = executor_call(
        agent,
        command={"value": "ulimit -Sn; ulimit -Hn; ulimit -c; pwd; grep NoNewPrivs /proc/self/status"},
        rlimits=limits,
        working_directory="/usr",
        no_new_privileges=True,
    )
    assert done.stdout.split() == ["99", "100", "unlimited", "/usr", "NoNewPrivs:", "1"]


def test_an_executors_groups_are_a_switched_users_alone(agent: PlayedAgent) -> None:
    """supplementary_groups count where the user changes; task_supplementary_groups are for the executor itself."""
    show = {"value": "id -G"}
    plain = executor_call(agent, command=show).stdout
    assert executor_call(agent, command=show, user="root", supplementary_groups=[4242]).stdout == plain
    switched = executor_call(agent, command=show, user="nobody", supplementary_groups=[4242])
    assert "4242" in switched.stdout.split()
    task = executor_call(agent, command=show, user="nobody", task_supplementary_groups=[4243])
    assert "4243" not in task.stdout.split()


def test_an_executors_program_in_its_directory_comes_first(agent: PlayedAgent) -> None:
    """Where a working directory is named; else PATH alone counts."""
    program_in(agent.sandbox, "sandbox")
    command = {"shell": False, "value": "prog", "arguments": ["prog"]}
    named = executor_call(agent, command=command, working_directory=str(agent.sandbox))
    assert (named.returncode, named.stdout) == (0, "sandbox\n")
    done = executor_call(agent, command=command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "not found" in done.stderr


def test_what_is_the_packaged_helpers_goes_there_untouched(agent: PlayedAgent) -> None:
    """All arguments as they came; without one the field is named, and nothing starts."""
    info = {"command": {"value": "echo started"}, "effective_capabilities": {}}
    done = executor_call(agent, **info)
    assert (done.returncode, done.stdout) == (1, "")
    assert "ContainerLaunchInfo.effective_capabilities: needs the packaged" in done.stderr
    packaged = agent.root / "packaged"
    packaged.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    packaged.chmod(0o755)
    agent.shim.configure(packaged_helper=str(packaged))
    done = executor_call(agent, **info)
    assert done.stdout.splitlines()[1:] == [
        "launch",
        "--help=false",
        f"--launch_info={json.dumps(info)}",
        "--unshare_namespace_mnt=false",
    ]
    assert executor_call(agent, command={"value": "true"}, rootfs="/srv").stdout.splitlines()[1] == "launch"


@pytest.mark.parametrize("release", EXECUTORS)
@pytest.mark.parametrize("target", ["/tmp", "/var/tmp", "/opt"])
def test_an_executors_call_inside_of_its_container(agent: PlayedAgent, release: str, target: str) -> None:
    """mesos-executor is launched by an agent's call: its own call finds the helper, and the task the private target.

    The tests install below /var/tmp, so a private one covers the launcher directory, as /opt does the default's.
    """
    volume = {"host_path": "private", "container_path": target, "mode": "RW"}
    agent.shim.configure(default_container_info={"type": "MESOS", "volumes": [volume]})
    os.chown(agent.sandbox, NOBODY, NOBODY)
    task = {"value": f"touch {target}/mine; id -u; stat -c %a {target}; exit 5"}
    inner = " ".join(map(shlex.quote, words_of_executor(agent, release, Asked(task, None, FOO))))
    mode = f"{os.stat(target).st_mode & 0o7777:o}"
    user = "root" if target == "/opt" else "nobody"
    status, out, err, _ = call_of_agent(agent, "1.2", Asked({"value": f"{inner}; echo $?"}, user, FOO))
    assert (status, err) == (0, "")
    assert out.split() == [str(0 if user == "root" else NOBODY), mode, "5"]
    assert (agent.sandbox / "private/mine").exists()
    assert not Path(target, "mine").exists()


def test_a_private_launcher_directory_is_read_only_there(agent: PlayedAgent) -> None:
    """Root's task, too, reaches the host's release only to read it."""
    volume = {"host_path": "private", "container_path": "/var/tmp", "mode": "RW"}
    agent.shim.configure(default_container_info={"type": "MESOS", "volumes": [volume]})
    text = f"touch {agent.shim.helper.parent}/x 2>&1 | grep -c Read-only; ls {agent.shim.prefix.parent}"
    _, out, err, _ = call_of_agent(agent, "1.2", Asked({"value": text}, None, FOO))
    first, *names = out.split()
    assert (first, err) == ("1", "")
    assert sorted(names) == sorted([agent.shim.prefix.name, agent.root.name])


@pytest.mark.parametrize("by_executor", [True, False])
def test_a_terminal(agent: PlayedAgent, by_executor: bool) -> None:
    """tty_slave_path: standard input becomes the session's terminal, whose group the command is in."""
    controller, terminal = pty.openpty()
    path = os.ttyname(terminal)
    text = "test -t 0 && ps -o tty= -p $$; echo $(ps -o tpgid= -p $$) $(ps -o pgid= -p $$)"
    info = {"command": {"value": text}, "tty_slave_path": path, "environment": {"variables": []}}
    if by_executor:
        words = [str(agent.shim.helper), "launch", f"--launch_info={json.dumps(info)}"]
        environment = {"PATH": "/usr/bin:/bin"}
    else:
        words = agent.words({"value": text}, tty_slave_path=path)
        environment = None
    done = subprocess.run(
        words,
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        env=environment,
        cwd=agent.sandbox,
        timeout=60,
    )
    os.close(controller)
    name, foreground, group = done.stdout.split()
    assert (f"/dev/{name}", done.stderr) == (path, "")
    assert foreground == group
    os.close(terminal)


def test_a_terminal_that_is_none_is_refused(agent: PlayedAgent) -> None:
    """Standard input is the agent's to give."""
    status, out, err = end(agent.start("echo started", tty_slave_path="/dev/pts/0"))
    assert (status, out) == (1, "")
    assert "tty_slave_path" in err


# Signals, as an agent's API sends them (KILL_CONTAINER with any number).


@pytest.mark.parametrize("isolation", [None, ["namespaces/pid"]])
@pytest.mark.parametrize("number", sorted(wait.FORWARDED_FOR_AGENT - {signal.SIGTTIN, signal.SIGTTOU}))
def test_every_signal_reaches_the_command(agent: PlayedAgent, number: int, isolation: list[str] | None) -> None:
    """4, 5, 6, 7, 8, 11 and 31 did end the helper, 20 did stop it for good."""
    check_signal(agent, number, isolation)


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU])
def test_signals_of_the_background_reach_the_command(agent: PlayedAgent, number: int) -> None:
    """A shell sets them aside for itself, Python does not."""
    check_signal(agent, number, None)


_CATCH = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {NUMBER})
print("ready", flush=True)
print(int(signal.sigwait({NUMBER})), flush=True)
sys.stdin.read()
"""


def check_signal(agent: PlayedAgent, number: int, isolation: list[str] | None) -> None:
    """A command that waits for the signal gets it; the helper is still there, and tells how the command ended."""
    if isolation:
        agent.shim.configure(isolation=["filesystem/shared", *isolation])
    code = _CATCH.replace("NUMBER", str(int(number)))
    command = {"shell": False, "value": "/usr/bin/python3", "arguments": ["python3", "-c", code]}
    process = agent.start(command)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"{int(number)}\n"
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err, agent.status) == (0, "", "0")
