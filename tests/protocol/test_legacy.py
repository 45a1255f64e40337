"""The 0.21 launch protocol: arguments, no parent, a root shell that must never see a framework's words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root
PRIVATE_TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent with one container."""
    return PlayedAgent(open_tmp, shim)


def commands(*values: str) -> str:
    """The isolators' commands as 0.21 hands them over."""
    return json.dumps({"commands": [{"shell": True, "value": value} for value in values]})


def test_default_applies_and_the_helper_becomes_the_command(agent: PlayedAgent) -> None:
    """Same pid, the command's own exit status, cwd in the sandbox, the framework's variables passed on."""
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    agent.checkpoint()
    process = agent.start_021("echo $$ $FOO; pwd; stat -c %a /tmp; exit 5", environment={"FOO": "bar"})
    status, out, err = end(process)
    assert (status, err) == (5, "")
    assert out.split() == [str(process.pid), "bar", str(agent.sandbox), "1777"]


def test_checkpointed_container_info_takes_the_place_of_the_shell_command(agent: PlayedAgent) -> None:
    """Read-only holds, though the agent's own command would have mounted it writable."""
    agent.checkpoint(wire.container_info(wire.volume("/opt", "data", mode=2)))
    status, out, err = end(
        agent.start_021(
            "touch /opt/x || echo read-only", commands=commands(f"mount -n --bind {agent.sandbox}/data /opt")
        )
    )
    assert status == 0
    assert out == "read-only\n"
    assert "Read-only file system" in err
    assert not (agent.sandbox / "data/x").exists()


def test_injected_shell_command_never_runs(agent: PlayedAgent) -> None:
    """Seen live on 0.21.2: a host_path of 'x;touch PWNED;y' ran touch as root (threats 2)."""
    evil = f"x;touch {agent.root}/PWNED;y"
    line = f"mount -n --bind {agent.sandbox}/{evil} /opt"
    status, out, err = end(agent.start_021("echo started", commands=commands(line)))
    assert (status, out) == (1, "")
    assert "is not run" in err
    agent.checkpoint(wire.container_info(wire.volume("/opt", evil)))
    status, out, err = end(agent.start_021("echo started", commands=commands(line)))
    # Known, it is only an odd name of two levels: a directory in the sandbox.
    assert not (agent.root / "PWNED").exists()
    assert (status, out) == (0, "started\n")


def test_plain_bind_is_done_natively_where_nothing_is_checkpointed(agent: PlayedAgent) -> None:
    """Two existing paths are unmistakable; a source that does not exist is refused."""
    (agent.sandbox / "data").mkdir()
    line = f"mount -n --bind {agent.sandbox}/data /opt"
    status, _, err = end(agent.start_021("touch /opt/x", commands=commands(line)))
    assert status == 0
    assert "mode is unknown" in err
    assert (agent.sandbox / "data/x").exists()
    status, out, err = end(agent.start_021("echo started", commands=commands(line.replace("data", "absent"))))
    assert (status, out) == (1, "")
    assert "does not exist" in err


def test_other_isolators_commands_run_as_root_before_the_user_changes(agent: PlayedAgent) -> None:
    """As the original does; one that fails ends the launch."""
    agent.sandbox.chmod(0o777)
    agent.checkpoint()
    place = agent.sandbox / "root"
    status, out, _ = end(agent.start_021("cat root; id -u", user="nobody", commands=commands(f"id -u > {place}")))
    assert (status, out.split()) == (0, ["0", str(NOBODY)])
    status, out, err = end(agent.start_021("echo started", commands=commands("exit 3")))
    assert (status, out) == (1, "")
    assert "--commands[0]" in err


def test_environment_of_the_framework_steers_nothing(agent: PlayedAgent) -> None:
    """The helper's environment is the framework's: PYTHON* and our own names change nothing (threats 15)."""
    (agent.root / "sitecustomize.py").write_text(f"open({str(agent.root / 'PWNED')!r}, 'w')\n")
    agent.shim.configure(default_container_info=PRIVATE_TMP)
    agent.checkpoint()
    hostile = {
        "PYTHONPATH": str(agent.root),
        "PYTHONSTARTUP": str(agent.root / "sitecustomize.py"),
        "PYTHONHOME": str(agent.root),
        "XDG_RUNTIME_DIR": str(agent.root / "xdg"),
        "MESOS_SHIM_CONFIG": "/dev/null",
    }
    status, out, err = end(agent.start_021("stat -c %a /tmp; echo $PYTHONPATH", environment=hostile))
    assert (status, err) == (0, "")
    assert out.split() == ["1777", str(agent.root)]
    assert not (agent.root / "PWNED").exists()
    assert not (agent.root / "xdg").exists()


def test_agent_gone(agent: PlayedAgent) -> None:
    """Nothing starts."""
    status, out, err = end(agent.start_021("echo started", go=False))
    assert (status, out) == (1, "")
    assert "the agent closed its end of the pipe" in err


def test_pipe_ends_and_other_descriptors_do_not_reach_the_command(agent: PlayedAgent) -> None:
    """A 0.21 agent leaves descriptors open; the task gets 0, 1 and 2 only (threats 9)."""
    status, out, _ = end(agent.start_021({"shell": False, "value": "/bin/ls", "arguments": ["ls", "/proc/self/fd"]}))
    assert status == 0
    assert out.split()[:3] == ["0", "1", "2"]
    assert len(out.split()) == 4  # and the one that ls reads the directory by


@pytest.mark.parametrize(
    "arguments",
    [
        ["launch"],
        ["launch", "--command={}"],
        ["launch", "--bogus=1"],
        ["launch", "--command={}", "--pipe_read=x", "--pipe_write=4"],
        ["launch", "--command={}", "--command={}"],
        ["launch", "command"],
    ],
)
def test_bad_arguments_are_one_line(agent: PlayedAgent, arguments: list[str]) -> None:
    """Exit 1, as the original's failures; nothing run."""
    import subprocess

    done = subprocess.run([agent.shim.helper, *arguments], capture_output=True, text=True, check=False, cwd=os.sep)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "internal error" not in done.stderr
