"""Hosts that pull: the role, its timer and the real agent on real hosts, which agree in a real ZooKeeper."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lib import commands
from tests.lib.agent import on_host as agents
from tests.lib.hosts import machines
from tests.lib.shim import CHECKOUT
from tests.lib.waiting import wait_until
from tests.lib.zookeeper import Unavailable, ZooKeeper

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(1800)]

NAMES = ("host-1", "host-2", "host-3")
CANARY = "host-2"
GATEWAY = "10.88.0.1"  # this machine, in the fleet's network
PROGRAM = "/opt/mesos-shim-pull/mesos-shim-pull"
UNIT = "mesos-shim-pull"
VARIABLES = {
    "mesos_agent_service": "mesos-slave",
    "mesos_agent_gate_timeout": 30,
    "mesos_agent_gate_ignore_flags": ["work_dir"],  # a local agent puts its state below it
    "mesos_agent_resources": {"cpus": "4", "mem": "4096", "disk": "1000"},
    "ansible_python_interpreter": "/usr/bin/python3",
}
FLAGS = {"isolation": "posix/cpu,posix/mem", "work_dir": "/var/lib/mesos"}


def wheels(packages: list[str]) -> Path:
    """The packages and what they need, from the index; downloaded once."""
    home = machines.cache() / ("wheels-" + re.sub(r"[^a-z0-9.]+", "-", " ".join(sorted(packages))))
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=home.parent, prefix=".wheels-"))
        # Those of bookworm's Python, whatever runs the tests.
        for_host = ["--only-binary=:all:", "--python-version=3.11", f"--dest={part}"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *for_host, *packages],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(part)
            pytest.skip(f"no wheels for the hosts: {done.stderr.strip().splitlines()[-1]}")
        part.chmod(0o755)
        part.rename(home)
    return home


class Pulling:
    """Three hosts, the repository of their fleet, and the controller that installs the role."""

    def __init__(self, fleet: machines.Fleet, directory: Path) -> None:
        self.fleet, self.directory = fleet, directory
        self.repository = directory / "fleet"
        self.agents = {host.name: agents.HostAgent(host) for host in fleet}
        self.install = ""  # the command that installs the role

    def prepare(self, repository: str, playbook: str, install: str) -> None:
        """Follow the page until every host has applied the first commit; the way to the hosts is the test's own."""
        packages = yaml.safe_load((CHECKOUT / "collection/roles/mesos_pull/defaults/main.yml").read_text())
        for host in self.fleet:
            shutil.copytree(wheels(packages["mesos_pull_packages"]), host.root / "srv/wheels")
        subprocess.run([CHECKOUT / ".ci/build-collection", self.directory], check=True, capture_output=True)
        self.write_inventory(self.directory / "inventory.yml")
        self.shell(repository)
        (self.directory / "pull.yml").write_text(playbook)
        variables = {**self.fleet.variables, "mesos_pull_places": 2, "mesos_pull_waves": [2, "100%"]}
        (self.directory / "group_vars").mkdir()
        (self.directory / "group_vars/all.yml").write_text(json.dumps(variables))
        self.shell(f"{install} --check --diff")
        assert not any((host.root / PROGRAM.lstrip("/")).exists() for host in self.fleet)
        assert "secret" not in self.shell(install)
        self.wait_applied(self.git("rev-parse", "HEAD"))
        self.install = install

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=True
        ).stdout.strip()

    def environment(self) -> dict[str, str]:
        identity = {f"GIT_{who}_{what}": "x@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        known = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        path = f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}"
        collections = {"ANSIBLE_COLLECTIONS_PATH": str(self.repository / "collections"), "ANSIBLE_NOCOLOR": "1"}
        return {**known, **identity, **collections, "PATH": path}

    def shell(self, text: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.directory,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, text + done.stdout[-6000:] + done.stderr[-3000:]
        return done.stdout

    def write_inventory(self, path: Path, **flags: str) -> None:
        everyone = {host.name: {} for host in self.fleet}
        groups = {
            "mesos_agents": {"hosts": everyone, "vars": {**VARIABLES, "mesos_agent_flags": {**FLAGS, **flags}}},
            "mesos_agents_canary": {"hosts": {CANARY: {}}},
        }
        path.write_text(json.dumps(groups))

    def commit(self, **flags: str) -> str:
        self.write_inventory(self.repository / "inventory.yml", **flags)
        self.git("commit", "--all", "--message", json.dumps(flags))
        return self.git("rev-parse", "HEAD")

    def applied(self) -> dict[str, str]:
        """What every host has applied last."""
        notes = {host.name: host.root / "var/lib/mesos-shim-pull/applied" for host in self.fleet}
        return {name: note.read_text().strip() if note.exists() else "" for name, note in notes.items()}

    def wait_applied(self, change: str) -> None:
        wait_until(lambda: set(self.applied().values()) == {change}, f"{change} everywhere", 600)

    def started(self) -> list[str]:
        """Tells one start of each agent from the next."""
        return [host.says("systemctl show -p MainPID --value mesos-slave") for host in self.fleet]

    def flag(self, flag: str) -> list[str]:
        """What the agents themselves say."""
        return [agent.get("/flags")["flags"].get(flag, "") for agent in self.agents.values()]

    def said(self, name: str) -> list[tuple[int, str]]:
        """(microseconds, line) of all that the unit of a host has printed."""
        lines = self.fleet[name].says(f"journalctl --no-pager -o json -u {UNIT}").splitlines()
        found = [json.loads(line) for line in lines]
        return [(int(line["__REALTIME_TIMESTAMP"]), str(line["MESSAGE"])) for line in found]

    def span(self, name: str, change: str) -> tuple[int, int]:
        """When a host has begun and ended to apply a change."""
        lines = [(when, line) for when, line in self.said(name) if line.startswith(f"{name}: {change[:12]} ")]
        begun = next(when for when, line in lines if "belongs to wave" in line or "is a canary" in line)
        return begun, next(when for when, line in lines if when > begun and line.endswith("is applied"))


@contextlib.contextmanager
def served(fleet: machines.Fleet, directory: Path) -> Iterator[Pulling]:
    """The hosts, and ZooKeeper and a git server that they reach."""
    inside = ("ip", "netns", "exec", f"msh-{fleet.name}")
    data = directory / "zookeeper"
    data.mkdir()
    try:
        zookeeper = ZooKeeper(data, GATEWAY, inside=inside)
    except Unavailable as reason:
        pytest.skip(str(reason))
    serve = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={directory}", f"--listen={GATEWAY}"]
    daemon = subprocess.Popen([*inside, *serve], stderr=subprocess.DEVNULL)
    yield Pulling(fleet, directory)
    for host in fleet:
        host.ssh(f"systemctl stop {UNIT}.timer {UNIT}.service", check=False)
    daemon.terminate()
    daemon.wait()
    zookeeper.end()


@pytest.fixture(scope="module")
def up(hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulling]:
    """Three hosts with an agent."""
    try:
        layer = agents.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    with hosts(len(NAMES), layer=layer) as fleet, served(fleet, tmp_path_factory.mktemp("pull")) as found:
        yield found


@pytest.fixture
def pulling(up: Pulling, following: commands.Following) -> Pulling:
    """The same, with the role as the page says, and the first commit applied; the tests go on from each other."""
    (repository,) = following("docs/operations.md", "test pull repository")
    (playbook,) = following("docs/operations.md", "test pull playbook")
    (controller,) = following("docs/operations.md", "test pull controller")
    texts = repository.use(), playbook.use(), controller.use().strip()
    if not up.install:
        up.prepare(*texts)
    return up


@pytest.mark.agent
def test_the_first_commit_is_applied_everywhere(pulling: Pulling, following: commands.Following) -> None:
    (look,) = following("docs/operations.md", "test pull host")
    first = pulling.git("rev-parse", "HEAD")
    said = pulling.fleet[CANARY].says(look.use())
    assert f"change     {first}\n" in said and f"{CANARY}: {first[:12]} is applied" in said
    assert pulling.flag("isolation") == [FLAGS["isolation"]] * len(NAMES)


@pytest.mark.agent
def test_a_good_change_is_applied_by_the_canary_and_then_by_the_others(pulling: Pulling) -> None:
    good = pulling.commit(gc_delay="2weeks")
    pulling.wait_applied(good)
    assert pulling.flag("gc_delay") == ["2weeks"] * len(NAMES)
    ended = pulling.span(CANARY, good)[1]
    assert [name for name in NAMES if name != CANARY and pulling.span(name, good)[0] < ended] == []
    # rollback.yml knows the change by its commit.
    assert pulling.fleet[CANARY].says(f"grep -rl {good} /opt/mesos-shim/generations")


@pytest.mark.agent
def test_a_bad_change_stops_at_the_canary_and_a_mended_one_goes_on(pulling: Pulling) -> None:
    before, applied = pulling.started(), pulling.applied()
    # Only the agent itself can find out that it has no such isolator.
    bad = pulling.commit(gc_delay="2weeks", isolation="posix/cpu,no/such")
    stopped = f"{bad[:12]} stopped: it failed on 1 host(s), {CANARY}: "

    def everybody_knows() -> bool:
        return all(any(stopped in line for _, line in pulling.said(name)) for name in NAMES)

    wait_until(everybody_knows, "the others have seen it", 600)
    status = pulling.fleet["host-1"].ssh(f"{PROGRAM} status", check=False)
    assert status.returncode == 1
    assert f"failed     {CANARY}: " in status.stdout and "no/such" in status.stdout, status.stdout
    assert pulling.flag("isolation") == [FLAGS["isolation"]] * len(NAMES)  # the canary has rolled back
    assert [a == b for a, b in zip(before, pulling.started())] == [name != CANARY for name in NAMES]
    assert pulling.applied() == applied

    mended = pulling.commit(gc_delay="3weeks")
    pulling.wait_applied(mended)
    assert pulling.flag("gc_delay") == ["3weeks"] * len(NAMES)


def test_the_role_comes_and_goes_on_a_host(hosts, following: commands.Following, tmp_path: Path) -> None:
    """With a playbook that does nothing."""
    found = following("docs/operations.md", "test pull repository", "test pull playbook", "test pull controller")
    blocks = [block.use() for block in found]
    with hosts(names={CANARY: "bookworm"}) as fleet, served(fleet, tmp_path) as pulling:
        host = fleet[CANARY]
        nothing = 'printf \'[{"hosts": "all", "gather_facts": false}]\' > nothing.yml\ngit add'
        repository, playbook, install = blocks
        install = f"{install.strip()} -e mesos_pull_playbook=nothing.yml"
        pulling.prepare(repository.replace("git add", nothing), playbook, install)
        assert re.findall(r"changed=(\d+)", pulling.shell(install)) == ["0"]

        # What lies in the directory that it is called from is not run as root.
        (host.root / "tmp/kazoo").mkdir()
        (host.root / "tmp/kazoo/__init__.py").write_text("open('/root/owned', 'w')\n")
        assert f"change     {pulling.git('rev-parse', 'HEAD')}" in host.says(f"cd /tmp && {PROGRAM} status")
        assert not (host.root / "root/owned").exists()

        absent = f"{install} -e mesos_pull_state=absent"
        pulling.shell(f"{absent} --check")
        assert (host.root / PROGRAM.lstrip("/")).exists()
        host.ssh(f"systemctl stop {UNIT}.timer && systemctl start {UNIT}.service")  # the last run; it would be refused
        pulling.shell(absent)
        there = "/opt/mesos-shim-pull /var/lib/mesos-shim-pull /etc/mesos-shim-pull*"
        assert host.says(f"ls -d {there} 2>&- | wc -l") == "0"
        assert (
            host.says(f"systemctl list-unit-files --no-legend '{UNIT}*' || :") == ""
        )  # systemd 248 fails where none is
        assert re.findall(r"changed=(\d+)", pulling.shell(absent)) == ["0"]
