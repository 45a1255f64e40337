"""private_directories under an agent: every container has them, in every protocol, whatever ContainerInfo it brings."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.played_agent import PlayedAgent, end, wait_until_named
from ..lib.shim import NOBODY, Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root
LOOK = "ls {0}; stat -c %a {0}; touch {0}/mine"


@pytest.fixture
def covered(open_tmp: Path) -> Path:
    path = open_tmp / "covered"
    path.mkdir()
    path.chmod(0o1777)
    (path / "hosts").touch()
    return path


@pytest.fixture(params=["sandbox", "base"])
def agent(request: pytest.FixtureRequest, shim: Shim, open_tmp: Path, covered: Path) -> PlayedAgent:
    """An agent whose containers have one over `covered`: in the sandbox, or in a base."""
    (open_tmp / "base").mkdir()
    base = "sandbox" if request.param == "sandbox" else str(open_tmp / "base")
    settings: dict[str, object] = {str(covered): {"base": base}}
    default = {"type": "MESOS", "volumes": [{"host_path": "d", "container_path": "/opt", "mode": "RW"}]}
    shim.configure(private_directories=settings, default_container_info=default)
    return PlayedAgent(open_tmp, shim)


def places(agent: PlayedAgent, covered: Path) -> list[Path]:
    """Where the containers' files are that they saw as `covered`/mine."""
    below = str(covered)[1:]
    return [*agent.root.glob(f"base/*@*/{below}/mine"), *agent.sandbox.rglob(f".private/{below}/mine")]


TTY = wire.number(1, 2) + wire.data(10, b"")  # ContainerInfo.tty_info
CONTAINER_INFOS = {
    "none": None,
    "for a tty": TTY,
    "without volumes": wire.container_info(),
    "with another volume": wire.container_info(wire.volume("/srv", "x")),
}


@pytest.mark.parametrize("info", CONTAINER_INFOS)
def test_whatever_the_container_info(agent: PlayedAgent, covered: Path, info: str) -> None:
    agent.hold(CONTAINER_INFOS[info])
    status, out, _ = end(agent.start(LOOK.format(covered) + f"; ls -A {agent.root}/base | wc -l"))
    assert (status, agent.status) == (0, "0")
    in_base = agent.shim.config_path.read_text().count(f"{agent.root}/base")
    assert out.split() == ["1777", str(in_base)]
    assert os.listdir(covered) == ["hosts"]
    assert list((agent.root / "base").iterdir()) == []  # the helper has stayed until its end, and removed it
    assert len(places(agent, covered)) == 1 - in_base


def test_one_of_the_containers_own_for_the_same_path_wins(agent: PlayedAgent, covered: Path) -> None:
    agent.hold(wire.container_info(wire.volume(str(covered), "own")))
    assert end(agent.start(LOOK.format(covered)))[0] == 0
    assert (agent.sandbox / "own/mine").exists()
    assert places(agent, covered) == []


def test_a_nested_container_has_its_own(agent: PlayedAgent, covered: Path) -> None:
    """A pod's task is no DEBUG container: it does not see its executor's."""
    agent.hold(TTY)
    os.mkfifo(agent.root / "fifo")
    outer = agent.start(LOOK.format(covered) + f"; echo ready; read x < {agent.root}/fifo")
    assert outer.stdout is not None
    assert [outer.stdout.readline() for _ in range(2)] == ["1777\n", "ready\n"]
    nested = PlayedAgent(agent.root, agent.shim, container="c1/n1")
    nested.sandbox = agent.sandbox / ".containers/n1"
    nested.sandbox.mkdir(parents=True)
    nested.hold(None)
    status, out, _ = end(nested.start(LOOK.format(covered)))
    assert (status, out) == (0, "1777\n")
    (agent.root / "fifo").write_text("\n")
    assert end(outer)[0] == 0


