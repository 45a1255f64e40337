"""Our numbers beside a real agent's own `/containers`, and our isolators under it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..lib.agent.local import LocalAgent, Task
from ..lib.agent.tasks import WAIT_FOR_RELEASE
from ..lib.cgroups import WHY, needs_cgroups, ours
from ..lib.waiting import SECONDS, wait_until

pytestmark = pytest.mark.agent


def program(agent: LocalAgent, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed program beside this agent."""
    shim = Path(agent.flags["launcher_dir"]).parent / "bin/mesos-shim"
    return subprocess.run([str(shim), *words], capture_output=True, text=True, check=False, timeout=SECONDS)


def used(agent: LocalAgent, task: Task) -> dict[str, Any]:
    done = program(agent, "usage", "--format", "json", task.container)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    return found


def agents(agent: LocalAgent, task: Task) -> dict[str, Any]:
    (found,) = [item for item in agent.get("/containers") if item["container_id"] == task.container]
    return found


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    return start_agent(
        mesos_agent_default_container_info={
            "type": "MESOS",
            "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}],
        }
    )


def test_the_same_container_the_same_numbers(agent: LocalAgent) -> None:
    script = """python3 -c '
import os, time
block = bytearray(b"x") * (64 << 20)
while time.process_time() < 0.6: pass
open("ready", "w").close()
while not os.path.exists("release"): time.sleep(0.01)
'"""
    task = agent.run(script)
    task.wait_file("ready")
    theirs, own = agents(agent, task), used(agent, task)
    (task.sandbox / "release").touch()
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert (own["container_id"], own["executor_id"], own["framework_id"]) == (
        theirs["container_id"],
        theirs["executor_id"],
        theirs["framework_id"],
    )
    ours_, them = own["statistics"], theirs["statistics"]
    # The agent counts its launch helper too: one process of a few MB, which has used a few hundredths.
    for name, more in (("cpus_user_time_secs", 0.3), ("cpus_system_time_secs", 0.3)):
        assert ours_[name] <= them[name] + more
        assert them[name] - more <= ours_[name]
    assert ours_["cpus_user_time_secs"] + ours_["cpus_system_time_secs"] >= 0.6
    assert 64 << 20 <= ours_["mem_rss_bytes"] <= them["mem_rss_bytes"] <= ours_["mem_rss_bytes"] + (24 << 20)


def test_ps_names_the_agents_containers(agent: LocalAgent) -> None:
    task = agent.run("touch ready; " + WAIT_FOR_RELEASE)
    task.wait_file("ready")
    (found,) = [
        item for item in json.loads(program(agent, "ps", "--json").stdout) if item["container_id"] == task.container
    ]
    assert (found["executor_id"], found["mode"]) == (task.executor, "enforced")
    assert found["volumes"] == [{"container_path": "/tmp", "host_path": str(task.sandbox / "tmp"), "mode": "RW"}]
    task.release()
    task.wait_end()
    task.wait_executor()
    wait_until(lambda: task.container not in program(agent, "ps", "--json").stdout, "its end")


@pytest.fixture(scope="module")
def isolating(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    """An agent that isolates nothing, whose shim does."""
    isolation = ["filesystem/shared", "namespaces/pid", "namespaces/ipc"]
    limits = {} if WHY else {"isolation": [*isolation, "cgroups/mem"], "default_limits": {"mem": 200}}
    return start_agent(mesos_shim_config={"isolation": isolation, **limits})


def test_our_namespaces_under_an_agent(isolating: LocalAgent) -> None:
    task = isolating.run("echo $PPID > parent; ls /proc | grep -c '^[0-9]' > count; ls /dev/shm | wc -l > shm")
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert int(task.read("count")) < 10
    assert int(task.read("parent")) < 10
    assert task.read("shm") == "0\n"
    assert task.wait_executor() == 0


def test_a_debug_container_joins_its_parents_namespaces(isolating: LocalAgent) -> None:
    task = isolating.run("readlink /proc/self/ns/pid /proc/self/ns/ipc > theirs; touch ready; " + WAIT_FOR_RELEASE)
    task.wait_file("ready")
    script = "readlink /proc/self/ns/pid /proc/self/ns/ipc > own; readlink /proc/self > self"
    assert isolating.debug(task, "check", command=f"cd {task.sandbox}; {script}") == 0
    assert task.read("own") == task.read("theirs")
    assert int(task.read("self")) > 2
    task.release()
    task.wait_end()


@needs_cgroups
def test_our_memory_limit_where_the_agent_has_none(isolating: LocalAgent) -> None:
    before = ours()
    task = isolating.run("grep memory /proc/self/cgroup > groups; touch ready; " + WAIT_FOR_RELEASE)
    task.wait_file("ready")
    assert f"/mesos-shim/{task.container}@" in task.read("groups")
    assert used(isolating, task)["statistics"]["mem_limit_bytes"] == 200 << 20
    task.release()
    task.wait_end()
    task.wait_executor()
    wait_until(lambda: ours() <= before, "the end of the group")


@needs_cgroups
def test_the_agents_own_memory_isolation_is_left_to_it(start_agent: Callable[..., LocalAgent]) -> None:
    if not os.path.exists("/sys/fs/cgroup/memory/cgroup.procs"):
        pytest.skip("the agent's own cgroups isolators know version 1 only")
    before = ours()
    agent = start_agent(
        flags={"isolation": "cgroups/mem"},
        mesos_shim_config={"isolation": ["cgroups/mem"], "default_limits": {"mem": 200}},
    )
    task = agent.run("grep memory /proc/self/cgroup > groups; touch ready; " + WAIT_FOR_RELEASE)
    task.wait_file("ready")
    assert task.read("groups").strip().endswith(f"/{task.container}")
    assert ours() == before
    found = used(agent, task)["statistics"]
    assert found["mem_total_bytes"] >= found["mem_anon_bytes"] > 0  # its group's figures are reported
    task.release()
    task.wait_end()
