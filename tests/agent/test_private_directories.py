"""Private directories of every container under a real agent: a ContainerInfo for a limit alone does not lose them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..lib.agent.local import LocalAgent
from ..lib.agent.tasks import WAIT_FOR_RELEASE
from ..lib.waiting import wait_until

pytestmark = pytest.mark.agent

LIMITED = {"type": "MESOS", "rlimit_info": {"rlimits": [{"type": "RLMT_LOCKS", "soft": 3, "hard": 7}]}}


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A fast local disk."""
    path = Path(tempfile.mkdtemp(prefix="mesos-shim-base-", dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent], base: Path) -> LocalAgent:
    return start_agent(
        mesos_shim_config={"private_directories": {"/tmp": {}, "/opt": {"base": str(base)}}},
        flags={"isolation": "posix/cpu,posix/mem,posix/rlimits"},
    )


@pytest.mark.parametrize("container", [None, LIMITED], ids=["no ContainerInfo", "one for a limit"])
def test_an_executor(agent: LocalAgent, base: Path, container: dict[str, object] | None) -> None:
    options = {} if container is None else {"container": container}
    before = agent.mounts()
    task = agent.run(
        f"""
        ls -A /tmp /opt > listing
        echo mine > /tmp/made-by-task; echo mine > /opt/made-by-task
        grep locks /proc/self/limits > limits
        touch ready
        {WAIT_FOR_RELEASE}
        """,
        **options,
    )
    task.wait_file("ready")
    (own,) = base.iterdir()
    assert own.name.startswith(f"{task.container}@")
    assert (own / "opt/made-by-task").read_text() == "mine\n"
    assert (task.sandbox / ".private/tmp/made-by-task").read_text() == "mine\n"
    assert not os.path.exists("/opt/made-by-task")
    assert not agent.leaked(before)
    task.release()
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert task.wait_executor() == 0
    wait_until(lambda: not list(base.iterdir()), "its directory is removed by the helper")
    assert set(task.read("listing").split()) <= {"/tmp:", "/opt:", task.sandbox.parts[2]}
    if container is not None:
        assert task.read("limits").split()[3:5] == ["3", "7"]
    assert "is not enforced by mesos-shim" not in agent.log


def test_a_nested_container_has_its_own(agent: LocalAgent, base: Path) -> None:
    parent = agent.run(f"echo parent > /tmp/made-by-parent; touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    command = "ls -A /tmp /opt > listing; touch /tmp/made-by-child /opt/made-by-child"
    agent.launch_nested(parent, "child", command=command, container=LIMITED)
    assert agent.wait_nested(parent, "child") == 0
    sandbox = parent.sandbox / "containers/child"
    assert set((sandbox / "listing").read_text().split()) <= {"/tmp:", "/opt:", parent.sandbox.parts[2]}
    assert (sandbox / ".private/tmp/made-by-child").exists()
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"
    wait_until(lambda: not list(base.iterdir()), "the directories of both are removed")