def test_another_user_and_a_limit_take_the_other_way_to_the_command(agent: PlayedAgent, covered: Path) -> None:
    os.chown(agent.sandbox, NOBODY, NOBODY)
    agent.hold(TTY)
    limits = {"rlimits": [{"type": "RLMT_NOFILE", "soft": 64, "hard": 64}]}
    for fields in ({"user": "nobody"}, {"user": "nobody", "rlimits": limits}):
        status, out, _ = end(agent.start(f"id -u; stat -c %a {covered}; touch {covered}/mine", **fields))
        assert (status, out.split()) == (0, [str(NOBODY), "1777"])
    assert list((agent.root / "base").iterdir()) == []


def test_a_helper_that_was_killed_leaves_it_to_gc(agent: PlayedAgent, covered: Path) -> None:
    agent.hold(None)
    process = agent.start(f"touch {covered}/mine; echo ready; exec sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    wait_until_named(agent)
    pid = int(agent.shim.run("ps", "--json").stdout.partition('"pid": ')[2].partition(",")[0])
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert agent.shim.run("gc").returncode == 0
    assert len(places(agent, covered)) == 1  # the command runs on
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: "c1" not in agent.shim.run("ps").stdout, "its end")
    assert agent.shim.run("gc").returncode == 0
    assert list((agent.root / "base").iterdir()) == []


def test_handed_over_to_the_packaged_helper(agent: PlayedAgent, covered: Path) -> None:
    packaged = agent.root / "packaged"
    packaged.write_text(f"#!/bin/sh\n{LOOK.format(covered)}\n")
    packaged.chmod(0o755)
    text = agent.shim.config_path.read_text()
    agent.shim.config_path.write_text(text.replace("{", f'{{"packaged_helper": "{packaged}", ', 1))
    agent.hold(TTY)
    status, out, err = end(agent.start("true", masked_paths=["/proc/x"]))
    assert (status, out) == (0, "1777\n"), err
    assert len(places(agent, covered)) == 1
    assert agent.shim.run("gc").returncode == 0
    assert list((agent.root / "base").iterdir()) == []


@pytest.mark.parametrize("held", [False, True])
def test_by_the_protocol_of_0_21(agent: PlayedAgent, covered: Path, held: bool) -> None:
    if held:
        agent.checkpoint(wire.container_info(wire.volume("/srv", "x")))
    status, out, err = end(agent.start_021(LOOK.format(covered)))
    assert (status, out, "passes no ContainerInfo" in err) == (0, "1777\n", not held)
    assert len(places(agent, covered)) == 1
    # It became the command, so that nobody was there to remove anything.
    assert agent.shim.run("gc").returncode == 0
    assert list((agent.root / "base").iterdir()) == []


def test_mesos_own_example_of_a_host_path(shim: Shim, open_tmp: Path) -> None:
    """`./.private/tmp`: as the agent holds it, and as its filesystem/shared writes it into mounts and commands."""
    shim.configure()
    agent = PlayedAgent(open_tmp, shim)
    (agent.sandbox / ".private/tmp").mkdir(parents=True)
    source = f"{agent.sandbox}/./.private/tmp"
    mount = {"flags": 20480, "source": source, "target": "/opt"}
    agent.hold(wire.container_info(wire.volume("/opt", "./.private/tmp")))
    assert end(agent.start("touch /opt/held", mounts=[mount]))[0] == 0
    (agent.runtime / "config").unlink()
    assert end(agent.start("touch /opt/unheld", mounts=[mount]))[0] == 0
    line = json.dumps({"commands": [{"shell": True, "value": f"mount -n --bind {source} /opt"}]})
    assert end(agent.start_021("touch /opt/command", commands=line))[0] == 0
    agent.checkpoint(wire.container_info(wire.volume("/opt", "./.private/tmp")))
    assert end(agent.start_021("touch /opt/checkpointed", commands=line))[0] == 0
    found = {path.name for path in (agent.sandbox / ".private/tmp").iterdir()}
    assert found == {"held", "unheld", "command", "checkpointed"}
