"""Links that an agent puts into a sandbox lead somewhere in the container's view, too.

filesystem/posix gives persistent volumes so, and volume/sandbox_path without filesystem/linux a parent's files.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root

COVERS = {
    "a private directory": {
        "default_container_info": {
            "type": "MESOS",
            "volumes": [{"host_path": "tmp", "container_path": "/var/tmp", "mode": "RW"}],
        }
    },
    "hide_work_dir": {"hide_work_dir": True},
}


@pytest.fixture(params=sorted(COVERS))
def agent(open_tmp: Path, shim: Shim, request: pytest.FixtureRequest) -> PlayedAgent:
    """An agent whose work_dir a container does not see, but for its own sandbox."""
    shim.configure(**COVERS[request.param])
    found = PlayedAgent(open_tmp, shim)
    os.chown(found.sandbox, NOBODY, NOBODY)
    found.hold(None)
    return found


def volume(agent: PlayedAgent, name: str) -> Path:
    """A persistent volume, where the agent makes it (slave/paths.cpp, getPersistentVolumePath), its user's."""
    path = agent.work_dir / "volumes/roles/ads" / name
    path.mkdir(parents=True)
    os.chown(path, NOBODY, NOBODY)
    return path


def test_a_persistent_volume(agent: PlayedAgent) -> None:
    mine, other = volume(agent, "mine"), volume(agent, "other")
    (mine / "kept").write_text("of before\n")
    (agent.sandbox / "path").symlink_to(mine)
    command = f"cat path/kept; echo new > path/new; ls {other} || ls {agent.work_dir}/volumes/roles/ads"
    status, out, err = end(agent.start(command, user="nobody"))
    assert (status, out) == (0, "of before\nmine\n"), err
    assert (mine / "new").read_text() == "new\n"
    assert mine.stat().st_uid == NOBODY


def test_a_link_of_the_users_shows_nothing(agent: PlayedAgent) -> None:
    """Who is nobody could have any volume shown so."""
    mine = volume(agent, "mine")
    (agent.sandbox / "path").symlink_to(mine)
    os.chown(agent.sandbox / "path", NOBODY, NOBODY, follow_symlinks=False)
    status, out, _ = end(agent.start("ls path/ || echo hidden", user="nobody"))
    assert (status, out) == (0, "hidden\n")


@pytest.mark.parametrize("target", ["WORK", "WORK/slaves", "OTHER", "TOP/../..", "TOP", "OTHER/../c2"])
def test_a_link_to_something_else_shows_nothing(agent: PlayedAgent, target: str) -> None:
    """Root's links, too, may come out of an archive."""
    other = agent.work_dir / "slaves/S1/frameworks/F1/executors/E2/runs/c2"
    (other / "secret").mkdir(parents=True)
    text = target.replace("TOP", str(agent.sandbox)).replace("WORK", str(agent.work_dir)).replace("OTHER", str(other))
    (agent.sandbox / "path").symlink_to(text)
    status, out, err = end(agent.start(f"find {agent.work_dir} -name secret 2>/dev/null; true"))
    assert (status, out, err, agent.status) == (0, "", "", "0")


def test_a_link_that_would_dangle_is_said(agent: PlayedAgent) -> None:
    """What anybody could have put there is not shown."""
    mine = volume(agent, "mine")
    mine.parent.chmod(0o777)
    (agent.sandbox / "path").symlink_to(mine)
    _, out, err = end(agent.start("ls path/ || echo hidden"))
    assert out == "hidden\n"
    assert f"'path' in the sandbox leads to '{mine}', which is hidden: " in err
    assert "lies in a directory that others can write" in err


