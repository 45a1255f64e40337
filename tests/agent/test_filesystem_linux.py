"""An agent with filesystem/linux, which sets up a framework's volumes itself; the operator's default beside them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from ..lib.agent import fetch
from ..lib.agent.local import LocalAgent, Task
from ..lib.agent.tasks import WAIT_FOR_RELEASE

pytestmark = pytest.mark.agent

PRIVATE_TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    return start_agent(
        mesos_agent_default_container_info=PRIVATE_TMP,
        flags={"isolation": "posix/cpu,posix/mem,filesystem/linux,namespaces/pid", "switch_user": True},
    )


def container(*volumes: dict[str, object]) -> dict[str, object]:
    return {"type": "MESOS", "volumes": list(volumes)}


def of_host(path: object, container_path: str, mode: str = "RW") -> dict[str, object]:
    source = {"type": "HOST_PATH", "host_path": {"path": str(path)}}
    return {"container_path": container_path, "mode": mode, "source": source}


def of_sandbox(kind: str, path: str, container_path: str) -> dict[str, object]:
    source = {"type": "SANDBOX_PATH", "sandbox_path": {"type": kind, "path": path}}
    return {"container_path": container_path, "mode": "RW", "source": source}


@pytest.fixture
def data(agent: LocalAgent) -> Path:
    path = agent.public / f"data-{agent.counter}"
    path.mkdir()
    (path / "file").write_text("of the host\n")
    return path


def ended(task: Task) -> Task:
    """The task, once it has ended well."""
    assert task.wait_end()["state"] == "TASK_FINISHED", task.agent.said_by_helper()
    return task


def test_host_paths(agent: LocalAgent, data: Path) -> None:
    """Read-write, read-only, and with a mount point in the sandbox, whatever framework_volumes says."""
    task = agent.run(
        "cat /opt/file mnt/file /srv/file > seen; touch /opt/new; touch /srv/new mnt/new || true",
        container=container(of_host(data, "/opt"), of_host(data, "/srv", "RO"), of_host(data, "mnt", "RO")),
    )
    assert ended(task).read("seen") == "of the host\n" * 3
    assert sorted(os.listdir(data)) == ["file", "new"]


def test_legacy_host_paths(agent: LocalAgent, data: Path) -> None:
    """Their launch info is the one that filesystem/shared makes: the agent's flags tell."""
    legacy = [
        {"host_path": str(data), "container_path": "/opt", "mode": "RW"},
        {"host_path": "own", "container_path": "/srv", "mode": "RW"},
    ]
    task = agent.run("cat /opt/file > /srv/seen; ls own", container=container(*legacy))
    assert ended(task).read("own/seen") == "of the host\n"


def test_a_users_own_directory(agent: LocalAgent, task_user: pwd.struct_passwd) -> None:
    task = agent.run(
        "touch /opt/mine; stat -c %U /opt > owner",
        container=container(of_sandbox("SELF", "own", "/opt")),
        user=task_user.pw_name,
    )
    assert ended(task).read("owner").strip() == task_user.pw_name
    assert (task.sandbox / "own/mine").exists()


def test_the_operators_default_beside_the_agents_proc(agent: LocalAgent) -> None:
    task = agent.run("touch /tmp/made-by-task; ls /proc | grep -cE '^[0-9]+$' > processes")
    assert int(ended(task).read("processes")) < 20
    assert (task.sandbox / "tmp/made-by-task").exists()
    assert not Path("/tmp/made-by-task").exists()


def test_the_tasks_of_a_pod_share_files(agent: LocalAgent) -> None:
    parent = agent.run(f"mkdir shared; touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    own = container(of_sandbox("PARENT", "shared", "given"))
    agent.launch_nested(parent, "child", command="echo of the child > given/file", container=own)
    assert agent.wait_nested(parent, "child") == 0
    assert (parent.sandbox / "shared/file").read_text() == "of the child\n"
    parent.release()
    ended(parent)


def test_a_debug_container_joins_the_view_of_its_parent(agent: LocalAgent, data: Path) -> None:
    """Named by NAMESPACE_MNT_TARGET, in a pid namespace of the agent's."""
    volumes = container(of_host(data, "/opt", "RO"))
    parent = agent.run(f"readlink /proc/self/ns/mnt > namespace; touch ready; {WAIT_FOR_RELEASE}", container=volumes)
    parent.wait_file("ready")
    command = "exec > debug; cat /opt/file; readlink /proc/self/ns/mnt; exit 9"
    try:
        assert agent.debug(parent, "probe", command=command) == 9 << 8
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    assert parent.read("debug") == "of the host\n" + parent.read("namespace")
    parent.release()
    ended(parent)


def test_a_debug_container_sees_the_operators_private_directory(agent: LocalAgent) -> None:
    parent = agent.run(f"echo secret > /tmp/made-by-parent; touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    try:
        assert agent.debug(parent, "probe", command="cat /tmp/made-by-parent > debug") == 0
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))
    assert parent.read("debug") == "secret\n"
    parent.release()
    ended(parent)
