"""DEBUG containers land in their parent's view, or are refused, whoever launched it and whatever the isolators are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..lib import wire
from ..lib.launch_info import NEWNS, NEWPID, PROC, bind
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root

DEBUG = 2
PRIVATE_TMP = {"type": "MESOS", "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}]}
SECRET = "echo secret > /tmp/of-parent; echo ready; exec sleep 1000"


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent whose container gets a private /tmp, in which it puts a secret."""
    shim.configure(default_container_info=PRIVATE_TMP)
    found = PlayedAgent(open_tmp, shim)
    found.hold(None)
    return found


@contextmanager
def running(agent: PlayedAgent, command: str = SECRET, **fields: object) -> Iterator[subprocess.Popen[str]]:
    """The helper of a container that runs, whose pid the agent has checkpointed."""
    process = agent.start(command, **fields)
    (agent.runtime / "pid").write_text(str(process.pid))
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", line + process.communicate()[1]
        yield process
    finally:
        process.terminate()
        end(process)


def debug_of(agent: PlayedAgent, name: str = "debug", **more: str) -> PlayedAgent:
    """A DEBUG container of the agent's container."""
    found = PlayedAgent(agent.root, agent.shim, container=f"{agent.container}/{name}", more=more)
    found.sandbox = agent.sandbox
    found.hold(None, container_class=DEBUG)
    return found


def targeting(pid: int) -> dict[str, str]:
    """What an agent with filesystem/linux says besides."""
    return {"MESOS_CONTAINERIZER_NAMESPACE_MNT_TARGET": str(pid)}


def view(pid: object) -> str:
    return os.readlink(f"/proc/{pid}/ns/mnt")


FORK = {"rlimits": {"rlimits": [{"type": "RLMT_CORE", "soft": 0, "hard": 0}]}}


@pytest.mark.parametrize("fields", [{}, FORK])
def test_the_helper_stands_in_the_view_with_the_command(agent: PlayedAgent, fields: dict[str, object]) -> None:
    """An agent enters the helper's, and finds a command executor's task by its children's (getMountNamespaceTarget)."""
    with running(agent, "echo ready; exec sleep 1000", **fields) as helper:
        (child,) = Path(f"/proc/{helper.pid}/task/{helper.pid}/children").read_text().split()
        assert view(helper.pid) == view(child) != view("self")


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("fields", [{}, FORK])
def test_a_debug_container_sees_what_its_parent_sees(
    agent: PlayedAgent, fields: dict[str, object], named: bool
) -> None:
    """Ours and the agent's volumes; with filesystem/linux the agent names the parent's helper."""
    mounts = [bind("/usr/share", "/opt")]
    with running(agent, clone_namespaces=[NEWNS], mounts=mounts, **fields) as helper:
        debug = debug_of(agent, **(targeting(helper.pid) if named else {}))
        _, out, err = end(debug.start("cat /tmp/of-parent; ls -d /opt/doc; readlink /proc/self/ns/mnt"))
        assert (out.split(), err) == (["secret", "/opt/doc", view(helper.pid)], "")


def test_a_debug_container_of_a_debug_container(agent: PlayedAgent) -> None:
    with running(agent) as helper:
        middle = debug_of(agent, **targeting(helper.pid))
        with running(middle, "echo ready; exec sleep 1000") as other:
            debug = debug_of(middle, "inner", **targeting(other.pid))
            assert end(debug.start("cat /tmp/of-parent"))[1] == "secret\n"


def test_no_record_is_needed(agent: PlayedAgent) -> None:
    """The state directory is for ps and usage: it may be missing."""
    agent.shim.configure(default_container_info=PRIVATE_TMP, state_dir="/proc/none/such")
    with running(agent):
        _, out, err = end(debug_of(agent).start("cat /tmp/of-parent"))
    assert out == "secret\n"
    assert "no record in /proc/none/such" in err


