"""An agent that is not root's: its tasks can write its records, and root acts on none of them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos_shim.commands import agents_user, as_user
from mesos_shim.errors import ShimError
from mesos_shim.spec.config import Config
from mesos_shim.system import credentials, syscalls
from mesos_shim.system.proc import boot_id, start_time
from mesos_shim.usage import sample

from ..lib.containers import SERVANT, alive
from ..lib.shim import CHECKOUT, PYTHON, Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root

USER = pwd.getpwnam("games")  # nobody else's in these tests
STATE = Path(f"/run/mesos-shim-{USER.pw_uid}")
OWN = Path("/run/mesos-shim")


@pytest.fixture(autouse=True)
def state() -> Iterator[None]:
    """The directory that the agent's unit has made for its user."""
    STATE.mkdir(mode=0o755)
    os.chown(STATE, USER.pw_uid, USER.pw_gid)
    yield
    shutil.rmtree(STATE)
    subprocess.run(["pkill", "-KILL", "-u", str(USER.pw_uid)], check=False)


@pytest.fixture
def agents(shim: Shim) -> Shim:
    """A shim whose configuration names the agent's user; root's records are the host's."""
    shim.config_path.write_text(json.dumps({"agent_user": USER.pw_name}))
    return shim


@pytest.fixture
def task(agents: Shim, open_tmp: Path) -> Iterator[subprocess.Popen[str]]:
    """A container of the agent's user's, with a private directory over one of the host's."""
    sandbox = open_tmp / "sandbox"
    sandbox.mkdir()
    os.chown(sandbox, USER.pw_uid, USER.pw_gid)
    (open_tmp / "target").mkdir()
    words = [agents.program, "run", "--container-id", "theirs", "--volume", f"t:{open_tmp}/target", "--"]
    process = subprocess.Popen(
        [*map(str, words), PYTHON, "-c", SERVANT],
        cwd=sandbox,
        user=USER.pw_uid,
        group=USER.pw_gid,
        extra_groups=[],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline().startswith("ready")
    yield process
    process.kill()
    process.communicate()


def forge(name: str, **fields: object) -> Path:
    """A record as a task could write it: of our own process, unless the fields say otherwise."""
    containers = STATE / "containers"
    containers.mkdir(exist_ok=True)
    path = containers / f"{name}.json"
    record = {
        "version": 1,
        "container_id": name,
        "pid": os.getpid(),
        "start_time": start_time(os.getpid()),
        "boot_id": boot_id(),
        "mode": "enforced",
        "isolation": [],
        "sandbox": "/",
        "uid": 0,
        **fields,
    }
    path.write_text(json.dumps(record))
    for each in (containers, path):
        os.chown(each, USER.pw_uid, USER.pw_gid)
        each.chmod(0o700)
    return path


def listed(shim: Shim) -> dict[str, dict[str, object]]:
    done = shim.run("ps", "--json")
    assert done.returncode == 0, done
    return {item["container_id"]: item for item in json.loads(done.stdout)}


def test_root_sees_the_containers_of_the_agents_user(agents: Shim, task: subprocess.Popen[str]) -> None:
    assert listed(agents)["theirs"]["pid"] == task.pid
    (STATE / "containers/theirs.json").stat()
    assert not (OWN / "containers/theirs.json").exists()
    done = agents.run("usage", "theirs", "--format", "json")
    (found,) = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["pid"]) == (0, "", task.pid)
    assert found["statistics"]["processes"] == 1 and found["statistics"]["mem_rss_bytes"] > 1 << 20
    assert "theirs  " in agents.run("usage").stdout
    assert 'mesos_container_processes{container_id="theirs"} 1' in agents.run("usage", "--format", "openmetrics").stdout
    said = agents.run("doctor").stdout
    assert f"ok        agent_user records  {STATE}" in said


def test_without_the_key_root_does_not_look_there(agents: Shim, task: subprocess.Popen[str]) -> None:
    agents.config_path.write_text("{}")
    assert "theirs" not in listed(agents)


