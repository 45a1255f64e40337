"""A 1.x launch without a copy of the helper: what the command has, and what the helper has again (beside.py)."""

from __future__ import annotations

import json
import os
import posix
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mesos_shim.containers import record as place
from mesos_shim.launch import spawn
from mesos_shim.system import proc

from ..lib import wire
from ..lib.containers import alive
from ..lib.containers import running as in_ps
from ..lib.pausing import between
from ..lib.played_agent import PlayedAgent, end, record, wait_until_named
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root

STATUS = {"shell": False, "value": "/bin/cat", "arguments": ["cat", "/proc/self/status"]}


@pytest.fixture
def agent(open_tmp: Path, shim: Shim) -> PlayedAgent:
    """An agent whose container has a private /tmp."""
    found = PlayedAgent(open_tmp, shim)
    found.hold(wire.container_info(wire.volume("/tmp", "tmp")))
    return found


@contextmanager
def running(agent: PlayedAgent, **fields: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The helper, once its record names the command, and the command's pid."""
    helper = agent.start("echo $$; exec sleep 1000", **fields)
    try:
        assert helper.stdout is not None
        pid = int(helper.stdout.readline())
        wait_until_named(agent)
        yield helper, pid
    finally:
        helper.terminate()
        end(helper)


def status(pid: object) -> dict[str, list[str]]:
    """/proc/PID/status."""
    return fields(Path(f"/proc/{pid}/status").read_text())


def fields(text: str) -> dict[str, list[str]]:
    """Its lines by name."""
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in text.splitlines())}


def view(pid: object) -> str:
    """Whose view of the file system the process has."""
    return os.readlink(f"/proc/{pid}/ns/mnt")


def test_there_is_no_copy_of_the_helper(agent: PlayedAgent) -> None:
    """One process is made, and it has the helper's memory until it is the command."""
    words = words_of(agent, STATUS, user="root")
    log = agent.root / "calls"
    strace = ["strace", "-qqq", "-f", "-o", str(log), "-e", "trace=clone,clone3,fork,vfork", "--", *words]
    subprocess.run(strace, check=True, capture_output=True, timeout=60)
    made = [line for line in log.read_text().splitlines() if re.search(r"fork\(|clone3?\(", line)]
    assert len(made) == 1, made
    assert "CLONE_VM" in made[0], made
    assert "CLONE_VFORK" in made[0], made


def test_the_helper_never_has_another_users_ids(agent: PlayedAgent) -> None:
    """Whoever has its real or its effective uid may signal it: the copy, which is to be the command, takes them on.

    The ids of file access (setfsuid(2)) let nobody do anything to it.
    """
    log = agent.root / "calls"
    changes = "setuid,setgid,setreuid,setregid,setresuid,setresgid"
    strace = ["strace", "-qqq", "-o", str(log), "-e", f"trace={changes}", "--", *words_of(agent, STATUS)]
    done = subprocess.run(strace, check=True, capture_output=True, text=True, timeout=60)
    assert fields(done.stdout)["Uid"] == [str(NOBODY)] * 4
    assert log.read_text() == ""


def words_of(agent: PlayedAgent, command: dict[str, object], user: str = "nobody", **more: object) -> list[str]:
    """The helper for a task of the user, to whom the sandbox is given."""
    shutil.chown(agent.sandbox, user)
    return agent.words(command, user=user, **more)


def test_the_command_is_its_user_with_all_its_ids(agent: PlayedAgent) -> None:
    """The saved ids, which nothing else shows, are a way back to root where they are forgotten."""
    os.chown(agent.sandbox, NOBODY, NOBODY)
    _, out, err = end(agent.start(STATUS, user="nobody"))
    assert (err, agent.status) == ("", "0")
    found = fields(out)
    group = os.getgrouplist("nobody", NOBODY)
    assert (found["Uid"], found["Gid"]) == ([str(NOBODY)] * 4, [str(NOBODY)] * 4)
    assert sorted(map(int, found["Groups"])) == sorted(group)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(found[name][0], 16) == 0, name


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_the_helper_is_itself(agent: PlayedAgent, user: str) -> None:
    """Its ids and its groups; in the view it stays, and not in the sandbox, where a core of it would lie."""
    shutil.chown(agent.sandbox, user)
    with running(agent, user=user) as (helper, pid):
        ours, its = status("self"), status(helper.pid)
        assert view(helper.pid) == view(pid) != view("self")
        for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff"):
            assert its[name] == ours[name], name
        wait_until(lambda: os.readlink(f"/proc/{helper.pid}/cwd") == "/", "the helper stands in /")
        assert os.readlink(f"/proc/{pid}/cwd") == str(agent.sandbox)