@pytest.mark.parametrize("name", ["given", "deep/given"])
def test_the_parents_files_of_a_nested_container(agent: PlayedAgent, name: str) -> None:
    """The volume is the agent's, which has linked it, so that it is neither judged nor refused."""
    shared = agent.sandbox / "shared"
    shared.mkdir()
    os.chown(shared, NOBODY, NOBODY)
    nested = PlayedAgent(agent.root, agent.shim, container="c1/n1")
    nested.sandbox = agent.sandbox / "containers/n1"
    (nested.sandbox / name).parent.mkdir(parents=True)
    (nested.sandbox / name).symlink_to(shared)
    os.chown(nested.sandbox, NOBODY, NOBODY)
    nested.hold(wire.container_info(wire.from_sandbox(name, "shared", 2)))
    status, out, err = end(nested.start(f"echo of the child > {name}/file; ls {agent.sandbox}", user="nobody"))
    assert (status, nested.status) == (0, "0"), err
    assert (shared / "file").read_text() == "of the child\n"
    # That volume and nothing else of the parent's; without an operator's default nothing is covered.
    if "hide_work_dir" in agent.shim.config_path.read_text():
        assert out.split() == ["containers", "shared"]


def test_no_end_of_links_ends_a_launch(agent: PlayedAgent) -> None:
    """A user can make as many as there are inodes, before the agent's are looked for."""
    for number in range(300):
        (agent.sandbox / f"l{number}").symlink_to(agent.work_dir / f"volumes/roles/ads/none{number}")
    assert end(agent.start("echo started"))[1:] == ("started\n", "")
    for number in range(70):
        volume(agent, f"none{number}")
    _, out, err = end(agent.start(f"ls {agent.work_dir}/volumes/roles/ads | wc -l"))
    assert out.split() == ["64"]
    assert "which is hidden: 64 are shown" in err


@pytest.fixture
def through_a_link(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent whose work_dir is reached through root's link in a covered directory, such as /tmp/mesos."""
    covered = open_tmp / "covered"
    covered.mkdir()
    covered.chmod(0o1777)
    (open_tmp / "disk").mkdir()
    (covered / "mesos").symlink_to(open_tmp / "disk")
    shim.configure()
    found = PlayedAgent(covered / "mesos", shim)
    os.chown(found.sandbox, NOBODY, NOBODY)
    found.hold(wire.container_info(wire.volume(str(covered), "private")))
    return found


@pytest.mark.parametrize("hides", [False, True])
def test_a_work_dir_through_a_covered_link(through_a_link: PlayedAgent, hides: bool) -> None:
    """Agent and task go by its name: in the working directory, and in links to persistent volumes."""
    agent = through_a_link
    agent.shim.configure(hide_work_dir=hides)
    mine, other = volume(agent, "mine"), volume(agent, "other")
    (mine / "kept").write_text("of before\n")
    (agent.sandbox / "path").symlink_to(mine)
    command = f"pwd; cat path/kept; touch {agent.sandbox}/written; ls {mine.parent}"
    status, out, err = end(agent.start(command, user="nobody"))
    assert (status, out, err) == (0, f"{agent.sandbox}\nof before\nmine\n", "")
    assert (agent.sandbox / "written").exists()
    assert other.exists()


def test_a_work_dir_through_a_covered_link_for_an_older_agent(through_a_link: PlayedAgent) -> None:
    agent = through_a_link
    info = {"type": "MESOS", "volumes": [{"host_path": "p", "container_path": str(agent.root.parent), "mode": "RW"}]}
    agent.shim.configure(default_container_info=info)
    status, out, err = end(agent.start_021(f"pwd; touch {agent.sandbox}/written"))
    assert (status, out) == (0, f"{agent.sandbox}\n"), err
    assert (agent.sandbox / "written").exists()


def test_a_nested_container_of_a_work_dir_through_a_covered_link(through_a_link: PlayedAgent) -> None:
    """Root's directories lie in the user's on the way to it."""
    agent = through_a_link
    nested = PlayedAgent(agent.root, agent.shim, container="c1/n1")
    nested.sandbox = agent.sandbox / "containers/n1"
    nested.sandbox.mkdir(parents=True)
    os.chown(nested.sandbox, NOBODY, NOBODY)
    nested.hold(wire.container_info(wire.volume(str(agent.root.parent), "private")))
    status, out, err = end(nested.start(f"pwd; touch {nested.sandbox}/written", user="nobody"))
    assert (status, out, err) == (0, f"{nested.sandbox}\n", "")
    assert (nested.sandbox / "written").exists()