def test_what_has_ended_is_cleared_as_that_user(agents: Shim, task: subprocess.Popen[str]) -> None:
    assert "theirs" not in agents.run("gc").stdout
    task.kill()
    task.wait()
    assert "would clear record of theirs" in agents.run("gc", "--dry-run").stdout
    assert (STATE / "containers/theirs.json").exists()
    done = agents.run("gc")
    assert "cleared record of theirs" in done.stdout, done
    assert not (STATE / "containers/theirs.json").exists()


def test_a_forged_record_has_root_remove_nothing(agents: Shim, open_tmp: Path) -> None:
    """The private directory and the sandbox of one that has ended, if they are that very directory."""
    roots = open_tmp / "roots"
    (roots / "inner").mkdir(parents=True)
    inode = [roots.stat().st_dev, roots.stat().st_ino]
    ended = {"pid": 1 << 20, "start_time": 5}
    forge("private", **ended, private=[{"path": str(roots), "inode": inode}])
    forge("sandbox", **ended, sandbox=str(roots), sandbox_inode=inode, remove=inode)
    done = agents.run("gc")
    assert (roots / "inner").is_dir(), done
    # The same record, written by root itself, does have it removed: what keeps it is whose word it is.
    forge("sandbox", **ended, sandbox=str(roots), sandbox_inode=inode, remove=inode)
    OWN.joinpath("containers").mkdir(mode=0o700, parents=True, exist_ok=True)
    mine = Path(shutil.copy(STATE / "containers/sandbox.json", OWN / "containers/sandbox.json"))
    mine.chmod(0o600)
    agents.run("gc")
    assert not roots.exists() and not mine.exists()


def test_an_id_of_roots_is_not_taken_over(agents: Shim, open_tmp: Path) -> None:
    """Two series of one name would cost the metrics of all."""
    name = f"roots-{os.getpid()}"
    process = subprocess.Popen([str(agents.program), "run", "--container-id", name, "--", "sleep", "60"], cwd=open_tmp)
    try:
        wait_until((OWN / f"containers/{name}.json").exists, "root's record")
        forge(name, executor_id="forged")
        done = agents.run("usage", "--format", "openmetrics")
        assert (
            done.stdout.count(f'mesos_container_processes{{container_id="{name}"') == 1 and "forged" not in done.stdout
        )
        said = f"container {name}: left out, because another one has the same id: the record is of agent_user games"
        assert said in done.stderr
    finally:
        process.kill()
        process.wait()


def test_root_does_not_enter_what_they_have_recorded(agents: Shim, task: subprocess.Popen[str]) -> None:
    done = agents.run("enter", "theirs", "--", "id")
    assert done.returncode == 125
    assert (
        "enter: no container 'theirs' in /run/mesos-shim; an agent's are entered as its user: runuser --pty"
        in done.stderr
    )