def test_who_leaves_the_view_takes_no_debug_container_along(agent: PlayedAgent) -> None:
    """The helper stays in it, whatever namespaces the command makes for itself."""
    command = (
        "echo secret > /tmp/of-parent; exec unshare -m sh -c 'mount -t tmpfs none /tmp; echo ready; exec sleep 1000'"
    )
    with running(agent, command):
        assert end(debug_of(agent).start("cat /tmp/of-parent"))[1] == "secret\n"


def test_in_the_agents_pid_namespace(agent: PlayedAgent) -> None:
    """The parent's /proc shows other pids than that of the agent, who names its helper by its own."""
    words = agent.words(SECRET, clone_namespaces=[NEWNS, NEWPID], mounts=[PROC])
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount", *words]
    with subprocess.Popen(unshare, stdout=subprocess.PIPE, text=True) as outer:
        try:
            assert outer.stdout is not None
            assert outer.stdout.readline() == "ready\n"
            (helper,) = map(int, Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
            debug = debug_of(agent, **targeting(helper))
            words = debug.words("cat /tmp/of-parent; ls /proc | grep -cE '^[0-9]+$'; readlink /proc/self/ns/mnt")
            enter = ["nsenter", f"--pid=/proc/{helper}/ns/pid", "--", *words]
            done = subprocess.run(enter, capture_output=True, text=True, check=False, timeout=60)
            assert (done.returncode, done.stderr, debug.status) == (0, "", "0")
            secret, count, where = done.stdout.split()
            assert (secret, where) == ("secret", view(helper))
            assert int(count) < 10
        finally:
            outer.kill()


@pytest.mark.parametrize(
    "isolation", [["filesystem/shared", "namespaces/pid"], ["filesystem/shared", "namespaces/ipc"]]
)
def test_in_namespaces_of_our_making(agent: PlayedAgent, isolation: list[str]) -> None:
    agent.shim.configure(default_container_info=PRIVATE_TMP, isolation=isolation, state_dir="/proc/none/such")
    kind = isolation[1].partition("/")[2]
    with running(agent, f"readlink /proc/self/ns/{kind} > /tmp/of-parent; echo ready; exec sleep 1000"):
        out = end(debug_of(agent).start(f"cat /tmp/of-parent; readlink /proc/self/ns/{kind}"))[1].split()
    assert len(out) == 2
    assert out[0] == out[1] != os.readlink(f"/proc/self/ns/{kind}")


def test_an_ordinary_users_agent(agent: PlayedAgent, open_tmp: Path) -> None:
    """The user namespace that its view is of is of our making: it is joined with it."""
    state = open_tmp / "state-of-user"
    state.mkdir()
    for path in (state, agent.sandbox, agent.runtime, *agent.runtime.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    agent.shim.configure(default_container_info=PRIVATE_TMP, state_dir=str(state))
    words = ["setpriv", "--reuid", "nobody", "--clear-groups", "--regid", "nogroup", *agent.words(SECRET)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as helper:
        try:
            assert helper.stdout is not None
            assert helper.stdout.readline() == "ready\n"
            debug = debug_of(agent)
            (agent.runtime / "pid").write_text(str(helper.pid))
            for path in (debug.runtime, *debug.runtime.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            words[6:] = debug.words("cat /tmp/of-parent; readlink /proc/self/ns/mnt")
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
            assert (done.stdout.split(), done.stderr) == (["secret", view(helper.pid)], "")
        finally:
            helper.send_signal(signal.SIGTERM)


def kept(agent: PlayedAgent) -> Path:
    return agent.runtime / "mesos-shim.view"


def test_what_a_join_needs_can_be_kept_or_nothing_is_launched(agent: PlayedAgent) -> None:
    kept(agent).mkdir()
    _, out, err = end(agent.start("echo started"))
    assert (out, agent.status) == ("", "256")
    assert "mesos-shim.view in the container's runtime directory: Is a directory" in err
    assert list(agent.sandbox.iterdir()) == []
    kept(agent).rmdir()
    agent.runtime.chmod(0o777)
    _, out, err = end(agent.start("echo started"))
    assert (out, agent.status) == ("", "256")
    assert "mode 0777: users other than the agent can write there" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "mesos-shim.view"),
        ("{", "mesos-shim.view"),
        ("[]", "damaged, or another release's"),
        ('{"version": 2}', "damaged, or another release's"),
        ('{"version": 1, "mount_namespace": 1, "helper": [1, 2], "anchor": [1]}', "is not a pid and a start time"),
        ('{"version": 1, "mount_namespace": 1, "helper": [1, 2], "anchor": [-1, 5]}', "is not a pid and a start time"),
        ('{"version": 1, "mount_namespace": 1, "helper": [1, 2], "anchor": ["1", 5]}', "is not a pid and a start time"),
        ('{"version": 1, "mount_namespace": "1", "helper": [1, 2], "anchor": [1, 5]}', "is not a mount namespace"),
    ],
)
def test_what_is_kept_of_the_parent_is_damaged(agent: PlayedAgent, content: str, words: str) -> None:
    """No join by guess: not into the view that the pid in the agent's file has, either."""
    with running(agent):
        kept(agent).write_text(content)
        debug = debug_of(agent)
        _, out, err = end(debug.start("echo started"))
    assert (out, debug.status) == ("", "256")
    assert words in err
    assert "internal error" not in err


@pytest.mark.parametrize("what", ["owner", "link", "fifo"])
def test_what_is_kept_of_the_parent_is_not_the_agents(agent: PlayedAgent, what: str) -> None:
    with running(agent):
        content = kept(agent).read_text()
        if what == "owner":
            os.chown(kept(agent), NOBODY, NOBODY)
        else:
            kept(agent).unlink()
            (agent.root / "other").write_text(content)
            os.mkfifo(kept(agent)) if what == "fifo" else kept(agent).symlink_to(agent.root / "other")
        debug = debug_of(agent)
        _, out, err = end(debug.start("echo started"))
        assert (out, debug.status) == ("", "256")
        assert "mesos-shim.view: " in err


def test_a_pid_that_is_another_process_by_now(agent: PlayedAgent) -> None:
    with running(agent):
        value = json.loads(kept(agent).read_text())
        value["anchor"][1] -= 1
        kept(agent).write_text(json.dumps(value))
        _, out, err = end(debug_of(agent).start("echo started"))
    assert out == ""
    assert "has ended" in err


def test_a_helper_of_an_older_release_is_not_taken_for_the_view(agent: PlayedAgent) -> None:
    """It is back on the host, and the record that would name the command is best effort."""
    with running(agent) as helper:
        kept(agent).unlink()
        record = agent.shim.state_dir / "containers/c1.json"
        # By the record, which names the command: that is how it was joined.
        assert end(debug_of(agent).start("cat /tmp/of-parent"))[1] == "secret\n"
        content = record.read_text()
        record.unlink()
        for more in ({}, targeting(helper.pid)):
            debug = debug_of(agent, **more)
            _, out, err = end(debug.start("echo started"))
            assert (out, debug.status) == ("", "256")
            assert "its mount namespace is not recorded" in err
        record.write_text(content)


@contextmanager
def another(*words: str) -> Iterator[int]:
    """A process in a mount namespace of its own, in which /srv holds a file."""
    script = "mount -t tmpfs none /srv; touch /srv/of-image; echo ready; exec sleep 1000"
    with subprocess.Popen(["unshare", *words, "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()


def test_a_parent_of_the_packaged_helpers_is_where_the_agent_says(agent: PlayedAgent) -> None:
    """Launched before this one was installed, or with an image."""
    with another() as pid:
        (agent.runtime / "pid").write_text(str(pid))
        for more in ({}, targeting(pid)):
            assert end(debug_of(agent, **more).start("ls /srv"))[1] == "of-image\n"


def test_the_task_of_a_command_executor_with_an_image(agent: PlayedAgent) -> None:
    """The agent names another process than the parent's helper: its view is the image's."""
    with running(agent), another() as pid:
        assert end(debug_of(agent, **targeting(pid)).start("ls /srv"))[1] == "of-image\n"


def test_a_namespace_of_a_users_own_is_not_joined(agent: PlayedAgent) -> None:
    """What is mounted there would be root's /etc to us."""
    with running(agent), another("-Ur") as pid:
        debug = debug_of(agent, **targeting(pid))
        _, out, err = end(debug.start("echo started"))
        assert (out, debug.status) == ("", "256")
        assert "belongs to a user namespace of its own" in err


def test_what_was_judged_of_the_view_holds_for_who_joins_it(agent: PlayedAgent) -> None:
    """A set-uid program in it could be fed by the task's user."""
    agent.hold(wire.container_info(wire.volume("/opt", "own")))
    os.chown(agent.sandbox, NOBODY, NOBODY)
    with running(agent, "echo ready; exec sleep 1000", user="nobody"):
        out = end(debug_of(agent).start("grep NoNewPrivs /proc/self/status", user="nobody"))[1]
    assert out.split() == ["NoNewPrivs:", "1"]


@pytest.mark.parametrize("named", [True, False])
def test_a_hand_over_is_in_the_parents_view(agent: PlayedAgent, open_tmp: Path, named: bool) -> None:
    """Named by the agent, it is joined by the packaged helper: in an image's view that would not be found."""
    packaged = open_tmp / "packaged"
    packaged.write_text(
        "#!/bin/sh\n"
        "target=$MESOS_CONTAINERIZER_NAMESPACE_MNT_TARGET\n"
        'if [ -n "$target" ]; then exec nsenter --mount=/proc/$target/ns/mnt cat /tmp/of-parent; fi\n'
        "cat /tmp/of-parent\n"
    )
    packaged.chmod(0o755)
    agent.shim.configure(default_container_info=PRIVATE_TMP, packaged_helper=str(packaged))
    with running(agent) as helper:
        debug = debug_of(agent, **(targeting(helper.pid) if named else {}))
        assert end(debug.start("true", seccomp_profile={"x": 1}))[1:] == ("secret\n", "")


def test_a_hand_over_below_a_debug_container(agent: PlayedAgent, open_tmp: Path) -> None:
    """The agent names the helper of the one above, which is on the host: the command in the view is named instead."""
    packaged = open_tmp / "packaged"
    packaged.write_text(
        "#!/bin/sh\nexec nsenter --mount=/proc/$MESOS_CONTAINERIZER_NAMESPACE_MNT_TARGET/ns/mnt cat /tmp/of-parent\n"
    )
    packaged.chmod(0o755)
    agent.shim.configure(default_container_info=PRIVATE_TMP, packaged_helper=str(packaged))
    with running(agent) as helper:
        middle = debug_of(agent, **targeting(helper.pid))
        with running(middle, "echo ready; exec sleep 1000") as other:
            debug = debug_of(middle, "inner", **targeting(other.pid))
            assert end(debug.start("true", seccomp_profile={"x": 1}))[1:] == ("secret\n", "")


def test_whom_to_join_makes_it_a_debug_container(agent: PlayedAgent) -> None:
    """Before 1.5 the agent keeps no config that would say so."""
    with running(agent) as helper:
        debug = debug_of(agent, **targeting(helper.pid))
        (debug.runtime / "config").unlink()
        assert end(debug.start("readlink /proc/self/ns/mnt"))[1].strip() == view(helper.pid)


@pytest.mark.parametrize("value", ["x", "-1", "1" * 20, "\u00b2"])
def test_a_target_that_is_none(agent: PlayedAgent, value: str) -> None:
    debug = debug_of(agent, MESOS_CONTAINERIZER_NAMESPACE_MNT_TARGET=value)
    _, out, err = end(debug.start("echo started"))
    assert (out, debug.status) == ("", "256")
    assert "is not a pid" in err
