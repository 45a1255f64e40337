"""What the agent's other isolators ask the launch helper for.

Not `linux/capabilities`: this agent aborts on a kernel that knows more of them than it does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..lib.agent.local import LocalAgent

pytestmark = pytest.mark.agent


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    return start_agent(flags={"isolation": "posix/cpu,posix/mem,posix/rlimits,linux/nnp"})


def test_limits_of_the_container_info(agent: LocalAgent) -> None:
    limits = [
        {"type": "RLMT_NOFILE", "soft": "100", "hard": "200"},
        {"type": "RLMT_FSIZE", "soft": "1048576", "hard": "1048576"},
        {"type": "RLMT_CORE"},  # neither: unlimited
    ]
    task = agent.run("cat /proc/self/limits > limits", container={"type": "MESOS", "rlimit_info": {"rlimits": limits}})
    assert task.wait_end()["state"] == "TASK_FINISHED"
    seen = {line[:26].strip(): line[26:].split()[:2] for line in task.read("limits").splitlines()}
    assert seen["Max open files"] == ["100", "200"]
    assert seen["Max file size"] == ["1048576", "1048576"]
    assert seen["Max core file size"] == ["unlimited", "unlimited"]


def test_no_new_privileges(agent: LocalAgent) -> None:
    task = agent.run("grep NoNewPrivs /proc/self/status > status")
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert task.read("status").split() == ["NoNewPrivs:", "1"]