def test_nothing_of_the_view_stays_open_in_the_helper(agent: PlayedAgent) -> None:
    """The container's mounts end with it: it keeps its status file, the directory of records, the sandbox's lock."""
    with running(agent) as (helper, _):

        def kept() -> list[str]:
            names = sorted(map(int, os.listdir(f"/proc/{helper.pid}/fd")))
            return [os.readlink(f"/proc/{helper.pid}/fd/{name}") for name in names if name > 2]

        expected = {str(agent.runtime / "status"), str(agent.shim.state_dir / "containers"), str(agent.sandbox)}
        wait_until(lambda: set(kept()) == expected, f"no more than {expected}")


def test_a_signal_before_the_command_calls_the_launch_off(agent: PlayedAgent) -> None:
    """Also where the agent's byte is there already, so that nobody waits for it, and nothing is interrupted."""
    words = words_of(agent, STATUS)

    def interrupt() -> None:
        (held,) = [int(path.name) for path in Path("/proc").glob("[0-9]*") if is_helper(path, agent)]
        os.kill(held, signal.SIGTERM)

    # The first of its calls of that name is the one that holds signals.
    done = between(words, agent.root, "rt_sigprocmask", 1, interrupt)
    assert (done.stdout, agent.status) == ("", str(int(signal.SIGTERM)))


def is_helper(process: Path, agent: PlayedAgent) -> bool:
    """Whether that is the container's helper."""
    try:
        cmdline = (process / "cmdline").read_bytes()
        return str(agent.shim.helper).encode() in cmdline and b"strace" not in cmdline
    except OSError:
        return False


