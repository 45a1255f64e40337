"""The operator's default ContainerInfo from the shim's configuration, under a real agent.

The agent's own isolation knows nothing of volumes here: it would refuse a private /tmp above its work_dir.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import tempfile
from collections.abc import Callable, Iterator

import pytest

from ..lib.agent import fetch
from ..lib.agent.local import LocalAgent, Task
from ..lib.agent.tasks import WAIT_FOR_RELEASE, scalars
from ..lib.waiting import wait_until

pytestmark = pytest.mark.agent

DEFAULT = {
    "type": "MESOS",
    "volumes": [
        {"host_path": "tmp", "container_path": "/tmp", "mode": "RW"},
        {"host_path": "/usr/share", "container_path": "/mnt", "mode": "RO"},
    ],
}


@pytest.fixture(scope="module")
def agent(start_agent: Callable[..., LocalAgent]) -> LocalAgent:
    return start_agent(
        mesos_agent_default_container_info=DEFAULT,
        mesos_agent_attributes={"rack": "r1", "zone": "b"},
        flags={"switch_user": True, "strict": False},
    )


@pytest.fixture
def host_marker() -> Iterator[str]:
    """Name of a file in the host's /tmp: who sees it has no /tmp of its own."""
    with tempfile.NamedTemporaryFile(prefix="host-marker-", dir="/tmp") as marker:
        yield os.path.basename(marker.name)


@pytest.fixture(autouse=True)
def host_stays_as_it_is(agent: LocalAgent) -> Iterator[None]:
    """No test here may change what the host sees: its mount table and its /tmp."""
    before = agent.mounts()
    yield
    assert not agent.leaked(before)
    assert not [name for name in os.listdir("/tmp") if name.startswith("made-by-")]


def test_flags_in_effect_are_those_the_role_wrote(agent: LocalAgent) -> None:
    effective = agent.get("/flags")["flags"]
    wanted = dict(agent.flags)
    assert wanted.keys() >= {
        "attributes",
        "isolation",
        "launcher_dir",
        "resources",
        "strict",
        "switch_user",
        "work_dir",
    }
    assert wanted["strict"] == "false"
    assert wanted["attributes"] == "rack:r1;zone:b"
    wanted["work_dir"] += "/agents/0/work"  # an agent in local mode adds this to the flag
    assert {name: effective.get(name) for name in wanted} == wanted
    assert agent.get("/state")["attributes"] == {"rack": "r1", "zone": "b"}
    assert agent.healthy()


def test_private_tmp_above_the_work_dir(agent: LocalAgent) -> None:
    task = agent.run(
        """
        stat -c '%a %u' /tmp > seen
        ls -A /tmp >> seen
        touch /tmp/made-by-task
        pwd > cwd
        test "$(pwd)" = "$MESOS_SANDBOX" && cat seen > "$MESOS_SANDBOX/copy"
        """
    )
    assert task.wait_end()["state"] == "TASK_FINISHED"
    assert task.wait_executor() == 0
    assert str(task.sandbox).startswith("/tmp/"), "the work_dir must lie below the path that the volume covers"
    host = os.stat("/tmp")
    assert task.read("seen").split()[:2] == [f"{host.st_mode & 0o7777:o}", str(host.st_uid)]
    # Nothing of the host's /tmp but the way to the own sandbox.
    assert task.read("seen").split()[2:] in ([], [task.sandbox.parts[2]])
    assert task.read("cwd").strip() == str(task.sandbox)
    assert task.read("copy") == task.read("seen")
    assert (task.sandbox / "tmp/made-by-task").exists()


def test_read_only_volume_of_the_default(agent: LocalAgent) -> None:
    task = agent.run(
        """
        ls /mnt > listing
        touch /mnt/made-by-task 2> error
        mount -o remount,rw /mnt 2>> error
        """,
        user="nobody",
    )
    assert task.wait_end()["state"] == "TASK_FAILED"
    assert "Read-only file system" in task.read("error")
    assert set(task.read("listing").split()) == {name for name in os.listdir("/usr/share") if not name.startswith(".")}
    assert not os.path.exists("/usr/share/made-by-task")


def test_task_of_an_ordinary_user(agent: LocalAgent, task_user: pwd.struct_passwd) -> None:
    task = agent.run(
        """
        id -u > id; id -g >> id; id -G >> id
        echo mine > /tmp/made-by-user && stat -c '%u' /tmp/made-by-user >> id
        ls / > root && touch /opt/made-by-user 2> error
        true
        """,
        user=task_user.pw_name,
    )
    assert task.wait_end()["state"] == "TASK_FINISHED"
    uid, gid = str(task_user.pw_uid), str(task_user.pw_gid)
    assert task.read("id").split() == [uid, gid, gid, uid]
    assert "Permission denied" in task.read("error")
    assert (task.sandbox / "tmp/made-by-user").read_text() == "mine\n"


