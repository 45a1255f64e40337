"""Hosts that pull: whose turn it is, in small, and a fleet of real runs that agree in a real ZooKeeper."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..lib.shim import CHECKOUT
from ..lib.waiting import wait_until
from ..lib.zookeeper import Unavailable, ZooKeeper

FILES = CHECKOUT / "collection/roles/mesos_pull/files"
NAMES = ("h1", "h2", "h3", "h4", "h5", "h6")
# Plays ansible-playbook where only turns are of interest: it applies the checkout's value, or waits, or fails.
PLAYED = """\
#!/bin/sh
while [ "$1" != --limit ]; do shift; done
[ ! -e hold ] || { touch "$(cat hold)"; while [ -e "$(cat hold)" ]; do sleep 0.05; done; }
cp value "$(cat target)/$2.out"
"""
HEAD, BEFORE = "a" * 40, "b" * 40

sys.path.insert(0, str(FILES))
turns = importlib.import_module("mesos_shim_pull.turns")
config_module = importlib.import_module("mesos_shim_pull.config")
text = importlib.import_module("mesos_shim_pull.text")
sys.path.remove(str(FILES))


def config(**changes: Any) -> Any:
    found = {
        "name": "h1",
        "zookeeper": "zk://localhost:2181/fleet",
        "url": "/nowhere",
        "version": "main",
        "directory": "/nowhere",
        "inventory": "inventory.yml",
        "playbook": "converge.yml",
        "program": "ansible-playbook",
        "waves": ("1", "50%", "100%"),
        "places": 10,
        "canary": False,
        "seconds": 60,
    }
    return config_module.Config(**{**found, **changes})


def turn(rollout: Any, fleet: int = 10, canaries: dict[str, bool] | None = None, **changes: Any) -> Any:
    return turns.decide(rollout, config(**changes), fleet, canaries or {})


def holding(*names: str, **more: Any) -> Any:
    return turns.Rollout(HEAD, open=dict.fromkeys(names, HEAD), **more)


def test_the_first_wave_is_one_host() -> None:
    assert turn(turns.Rollout(HEAD)).go
    waiting = turn(holding("h2"))
    assert not waiting.go
    assert waiting.why == "waits for the end of wave 1: h2"


def test_a_wave_ends_before_the_next_one_starts() -> None:
    assert turn(holding(done=1)).go
    assert turn(holding("h2", done=4)).go
    assert not turn(holding("h2", done=5)).go
    assert turn(holding(done=6)).go


def test_a_host_that_died_with_an_earlier_change_has_begun_no_wave_of_this_one() -> None:
    assert turn(turns.Rollout(HEAD, open={"h2": BEFORE})).go
    assert not turn(turns.Rollout(HEAD, open={"h2": BEFORE}), places=1).go


@pytest.mark.parametrize(
    ("done", "fleet", "waves", "expected"),
    [
        (0, 300, ("1", "25%", "100%"), (1, 1)),
        (1, 300, ("1", "25%", "100%"), (2, 76)),
        (76, 300, ("1", "25%", "100%"), (3, 376)),
        (0, 3, ("10%",), (1, 1)),  # one host at least
        (2, 3, ("10%",), (3, 3)),  # the last wave repeats
        (7, 300, ("3",), (3, 9)),
    ],
)
def test_waves_are_those_of_ansible(done: int, fleet: int, waves: Any, expected: Any) -> None:
    assert turns.wave(done, fleet, waves) == expected


def test_canaries_go_first_and_all_of_them() -> None:
    rollout = turns.Rollout(HEAD)
    canaries = {"h2": False, "h3": True}
    assert turn(rollout, canaries=canaries).why == "waits for the canaries: h2"
    assert turn(rollout, canaries=canaries, name="h2").go
    assert turn(rollout, canaries={"h2": True, "h3": True}).go


def test_no_more_hosts_at_a_time_than_places() -> None:
    rollout = holding("h2", "h3", done=6)
    assert turn(rollout, places=3).go
    assert turn(rollout, places=2).why == "waits: 2 of 2 places are taken, h2, h3"
    assert not turn(rollout, places=2, canaries={"h1": False}).go


def test_nobody_starts_after_a_failure() -> None:
    stopped = turn(holding(failed={"h2": "the gate"}), canaries={"h1": False})
    assert not stopped.go
    assert stopped.why == "stopped: it failed on 1 host(s), h2: the gate"


def test_a_host_that_died_finishes_and_takes_no_second_place() -> None:
    assert turn(holding("h1"), places=1).go


def rollout(**changes: Any) -> bytes:
    return json.dumps({"change": HEAD, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        rollout(change="main"),
        rollout(open={"../x": HEAD}),
        rollout(open={"h1": "main"}),
        rollout(open=["h1"]),
        rollout(done=-1),
        rollout(done=True),
        rollout(done=10**9),
        rollout(failed=["x"]),
        rollout(failed={"\x1b[31m": "x"}),
        rollout(unknown=1),
    ],
)
def test_what_is_no_rollout_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(text.PullError, match=r"^/r in ZooKeeper holds no rollout \(.*\); look at it") as refused:
        turns.parse_rollout(data, "/r")
    assert "\n" not in str(refused.value)


def test_a_reason_of_another_host_cannot_write_to_the_terminal() -> None:
    data = rollout(failed={"h2": "bad\n\x1b[31m" + "x" * 1000})
    found = turns.parse_rollout(data, "/r").failed["h2"]
    assert found.startswith("bad [31mx")
    assert len(found) == text.REASON_LENGTH


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../x"}, "name: '../x' is not the name of a host"),
        ({"waves": []}, r"waves: \[\]: give numbers"),
        ({"waves": [0]}, r"waves: \[0\]: give numbers"),
        ({"waves": ["0%"]}, r"waves: \['0%'\]: give numbers"),
        ({"waves": [True]}, r"waves: \[True\]: give numbers"),
        ({"waves": "100%"}, "waves: '100%' is not of type"),
        ({"places": 0}, "places: 0: give 1 or more"),
        ({"places": "5"}, "places: '5' is not of type int"),
        ({"canary": "no"}, "canary: 'no' is not of type bool"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**dataclasses.asdict(config()), **changes}))
    with pytest.raises(text.PullError, match=message):
        config_module.read_config(str(file))


# A fleet of real runs.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_zookeeper(directory: Path) -> ZooKeeper:
    pytest.importorskip("kazoo")
    directory.mkdir(exist_ok=True)
    try:
        return ZooKeeper(directory, "127.0.0.1", free_port())
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeper]:
    server = start_zookeeper(tmp_path_factory.mktemp("zookeeper"))
    yield server
    server.end()


class Hosts:
    """Hosts of a fleet, each with its own directory; the playbook writes what it was told into a file of the host."""

    def __init__(self, directory: Path, zookeeper: ZooKeeper) -> None:
        self.directory = directory
        self.address = f"zk://{zookeeper.address}/{directory.name}"
        self.repository = directory / "repository"
        self.repository.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")
        self.played = directory / "ansible-playbook"
        self.played.write_text(PLAYED)
        self.played.chmod(0o755)
        self.program = self.played
        for name in NAMES:
            self.configure(name)

    def configure(self, name: str, **changes: Any) -> None:
        found = {
            "name": name,
            "zookeeper": self.address,
            "url": str(self.repository),
            "directory": str(self.directory / name),
            "program": str(self.program),
            "waves": [1, "50%", "100%"],
        }
        values = {**dataclasses.asdict(config()), **found, **changes}
        (self.directory / f"{name}.json").write_text(json.dumps(values))

    def with_ansible(self, *names: str) -> None:
        self.program = CHECKOUT / ".venv/bin/ansible-playbook"
        for name in names:
            self.configure(name)

    def commit(self, value: str, tasks: list[dict[str, Any]] | None = None) -> str:
        play = {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                *(tasks or []),
                {
                    "ansible.builtin.copy": {
                        "content": value,
                        "dest": f"{self.directory}/{{{{ inventory_hostname }}}}.out",
                    }
                },
            ],
        }
        (self.repository / "converge.yml").write_text(json.dumps([play]))
        variables = {"ansible_host": "192.0.2.1", "ansible_python_interpreter": sys.executable}
        inventory = {"all": {"hosts": dict.fromkeys(NAMES), "vars": variables}}
        (self.repository / "inventory.yml").write_text(json.dumps(inventory))
        (self.repository / "value").write_text(value)
        (self.repository / "target").write_text(str(self.directory))
        self._git("add", ".")
        self._git("commit", "--quiet", "--allow-empty", "--message", value)
        return self._git("rev-parse", "HEAD")

    def commit_held(self, value: str, *, hold: bool = True) -> tuple[str, Path]:
        """A change whose playbook makes a file, and waits until somebody has removed it."""
        started = self.directory / "started"
        if hold:
            (self.repository / "hold").write_text(str(started))
        else:
            (self.repository / "hold").unlink()
        return self.commit(value), started

    def write(self, name: str, data: bytes) -> None:
        """Write a node of the fleet, as whoever reaches ZooKeeper can."""
        from kazoo.client import KazooClient

        hosts, _, path = self.address.removeprefix("zk://").partition("/")
        client = KazooClient(hosts)
        client.start()
        client.ensure_path(f"/{path}/mesos-shim/pull/{name}")
        client.set(f"/{path}/mesos-shim/pull/{name}", data)
        client.stop()

    def go_back(self) -> None:
        self._git("reset", "--quiet", "--hard", "HEAD~1")

    def start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "mesos_shim_pull",
            "--config",
            str(self.directory / f"{name}.json"),
            *arguments,
        ]
        environment = {**os.environ, "PYTHONPATH": str(FILES), "ANSIBLE_HOME": str(self.directory / f"{name}.ansible")}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, name: str, *arguments: str) -> tuple[int, str]:
        """The exit status and the last line."""
        process = self.start(name, *arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, (out + err).strip().splitlines()[-1]

    def all(self, name: str, *arguments: str) -> str:
        """All that it prints."""
        return self.start(name, *arguments).communicate(timeout=60)[0]

    def values(self) -> dict[str, str]:
        return {name: file.read_text() for name in NAMES if (file := self.directory / f"{name}.out").exists()}

    def _git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
        command = ["git", "-C", str(self.repository), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def hosts(tmp_path: Path, zookeeper: ZooKeeper) -> Hosts:
    return Hosts(tmp_path, zookeeper)


def register(hosts: Hosts) -> None:
    """Have every host come by once, which counts it as one of the fleet."""
    hosts.commit("first")
    for name in NAMES:
        assert hosts.run(name)[0] == 0


def test_a_fleet_converges_canaries_first(hosts: Hosts) -> None:
    hosts.configure("h3", canary=True)
    first = hosts.commit("first")
    assert hosts.run("h3") == (0, f"h3: {first[:12]} is applied")
    for name in NAMES:
        assert hosts.run(name) == (0, f"{name}: {first[:12]} is applied")
    second = hosts.commit("second")
    assert hosts.run("h1") == (0, f"h1: {second[:12]} waits for the canaries: h3")
    assert set(hosts.values().values()) == {"first"}
    # The canary, then half a dozen at once: no host is left behind, and none comes before its wave.
    assert hosts.run("h3")[0] == 0
    assert hosts.values() == {**dict.fromkeys(NAMES, "first"), "h3": "second"}
    for _ in NAMES:
        running = [hosts.start(name) for name in NAMES]
        assert [process.communicate(timeout=120) and process.returncode for process in running] == [0] * len(NAMES)
        if set(hosts.values().values()) == {"second"}:
            break
    assert hosts.values() == dict.fromkeys(NAMES, "second")
    assert hosts.run("h1", "status") == (0, f"this host  {second}")


def test_a_bad_change_stops_after_the_canary(hosts: Hosts) -> None:
    hosts.with_ansible("h1")
    hosts.configure("h1", canary=True)
    register(hosts)
    bad = hosts.commit("bad", [{"ansible.builtin.fail": {"msg": "the agent is not healthy"}}])
    status, said = hosts.run("h1")
    assert status == 1
    assert said.startswith(f"h1: {bad[:12]} failed: ")
    assert "the agent is not healthy" in said
    for name in ("h1", "h2", "h3"):
        status, said = hosts.run(name)
        # One unit has failed in the monitoring, not that of every host.
        assert (status, f"{name}: {bad[:12]} stopped: it failed on 1 host(s), h1: " in said) == (
            int(name == "h1"),
            True,
        )
    assert "bad" not in hosts.values().values()
    # A commit on top of it begins anew.
    hosts.commit("good")
    assert hosts.run("h1")[0] == 0
    assert hosts.values()["h1"] == "good"


def test_a_host_that_was_killed_holds_the_fleet_and_finishes(hosts: Hosts) -> None:
    register(hosts)
    slow, started = hosts.commit_held("slow")
    killed = hosts.start("h1")
    wait_until(started.exists, "the playbook")
    killed.kill()
    killed.wait()
    assert hosts.run("h2") == (0, f"h2: {slow[:12]} waits for the end of wave 1: h1")
    started.unlink()
    again = hosts.start("h1")
    wait_until(started.exists, "the playbook")
    started.unlink()
    assert "finishes what it had begun" in again.communicate(timeout=60)[0]
    assert (again.returncode, hosts.values()["h1"]) == (0, "slow")


def test_a_host_that_is_gone_can_be_forgotten(hosts: Hosts) -> None:
    hosts.configure("h1", canary=True)
    register(hosts)
    second = hosts.commit("second")
    assert hosts.run("h2") == (0, f"h2: {second[:12]} waits for the canaries: h1")
    assert hosts.run("h3", "forget", "h1") == (0, "h1 is forgotten")
    assert hosts.run("h2") == (0, f"h2: {second[:12]} is applied")


def test_going_back_is_asked_for(hosts: Hosts) -> None:
    register(hosts)
    hosts.commit("second")
    assert hosts.run("h1")[0] == 0
    hosts.go_back()
    status, said = hosts.run("h1")
    assert status == 0
    assert "which this commit does not follow; retry begins it nevertheless" in said
    assert hosts.values()["h1"] == "second"
    assert hosts.run("h2", "retry")[0] == 0
    assert hosts.run("h1")[0] == 0
    assert hosts.values()["h1"] == "first"


def test_without_zookeeper_nothing_changes(hosts: Hosts) -> None:
    hosts.commit("first")
    hosts.configure("h1", zookeeper=f"zk://127.0.0.1:{free_port()}/x")
    status, said = hosts.run("h1")
    assert (status, "does not answer within 10 s; see whether it runs and this host reaches it" in said) == (2, True)
    assert hosts.values() == {}


def test_without_its_repository_nothing_changes(hosts: Hosts) -> None:
    hosts.configure("h1", url=str(hosts.directory / "nowhere"))
    status, said = hosts.run("h1")
    assert status == 2
    assert said.startswith("mesos-shim-pull: git fetch of 'main': ")
    assert hosts.values() == {}


def test_a_zookeeper_that_takes_the_call_and_says_nothing_is_not_waited_for(hosts: Hosts) -> None:
    hosts.commit("first")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts.configure("h1", zookeeper=f"zk://127.0.0.1:{silent.getsockname()[1]}")
        status, said = hosts.run("h1")
    assert (status, "does not answer within 10 s" in said) == (2, True)
    assert hosts.values() == {}


def test_a_host_whose_zookeeper_has_gone_meanwhile_keeps_its_place_and_tells_later(tmp_path: Path) -> None:
    server = start_zookeeper(tmp_path / "zookeeper")
    try:
        fleet = Hosts(tmp_path / "fleet", server)
        register(fleet)
        change, release = fleet.commit_held("slow")
        running = fleet.start("h1")
        wait_until(release.exists, "the playbook")
        server.end()
        release.unlink()
        out, err = running.communicate(timeout=60)
        assert (running.returncode, out.splitlines()[-1]) == (2, f"h1: {change[:12]} is applied")
        assert "does not answer within 10 s" in err
        server.start()
        assert fleet.run("h2") == (0, f"h2: {change[:12]} waits for the end of wave 1: h1")
        # It is told, and not applied again: the playbook would wait for ever.
        assert fleet.run("h1") == (0, f"h1: {change[:12]} is applied")
        assert not release.exists()
        _, release = fleet.commit_held("slow", hold=False)
        assert fleet.run("h2")[0] == 0
    finally:
        server.end()


def test_a_place_that_an_earlier_change_has_left_counts_until_its_host_comes_back(hosts: Hosts) -> None:
    for name in NAMES:
        hosts.configure(name, places=1, canary=name == "h2")
    register(hosts)
    _, release = hosts.commit_held("bad")
    killed = hosts.start("h2")
    wait_until(release.exists, "the playbook")
    killed.kill()
    killed.wait()
    mended, _ = hosts.commit_held("mended", hold=False)
    hosts.configure("h3", places=1, canary=True)
    assert hosts.run("h3") == (0, f"h3: {mended[:12]} waits: 1 of 1 places are taken, h2")
    assert "under way  h2" in hosts.all("h3", "status")
    # It gives the place back before it asks whose turn it is; as a canary it is its own.
    hosts.configure("h2", places=1)
    assert hosts.run("h2") == (0, f"h2: {mended[:12]} waits for the canaries: h3")
    assert hosts.run("h3") == (0, f"h3: {mended[:12]} is applied")
    assert hosts.run("h2") == (0, f"h2: {mended[:12]} is applied")


def test_a_host_that_was_installed_anew_applies_the_change_again(hosts: Hosts) -> None:
    register(hosts)
    (hosts.directory / "h4.out").unlink()
    shutil.rmtree(hosts.directory / "h4")
    assert hosts.run("h4")[0] == 0
    assert hosts.values()["h4"] == "first"


def test_a_playbook_that_takes_too_long_has_failed(hosts: Hosts) -> None:
    """Even if a process of it outlives it in a session of its own, as a worker of Ansible does."""
    register(hosts)
    hosts.played.write_text("#!/bin/sh\nsetsid sleep 50 &\nwait\n")
    hosts.configure("h1", seconds=1)
    slow = hosts.commit("slow")
    reason = "the playbook was killed after 1 s (mesos_pull_seconds)"
    assert hosts.run("h1") == (1, f"h1: {slow[:12]} failed: {reason}")
    assert hosts.run("h2") == (0, f"h2: {slow[:12]} stopped: it failed on 1 host(s), h1: {reason}")


@pytest.mark.parametrize("data", [b"junk", rollout(change="main"), rollout(open={"\x1b[31m": HEAD})])
def test_a_rollout_that_somebody_else_has_written_changes_nothing(hosts: Hosts, data: bytes) -> None:
    changes_nothing(hosts, "rollout", data, "/mesos-shim/pull/rollout in ZooKeeper holds no rollout")


def test_a_canary_that_is_no_host_changes_nothing(hosts: Hosts) -> None:
    changes_nothing(hosts, "canaries/\u202emoc", b"", "which is not a host; delete it")


def changes_nothing(hosts: Hosts, node: str, data: bytes, why: str) -> None:
    """With that in ZooKeeper a host applies no new commit, and says why in text."""
    register(hosts)
    hosts.commit("second")
    hosts.write(node, data)
    status, said = hosts.run("h1")
    assert (status, why in said) == (2, True)
    assert said.isprintable()
    assert set(hosts.values().values()) == {"first"}


def test_a_change_that_no_host_knows_holds_the_fleet(hosts: Hosts) -> None:
    """Whoever writes to ZooKeeper may stop a rollout, and cannot choose what is applied."""
    register(hosts)
    hosts.commit("second")
    hosts.write("rollout", rollout())
    assert hosts.run("h1")[1].endswith("the fleet is at aaaaaaaaaaaa, which this commit does not follow; "
                                       "retry begins it nevertheless")  # fmt: skip
    assert set(hosts.values().values()) == {"first"}


def test_after_a_failure_the_same_commit_begins_again_on_request(hosts: Hosts) -> None:
    register(hosts)
    hosts.played.write_text("#!/bin/sh\nexit 3\n")
    second = hosts.commit("second")
    assert hosts.run("h1") == (1, f"h1: {second[:12]} failed: {hosts.played} ended with status 3")
    assert hosts.run("h1", "status")[0] == 1
    hosts.played.write_text(PLAYED)
    assert hosts.run("h2", "retry") == (0, f"{second[:12]} begins again on hosts that have not applied it")
    assert hosts.run("h2") == (0, f"h2: {second[:12]} is applied")


def test_a_host_in_the_middle_is_not_forgotten_by_itself(hosts: Hosts) -> None:
    _, release = hosts.commit_held("slow")
    running = hosts.start("h1")
    wait_until(release.exists, "the playbook")
    assert hosts.run("h1", "forget", "h1")[1].endswith("another run is under way on this host")
    release.unlink()
    running.communicate(timeout=60)
    assert hosts.run("h1", "forget", "h1") == (0, "h1 is forgotten")


def test_only_who_has_the_password_can_write(hosts: Hosts) -> None:
    secret = hosts.address.replace("zk://", "zk://fleet:secret@")
    hosts.configure("h1", zookeeper=secret)
    first = hosts.commit("first")
    assert hosts.run("h1") == (0, f"h1: {first[:12]} is applied")
    status, said = hosts.run("h2")
    assert status == 2
    assert said.endswith("give every host the same USER:PASSWORD in mesos_pull_zookeeper")
    assert "secret" not in said
    hosts.configure("h2", zookeeper=secret)
    assert hosts.run("h2") == (0, f"h2: {first[:12]} is applied")


# The role refuses before it changes anything. Check mode, in case it does not.


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mesos_pull_waves": []}, "mesos_pull_waves is [], "),
        ({"mesos_pull_waves": ["fifty"]}, 'mesos_pull_waves is ["fifty"], '),
        ({"mesos_pull_places": 0}, "mesos_pull_places 0 "),
        ({"mesos_pull_seconds": -1}, "mesos_pull_seconds -1: give a list of numbers and percentages"),
        ({"mesos_pull_zookeeper": ""}, "mesos_pull_zookeeper: expected zk://"),
        ({"mesos_pull_python": "old"}, "the host has no Python from 3.11 on as mesos_pull_python; install that first"),
    ],
)
def test_the_role_refuses_in_one_line(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    if changed.get("mesos_pull_python"):
        old = next((Path.home() / ".pyenv/versions").glob("3.8.*/bin/python3.8"), None)
        if old is None:
            pytest.skip("no Python 3.8 in pyenv")
        changed = {"mesos_pull_python": str(old)}
    variables = {
        "mesos_pull_url": "/nowhere",
        "mesos_pull_zookeeper": "zk://localhost:2181",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        **changed,
    }
    role = {"hosts": "h1", "gather_facts": False, "roles": ["mesos.containerizer.mesos_pull"]}
    (tmp_path / "pull.yml").write_text(json.dumps([role]))
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"h1": {}}, "vars": variables}}))
    done = subprocess.run(
        [CHECKOUT / ".venv/bin/ansible-playbook", "--check", "-i", "inventory.yml", "pull.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".venv/collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert json.dumps(said)[1:-1] in done.stdout, done.stdout
    assert "changed=0" in done.stdout