@pytest.mark.parametrize("kind", ["fifo", "link", "foreign"])
def test_what_lies_there_instead_of_records_stops_nothing(agents: Shim, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(STATE / "containers", 0o666)
    elif kind == "link":
        (STATE / "containers").symlink_to("/root")
    else:
        (STATE / "containers").mkdir()  # root's, so that user may not read it
        (STATE / "containers").chmod(0o700)
    done = agents.run("ps", timeout=20)
    assert done.returncode == 0
    assert "mesos-shim: warning: the containers of agent_user games are not known: " in done.stderr, done
    assert agents.run("usage", timeout=20).returncode == 0


def test_a_user_who_is_none(agents: Shim) -> None:
    agents.config_path.write_text(json.dumps({"agent_user": "nix-da"}))
    done = agents.run("ps")
    assert done.returncode == 0
    assert "agent_user nix-da are not known: agent_user: no account 'nix-da' on this host" in done.stderr
    done = agents.run("gc")
    assert "agent_user: no account 'nix-da' on this host" in done.stderr and done.returncode != 0
    assert "broken    agent_user          agent_user: no account 'nix-da'" in agents.run("doctor").stdout


@pytest.mark.parametrize("command", ["ps --json", "usage --format json"])
def test_a_warning_that_nobody_hears_costs_nothing(agents: Shim, command: str) -> None:
    """A task can have one given at any time."""
    forge("damaged").write_text("no JSON")
    line = f"exec {agents.program} {command} 2>&-"
    done = subprocess.run(["/bin/sh", "-c", line], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_an_ordinary_caller_sees_only_their_own(agents: Shim, task: subprocess.Popen[str]) -> None:
    done = agents.run("ps", "--json", user=2, group=2, extra_groups=[])
    assert json.loads(done.stdout) == [] and "agent_user" not in done.stderr, done
    done = agents.run("ps", "--json", user=USER.pw_uid, group=USER.pw_gid, extra_groups=[])
    assert [item["container_id"] for item in json.loads(done.stdout)] == ["theirs"]


# The process that asks.

IDENTITY = credentials.Identity(USER.pw_uid, USER.pw_gid, [USER.pw_gid], switch=True)


def test_who_asks_has_nothing_of_roots() -> None:
    secret = os.open("/etc/shadow", os.O_RDONLY)
    os.set_inheritable(secret, True)

    def look() -> object:
        lines = Path("/proc/self/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if "\t" in line)
        opened = []
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the one that lists them
                opened.append(os.readlink(f"/proc/self/fd/{name}"))
        return {
            "ids": [status[name].split() for name in ("Uid", "Gid")],
            "capabilities": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
            "groups": os.getgroups(),
            "session": os.getsid(0) == os.getpid(),
            "opened": sorted(opened),
            "core": resource.getrlimit(resource.RLIMIT_CORE),  # with root's memory in it
            "dumpable": syscalls.prctl(3),  # PR_GET_DUMPABLE: only root may trace it, or have its memory
        }

    try:
        found = as_user.ask(IDENTITY, look, 20)
    finally:
        os.close(secret)
    assert isinstance(found, dict)
    opened = found.pop("opened")
    assert found == {
        "ids": [[str(USER.pw_uid)] * 4, [str(USER.pw_gid)] * 4],
        "capabilities": [0, 0, 0, 0],
        "groups": [USER.pw_gid],
        "session": True,
        "core": [0, 0],
        "dumpable": 0,
    }
    assert opened[:3] == ["/dev/null"] * 3 and len(opened) == 4 and opened[3].startswith("pipe:")


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "who was to answer has been ended"),
        (lambda: "x" * (17 << 20), "an answer of more than 16777216 bytes"),
        (lambda: Path("/etc/shadow").read_text(), "Permission denied"),
        (lambda: float("nan"), "unreadable answer"),
        (lambda: {}["no"], "internal error, please report it: KeyError"),
        (lambda: os._exit(0), "who was to answer has been ended"),
    ],
)
def test_what_is_no_answer(question: object, says: str) -> None:
    with pytest.raises(ShimError) as caught:
        as_user.ask(IDENTITY, question, 20)  # type: ignore[arg-type]
    assert says in str(caught.value)


RECORD = {"version": 1, "container_id": "c", "pid": 1, "mode": "enforced", "isolation": [], "sandbox": "/", "uid": 5}
COUNTS = {"timestamp": 1.5, "processes": 1, "threads": 1}


@pytest.mark.parametrize(
    ("used", "more"),
    [
        ([[RECORD, 1.0, {**COUNTS, "mem_rss_bytes": "1"}]], {}),
        ([[RECORD, 1.0, {**COUNTS, "mem_rss_bytes": 10**400}]], {}),
        ([[RECORD, 1.0, {**COUNTS, "mem_rss_bytes": True}]], {}),
        ([[RECORD, 1.0, {"timestamp": 1.5, "processes": 1}]], {}),
        ([[RECORD, "1", COUNTS]], {}),
        ([[RECORD, 1.0]], {}),
        ([["record", 1.0, COUNTS]], {}),
        ([[{**RECORD, "mode": "half"}, 1.0, COUNTS]], {}),
        ([[{**RECORD, "container_id": "../c"}, 1.0, COUNTS]], {}),
        ({"no": "list"}, {}),
        ([], {"ended": 5}),
        ([], {"warnings": None}),
    ],
)
def test_an_answer_is_a_strangers_word(used: object, more: dict[str, object]) -> None:
    good = {"used": [[RECORD, 1.0, {**COUNTS, "disk_statistics": [{}]}]], "ended": ["e"], "warnings": ["w"]}
    found = agents_user._sample(good)
    assert ([item.entry.container_id for item in found.used], found.ended, found.warnings) == (["c"], ["e"], ["w"])
    with pytest.raises(ShimError):
        agents_user._sample({**good, "used": used, **more})
    with pytest.raises(ShimError):
        agents_user._sample([good])


