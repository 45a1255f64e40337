"""Default ContainerInfo from the agent's flag, and a framework's own, with the agent's `filesystem/shared` on.

Here the agent itself asks for plain bind mounts, in which RO is lost; the shim takes their place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from ..lib.agent.local import LocalAgent
from ..lib.agent.tasks import WAIT_FOR_RELEASE

pytestmark = pytest.mark.agent

FLAG_DEFAULT = {"type": "MESOS", "volumes": [{"host_path": "from flag", "container_path": "/opt", "mode": "RW"}]}


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    return start_agent(
        mesos_agent_default_container_info=FLAG_DEFAULT,
        mesos_agent_default_container_info_flag=True,
        flags={"isolation": "posix/cpu,posix/mem,filesystem/shared"},
    )


@pytest.fixture(autouse=True)
def host_mounts_stay_as_they_are(agent: LocalAgent) -> Iterator[None]:
    before = agent.mounts()
    yield
    assert not agent.leaked(before)


def as_text(message: dict[str, object], indent: str = "") -> str:
    """The protobuf text form, in which the agent shows a flag of its."""
    lines = []
    for key, value in sorted(message.items(), key=lambda item: (item[0] != "type", item[0])):
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                lines.append(f"{indent}{key} {{\n{as_text(one, indent + '  ')}{indent}}}\n")
            else:
                quoted = one if one in ("MESOS", "RW", "RO") else f'"{one}"'
                lines.append(f"{indent}{key}: {quoted}\n")
    return "".join(lines)


def test_the_agent_has_the_default_that_the_role_wrote(agent: LocalAgent) -> None:
    assert agent.get("/flags")["flags"]["default_container_info"] == as_text(FLAG_DEFAULT)


def test_default_of_the_flag(agent: LocalAgent) -> None:
    task = agent.run(f"echo mine > /opt/made-by-task; ls -A /opt > listing; touch ready; {WAIT_FOR_RELEASE}")
    task.wait_file("ready")
    assert not os.path.exists("/opt/made-by-task")
    assert not os.path.exists(f"/proc/{agent.process.pid}/root/opt/made-by-task")
    task.release()
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert task.read("listing") == "made-by-task\n"
    assert (task.sandbox / "from flag/made-by-task").read_text() == "mine\n"


def test_container_info_of_the_framework_wins(agent: LocalAgent) -> None:
    own = {"type": "MESOS", "volumes": [{"host_path": "own", "container_path": "/srv", "mode": "RW"}]}
    task = agent.run("touch /srv/made-by-task; ls -A /opt > opt", container=own)
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert (task.sandbox / "own/made-by-task").exists()
    assert task.read("opt").split() == sorted(os.listdir("/opt"))
    assert not (task.sandbox / "from flag").exists()


def test_read_only_is_enforced(agent: LocalAgent) -> None:
    """As root, whom nothing but the mount itself keeps from writing."""
    own = {
        "type": "MESOS",
        "volumes": [
            {"host_path": "locked", "container_path": "/srv", "mode": "RO"},
            {"host_path": "open", "container_path": "/mnt", "mode": "RW"},
        ],
    }
    task = agent.run("touch /mnt/made-by-task && touch /srv/made-by-task 2> error", container=own)
    assert task.wait_end()["message"] == "exit 1"
    assert "Read-only file system" in task.read("error")
    assert (task.sandbox / "open/made-by-task").exists()
    assert os.listdir(task.sandbox / "locked") == []


def test_volume_that_policy_forbids_refuses_the_launch(agent: LocalAgent) -> None:
    """The agent would have mounted it; the shim's policy lets frameworks name relative paths only."""
    own = {"type": "MESOS", "volumes": [{"host_path": "/etc", "container_path": "/srv", "mode": "RO"}]}
    task = agent.run(command="touch started", container=own)
    assert task.wait_executor() != 0
    assert task.wait_end()["state"] == "TASK_FAILED"
    assert not (task.sandbox / "started").exists()
    assert any("/etc" in line for line in agent.said_by_helper())


def test_nested_container_has_the_default_not_its_parents_volumes(agent: LocalAgent) -> None:
    """The agent tells the helper of a nested container its parent's ContainerInfo too."""
    own = {"type": "MESOS", "volumes": [{"host_path": "own", "container_path": "/srv", "mode": "RW"}]}
    parent = agent.run(f"touch /srv/made-by-parent ready; {WAIT_FOR_RELEASE}", container=own)
    parent.wait_file("ready")
    agent.launch_nested(parent, "child", command="ls -A /srv > srv; touch /opt/made-by-child")
    assert agent.wait_nested(parent, "child") == 0
    sandbox = parent.sandbox / "containers/child"
    assert (sandbox / "srv").read_text().split() == sorted(os.listdir("/srv"))
    assert (sandbox / "from flag/made-by-child").exists()
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"


def test_command_task_with_a_container_info_of_its_own(agent: LocalAgent) -> None:
    """The common case: no executor but the packaged one, found beside our launch helper."""
    own = {"type": "MESOS", "volumes": [{"host_path": "own", "container_path": "/srv", "mode": "RW"}]}
    task = agent.command_task("touch /srv/made-by-task; exit 4", container=own)
    agent.launch(task)
    assert task.wait_end()["message"] == "exit 4"
    assert (task.sandbox / "own/made-by-task").exists()


def test_command_task_has_the_default_of_the_flag(agent: LocalAgent) -> None:
    task = agent.command_task("touch /opt/made-by-task")
    agent.launch(task)
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert (task.sandbox / "from flag/made-by-task").exists()