@pytest.mark.parametrize(
    "fields_of_a_fork", [{}, {"rlimits": {"rlimits": [{"type": "RLMT_CORE", "soft": 0, "hard": 0}]}}]
)
def test_the_command_has_no_signal_that_the_agent_ignores(
    agent: PlayedAgent, fields_of_a_fork: dict[str, object]
) -> None:
    words = words_of(agent, STATUS, "root", **fields_of_a_fork)
    ignoring = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
    words[4:4] = [PYTHON, "-c", ignoring + "os.execv(sys.argv[1], sys.argv[1:])"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert int(fields(done.stdout)["SigIgn"][0], 16) & ~(0b11 << 31) == 0  # 32 and 33: docs/threat-model.md, 21


def test_the_record_is_there_before_the_command(agent: PlayedAgent) -> None:
    """The helper stands for it, as a launch that becomes its command does; then the command is named."""
    words = words_of(agent, STATUS, user="root")
    seen: list[dict[str, Any]] = []

    def look() -> None:
        seen.append(record(agent))

    # One of the last calls before the child is made.
    assert between(words, agent.root, "close_range", 1, look).returncode == 0
    (found,) = seen
    assert found["pid"] == found["supervisor"]["pid"]
    with running(agent) as (helper, pid):
        found = record(agent)
        assert (found["pid"], found["supervisor"]["pid"]) == (pid, helper.pid)
    assert not (agent.shim.state_dir / "containers/c1.json").exists()


def test_a_record_in_which_the_helper_stands_leads_nobody_to_the_host(agent: PlayedAgent) -> None:
    """Who has read it before the command was named is in the same view."""
    with running(agent) as (_, pid):
        path = agent.shim.state_dir / "containers/c1.json"
        found = record(agent)
        path.write_text(json.dumps({**found, **found["supervisor"]}))
        done = agent.shim.run("enter", "c1", "--", "readlink", "/proc/self/ns/mnt")
        assert (done.returncode, done.stdout.strip()) == (0, view(pid))
        path.write_text(json.dumps(found))


def test_the_helper_is_none_of_the_containers_processes(agent: PlayedAgent) -> None:
    """It stands in its view, and what it uses is not the task's."""
    with running(agent) as (_, pid):
        (found,) = json.loads(agent.shim.run("usage", "--format", "json").stdout)
        assert (found["pid"], found["statistics"]["processes"]) == (pid, 1)


def test_a_command_that_is_not_there_leaves_nothing(agent: PlayedAgent) -> None:
    """Root's rights are not gone, as they are where a launch becomes its command: all of it is taken back."""
    command = {"shell": False, "value": "/does/not/exist"}
    code, out, err = end(agent.start(command, user="root"))
    assert (code, out, agent.status) == (1, "", "256")
    assert err == "mesos-containerizer: command '/does/not/exist': not found\n"
    assert list(agent.sandbox.iterdir()) == []
    assert list((agent.shim.state_dir / "containers").iterdir()) == []


@pytest.mark.parametrize(("call", "number"), [("renameat", 2), ("chdir", 1)])
def test_a_helper_that_is_killed_beside_its_command_hides_nothing(agent: PlayedAgent, call: str, number: int) -> None:
    """What it had started is still the container, whomever the record names; then gc clears it."""
    words = words_of(agent, {"shell": True, "value": "echo $$; exec sleep 1000"}, user="root")
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    strace = ["strace", "-qqq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject, "--", *words]
    with subprocess.Popen(strace, stdout=subprocess.PIPE, text=True) as helper:
        assert helper.stdout is not None
        pid = int(helper.stdout.readline())
        assert helper.wait(60) == -signal.SIGKILL
    try:
        agent.shim.run("gc")
        assert in_ps(agent.shim) == ["c1"]
        assert agent.shim.run("enter", "c1", "--", "readlink", "/proc/self/ns/mnt").stdout.strip() == view(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the command has ended")
    agent.shim.run("gc")
    assert (in_ps(agent.shim), (agent.shim.state_dir / "containers/c1.json").exists()) == ([], False)
    assert end(agent.start("echo again"))[1] == "again\n"


def test_a_record_that_cannot_name_the_command_is_said(agent: PlayedAgent) -> None:
    """Best effort: the command runs, and what is recorded of it still holds."""
    words = words_of(agent, STATUS, user="root")
    strace = ["strace", "-qqq", "-o", os.devnull, "-e", "inject=renameat:error=ENOSPC:when=2", "--", *words]
    done = subprocess.run(strace, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, agent.status, "Uid:" in done.stdout) == (0, "0", True)
    assert done.stderr.startswith("mesos-shim: warning: no record in ")
    assert list((agent.shim.state_dir / "containers").iterdir()) == []


def test_a_command_whose_start_nobody_can_tell_is_not_named(open_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pid without its start time would be any later process's; what is recorded of the helper holds."""
    (open_tmp / "containers").mkdir()
    stands = {"container_id": "c1", "pid": 1, "start_time": 2}
    made = SimpleNamespace(pid=4711, recorded=dict(stands), place=place.open_place(str(open_tmp)), warnings=[])
    monkeypatch.setattr(proc, "start_time", lambda pid: None)
    spawn.name_command(made)
    assert made.recorded == stands
    assert list((open_tmp / "containers").iterdir()) == []
    assert "no start time in /proc/4711/stat" in made.warnings[0]


def test_a_helper_that_may_not_come_back_stays(agent: PlayedAgent) -> None:
    """Root of a user namespace in the host's mount namespace, to which nobody of his returns."""
    words = words_of(agent, STATUS, user="root")
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, agent.status) == (0, "0"), done
    # Whose `trusted` attributes nobody sets there, either.
    assert [line for line in done.stderr.splitlines() if "could not be marked as the shim's" not in line] == []
    assert list((agent.shim.state_dir / "containers").iterdir()) == []


def test_where_the_agent_ignores_its_childrens_end(agent: PlayedAgent) -> None:
    """So does the command, which no posix_spawn could have do so: it is forked."""
    words = words_of(agent, STATUS, user="root")
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    )
    words[4:4] = [PYTHON, "-c", ignoring]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert agent.status == "0"
    assert int(fields(done.stdout)["SigIgn"][0], 16) >> (signal.SIGCHLD - 1) & 1


def test_in_a_pid_namespace_of_the_agents_the_record_has_the_hosts_pids(agent: PlayedAgent) -> None:
    """There the C library knows the command by another pid than the host's /proc, which everybody else reads."""
    words = words_of(agent, {"shell": True, "value": "read -r pid rest < /proc/self/stat; echo $pid; exec sleep 1000"})
    unshare = ["unshare", "--pid", "--fork", "--kill-child", "--", *words]
    with subprocess.Popen(unshare, stdout=subprocess.PIPE, text=True) as helper:
        assert helper.stdout is not None
        pid = int(helper.stdout.readline())
        try:
            assert int(status(pid)["NSpid"][-1]) != pid
            wait_until(lambda: record(agent)["pid"] == pid, "the record names the command")
            assert agent.shim.run("enter", "c1", "--", "readlink", "/proc/self/ns/mnt").stdout.strip() == view(pid)
        finally:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("version", "tells"),
    [("glibc 2.17", False), ("glibc 2.9", False), ("glibc 2.24", True), ("glibc 2.36", True), ("glibc 3.0", True)]
    + [("glibc devel", True), ("NPTL 0.60", True), (None, True), (ValueError(), True)],
)
def test_an_old_c_library_that_hides_a_failed_exec_is_not_used(
    version: object, tells: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confstr(name: str) -> object:
        assert name in posix.confstr_names
        if isinstance(version, Exception):
            raise version
        return version

    monkeypatch.setattr("mesos_shim.launch.spawn.posix.confstr", confstr)
    assert spawn._reports_failures() == tells