def test_more_than_any_host_has_is_left_out() -> None:
    """A task can write records by the thousand, and each would be series in the metrics of all."""
    used = [[{**RECORD, "container_id": f"c{number}"}, 1.0, {}] for number in range(agents_user._MOST + 2)]
    found = agents_user._sample({"used": used, "ended": [], "warnings": ["w"] * (agents_user._MOST + 3)})
    assert len(found.used) == agents_user._MOST
    assert found.warnings[agents_user._MOST - 1 :] == [
        "w",
        "2 more containers of agent_user are left out",
        "3 more warnings of agent_user are left out",
    ]


def test_one_that_its_user_has_stopped_is_not_waited_for(tmp_path: Path) -> None:
    pids: list[int] = []
    real = os.fork

    def fork() -> int:
        pid = real()
        if pid:
            pids.append(pid)
        return pid

    begun = time.monotonic()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ShimError, match=r"no answer within 0\.3 seconds"):
        patch.setattr(os, "fork", fork)
        as_user.ask(IDENTITY, lambda: os.kill(os.getpid(), signal.SIGSTOP), 0.3)
    assert time.monotonic() - begun < 20
    assert not Path(f"/proc/{pids[0]}").exists()


def test_one_that_cannot_be_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it waits for a file system that the user has mounted and does not answer for: SIGKILL comes later."""
    real, pids = os.kill, []
    monkeypatch.setattr(as_user.os, "kill", lambda pid, number: pids.append(pid))
    monkeypatch.setattr(as_user, "_SECONDS_TO_DIE", 0.1)
    begun = time.monotonic()
    try:
        with pytest.raises(ShimError, match="no answer within"):
            as_user.ask(IDENTITY, lambda: time.sleep(25), 0.1)
        assert time.monotonic() - begun < 20
    finally:
        real(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)


def test_where_no_process_can_be_made_roots_own_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    config = Config()
    config.agent_user = USER.pw_name
    found = agents_user.look(config, lambda state: sample.Sample([], [state], []))
    assert len(found.ended) == 1
    assert found.warnings[-1].endswith("are not known: no process to ask with: Resource temporarily unavailable")


def test_a_caller_who_ignores_the_ends_of_children() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert as_user.ask(IDENTITY, os.getuid, 20) == USER.pw_uid
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_caller_without_standard_descriptors() -> None:
    code = (
        "import os; from tests.hostile import test_agents_user as t; os.close(0); os.close(2); "
        "print(t.as_user.ask(t.IDENTITY, os.getuid, 20))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    assert done.stdout == f"{USER.pw_uid}\n"


def session_keyring() -> int:
    """The number of the caller's, by KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING; -1 where there is none."""
    number = syscalls._keyctl(os.uname().machine, sys.maxsize > 2**32)
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, 0, -3, 0))


def test_its_session_keyring_is_not_roots() -> None:
    """With this process in one of its own, which a child inherits."""
    code = (
        "from tests.hostile import test_agents_user as t; t.syscalls.new_session_keyring(); "
        "print(t.session_keyring(), t.as_user.ask(t.IDENTITY, t.session_keyring, 20))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=False)
    roots, asked = map(int, done.stdout.split())
    if roots == -1:
        pytest.skip("no keyrings here")
    assert roots > 0 and asked > 0 and asked != roots


def test_it_ends_with_whoever_waits_for_it() -> None:
    def wait() -> None:
        (STATE / "asking").write_text(str(os.getpid()))
        signal.pause()

    waiting = os.fork()
    if not waiting:
        try:
            as_user.ask(IDENTITY, wait, 60)
        finally:
            os._exit(0)
    pid = int(wait_until(lambda: (STATE / "asking").exists() and (STATE / "asking").read_text(), "its pid"))
    os.kill(waiting, signal.SIGKILL)
    os.waitpid(waiting, 0)
    wait_until(lambda: not alive(pid), "the end of who was to answer")