@pytest.mark.parametrize("user", [None, "nobody"])
def test_command_task(agent: LocalAgent, user: str | None, task_user: pwd.struct_passwd) -> None:
    """mesos-executor's own call of the helper, from inside of its container: the task has the container's /tmp."""
    task = agent.command_task("id -u > id; stat -c %a /tmp >> id; touch /tmp/made-by-task; exit 4", user=user)
    agent.launch(task)
    end = task.wait_end()
    assert (end["state"], end["message"]) == ("TASK_FAILED", "exit 4")
    assert task.read("id").split() == [str(task_user.pw_uid if user else 0), "1777"]
    assert (task.sandbox / "tmp/made-by-task").exists()


def test_end_of_a_command_task_by_a_signal(agent: LocalAgent) -> None:
    """The helper has become the command: the executor sees how that ended."""
    task = agent.command_task("kill -TERM $$")
    agent.launch(task)
    assert task.wait_end()["message"] == "signal 15"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3 << 8),
        ("exit 255", 255 << 8),
        ("no-such-command", 127 << 8),
        ("kill -KILL $$", signal.SIGKILL),
        ("kill -TERM $$", signal.SIGTERM),
        ("ulimit -c 0; kill -SEGV $$", signal.SIGSEGV),
    ],
)
def test_end_of_an_executor_is_reported(agent: LocalAgent, command: str, status: int) -> None:
    task = agent.run(command=command)
    assert task.wait_executor() == status
    lost = task.wait_end()
    assert (lost["state"], lost["reason"]) == ("TASK_FAILED", "REASON_EXECUTOR_TERMINATED")


def test_signal_to_the_helper_reaches_the_executor(agent: LocalAgent) -> None:
    task = agent.run(command="trap 'exit 5' TERM; touch ready; while :; do sleep 0.05; done")
    task.wait_file("ready")
    (container,) = [c for c in agent.get("/containers") if c["executor_id"] == task.executor]
    os.kill(container["status"]["executor_pid"], signal.SIGTERM)
    assert task.wait_executor() == 5 << 8


def test_environment_is_what_the_agent_gives(agent: LocalAgent) -> None:
    task = agent.run("env -0 > env", environment={"FROM_FRAMEWORK": "yes: a 'quoted' value"})
    assert task.wait_end()["state"] == "TASK_FINISHED"
    seen = dict(pair.split("=", 1) for pair in task.read("env").split("\0") if pair)
    assert seen["FROM_FRAMEWORK"] == "yes: a 'quoted' value"
    assert seen["MESOS_SANDBOX"] == seen["MESOS_DIRECTORY"] == str(task.sandbox)
    assert seen["MESOS_EXECUTOR_ID"] == task.executor
    # The agent's own environment is the helper's, and ends there.
    leaked = {name for name in seen if name.startswith("MESOS_CONTAINERIZER_")}
    assert not leaked | ({"LD_LIBRARY_PATH", "PYTHONPATH", "MESOS_LAUNCHER_DIR"} & seen.keys())


def test_twenty_executors_at_once(agent: LocalAgent) -> None:
    before = agent.mounts()
    host = os.readlink(f"/proc/{agent.process.pid}/ns/mnt")
    script = f"""
        ls -A /tmp/made-by-* > foreign 2> /dev/null
        echo "$MESOS_EXECUTOR_ID" > /tmp/made-by-one-of-twenty
        stat -c %a /tmp > mode
        readlink /proc/self/ns/mnt > namespace
        touch ready
        {WAIT_FOR_RELEASE}
        cat /tmp/made-by-* > after
        ls -A /tmp > listing
        """
    tasks = [agent.task(script) for _ in range(20)]
    agent.launch(*tasks)
    for task in tasks:
        task.wait_state("TASK_RUNNING")
        task.wait_file("ready")
    # All twenty live now.
    assert not agent.leaked(before)
    assert len({c["container_id"] for c in agent.get("/containers")} & {t.container for t in tasks}) == 20
    for task in tasks:
        task.release()
    for task in tasks:
        assert task.wait_end()["state"] == "TASK_FINISHED"
        assert task.wait_executor() == 0
        assert task.read("foreign") == ""
        assert task.read("mode").strip() == "1777"
        assert task.read("after").strip() == task.executor
        assert (task.sandbox / "tmp/made-by-one-of-twenty").read_text().strip() == task.executor
        assert set(task.read("listing").split()) <= {"made-by-one-of-twenty", task.sandbox.parts[2]}
    namespaces = {task.read("namespace").strip() for task in tasks}
    assert len(namespaces) == 20
    assert host not in namespaces


