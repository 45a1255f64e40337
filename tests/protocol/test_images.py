"""An image's root file system is the packaged helper's: it gets the call as the agent made it.

The packaged helper is played by a script that says what it was given.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def packaged(open_tmp: Path, shim: Shim) -> Path:
    """A packaged helper, which says what it was given, before and after the agent's byte."""
    path = open_tmp / "packaged"
    path.write_text(
        "#!/bin/sh\n"
        'echo $$ "$@"\n'
        "tr '\\0' '\\n' < /proc/$$/environ | sort\n"
        "echo ready\n"
        "grep -E 'Sig(Blk|Ign)' /proc/self/status\n"
        "head -c 1 /proc/self/fd/$MESOS_CONTAINERIZER_PIPE_READ | od -An -tx1\n"
    )
    path.chmod(0o755)
    shim.configure(
        packaged_helper=str(path),
        default_container_info={
            "type": "MESOS",
            "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}],
        },
    )
    return path


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    return PlayedAgent(open_tmp, shim)


def of_task(agent: PlayedAgent) -> None:
    """A ContainerConfig whose command executor launches a task with an image."""
    (agent.runtime / "config").write_bytes(
        wire.checkpoint(wire.data(3, str(agent.sandbox)) + wire.data(5, "/images/x"))
    )


@pytest.mark.usefixtures("packaged")
@pytest.mark.parametrize("whose", ["the container's", "the task's"])
def test_the_packaged_helper_gets_the_call_untouched(agent: PlayedAgent, whose: str) -> None:
    """Its environment, its arguments, and the pipe with the byte still to come."""
    agent.hold(None)
    fields: dict[str, object] = {"rootfs": "/images/x"}
    if whose == "the task's":
        of_task(agent)
        fields = {}
    fields["mounts"] = [{"flags": 20480, "source": "/images/x", "target": "/images/x"}]
    reading, writing = os.pipe()
    given = agent.variables("true", reading, writing, **fields)
    process = subprocess.Popen(
        [str(agent.shim.helper), "launch"],
        env=given,
        pass_fds=(reading, writing),
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    assert process.stdout is not None
    lines = [process.stdout.readline().rstrip("\n")]
    while lines[-1] != "ready":
        lines.append(process.stdout.readline().rstrip("\n"))
    assert process.poll() is None
    os.write(writing, b"\x07")
    os.close(writing)
    rest = process.stdout.read().split()
    assert process.wait() == 0
    assert lines[0] == f"{process.pid} launch"
    assert lines[1:-1] == sorted(f"{name}={value}" for name, value in given.items())
    assert rest[-1] == "07"
    assert int(rest[1], 16) == 0  # no signal is blocked
    assert list(agent.sandbox.iterdir()) == []


def test_without_a_packaged_helper_it_is_refused_by_its_name(agent: PlayedAgent) -> None:
    agent.hold(None)
    status, out, err = end(agent.start("echo started", rootfs="/images/x"))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert "ContainerLaunchInfo.rootfs: an image's root file system: needs the packaged mesos-containerizer" in err


@pytest.mark.usefixtures("packaged")
def test_what_needs_a_parent_of_ours_is_refused_beside_an_image(agent: PlayedAgent) -> None:
    """No limit is lost in silence."""
    config = json.loads(agent.shim.config_path.read_text())
    agent.shim.configure(**{**config, "isolation": ["filesystem/shared", "cgroups/mem"]})
    agent.hold(None)
    status, out, err = end(agent.start("echo started", rootfs="/images/x"))
    assert (status, out, agent.status) == (1, "", str(1 << 8))
    assert "leaves no parent process of the shim for filesystem/shared, cgroups/mem" in err