def test_nested_container_has_the_default_in_its_own_sandbox(agent: LocalAgent) -> None:
    parent = agent.run(f"echo parent > /tmp/made-by-parent; touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    agent.launch_nested(parent, "child", command="ls -A /tmp > listing; echo child > /tmp/made-by-child; exit 7")
    assert agent.wait_nested(parent, "child") == 7 << 8
    sandbox = parent.sandbox / "containers/child"
    assert set((sandbox / "listing").read_text().split()) <= {parent.sandbox.parts[2]}
    assert (sandbox / "tmp/made-by-child").read_text() == "child\n"
    assert not (parent.sandbox / "tmp/made-by-child").exists()
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"


def test_nested_container_keeps_a_container_info_of_its_own(agent: LocalAgent, host_marker: str) -> None:
    parent = agent.run(f"touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    own = {"type": "MESOS", "volumes": [{"host_path": "data", "container_path": "/opt", "mode": "RW"}]}
    command = "ls -A /tmp > listing; echo own > /opt/made-by-child"
    agent.launch_nested(parent, "child", command=command, container=own)
    assert agent.wait_nested(parent, "child") == 0
    sandbox = parent.sandbox / "containers/child"
    assert (sandbox / "data/made-by-child").read_text() == "own\n"
    # The default is not added to it: /tmp is the host's.
    assert host_marker in (sandbox / "listing").read_text().split()
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"


def test_nested_container_with_a_volume_that_policy_forbids_does_not_start(agent: LocalAgent) -> None:
    parent = agent.run(f"touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    own = {"type": "MESOS", "volumes": [{"host_path": "/etc", "container_path": "/opt", "mode": "RW"}]}
    agent.launch_nested(parent, "child", command="touch started", container=own)
    assert agent.wait_nested(parent, "child") != 0
    assert not (parent.sandbox / "containers/child/started").exists()
    assert any("/etc" in line for line in agent.said_by_helper())
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"


def debug(agent: LocalAgent, parent: Task, *path: str, command: str) -> int:
    try:
        return agent.debug(parent, *path, command=command)
    except fetch.Unavailable as reason:
        pytest.skip(str(reason))


def test_debug_container_joins_the_view_of_its_parent(agent: LocalAgent, task_user: pwd.struct_passwd) -> None:
    parent = agent.run(
        f"""
        echo secret > /tmp/made-by-parent
        readlink /proc/self/ns/mnt > namespace
        touch ready
        {WAIT_FOR_RELEASE}
        """,
        user=task_user.pw_name,
    )
    parent.wait_file("ready")
    command = "exec > debug; cat /tmp/made-by-parent; readlink /proc/self/ns/mnt; id -u; pwd; exit 9"
    assert debug(agent, parent, "probe", command=command) == 9 << 8
    secret, namespace, uid, directory = parent.read("debug").splitlines()
    assert secret == "secret"
    assert namespace == parent.read("namespace").strip()
    assert uid == str(task_user.pw_uid)
    assert directory == str(parent.sandbox)
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"


def test_debug_container_of_a_nested_container_joins_that_one(agent: LocalAgent) -> None:
    parent = agent.run(f"touch ready; {WAIT_FOR_RELEASE}")
    parent.wait_file("ready")
    sandbox = parent.sandbox / "containers/child"
    waiting = "echo child > /tmp/made-by-child; touch ready; while [ ! -e go ]; do sleep 0.05; done"
    agent.launch_nested(parent, "child", command=waiting)
    wait_until((sandbox / "ready").exists, "nested container")
    command = "cat /tmp/made-by-child > debug; kill -KILL $$"
    assert debug(agent, parent, "child", "probe", command=command) == signal.SIGKILL
    assert (sandbox / "debug").read_text() == "child\n"
    (sandbox / "go").touch()
    assert agent.wait_nested(parent, "child") == 0
    parent.release()
    assert parent.wait_end()["state"] == "TASK_FINISHED"


def test_standalone_container_has_the_default(agent: LocalAgent) -> None:
    """One without framework, executor or user."""
    name = {"value": "standalone"}
    command = {"value": "id -u > id; ls -A /tmp > listing; touch /tmp/made-by-standalone; exit 6"}
    agent.call("LAUNCH_CONTAINER", container_id=name, command=command, resources=scalars(0.1, 32))
    assert agent.call("WAIT_CONTAINER", container_id=name)["exit_status"] == 6 << 8
    sandbox = agent.work_dir / "containers/standalone"
    assert (sandbox / "id").read_text() == "0\n"
    assert set((sandbox / "listing").read_text().split()) <= {sandbox.parts[2]}
    assert (sandbox / "tmp/made-by-standalone").exists()


def test_broken_configuration_refuses_the_launch_by_its_name(agent: LocalAgent) -> None:
    path = agent.flags_dir.parent / "shim/etc/mesos-shim/config.json"
    old = path.read_text()
    path.write_text(old.replace("{", "{,", 1))
    try:
        task = agent.run(command="touch started")
        assert task.wait_executor() != 0
    finally:
        path.write_text(old)
    assert not (task.sandbox / "started").exists()
    assert any(str(path) in line for line in agent.said_by_helper())


def test_configuration_is_read_at_each_launch(agent: LocalAgent, host_marker: str) -> None:
    """An operator's change of the default holds for the next executor; the agent need not know."""
    path = agent.flags_dir.parent / "shim/etc/mesos-shim/config.json"
    old = path.read_text()
    changed = {**json.loads(old), "default_container_info": {"type": "MESOS", "volumes": []}}
    path.write_text(json.dumps(changed))
    try:
        task = agent.run("ls -A /tmp > listing")
        assert task.wait_end()["state"] == "TASK_FINISHED"
    finally:
        path.write_text(old)
    assert host_marker in task.read("listing").split()
