"""Rollouts over real hosts with the real agent: what changes, what stops them, what they take back.

The fleet of this module stays up; every test starts from what the last one left, and leaves every agent well.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.agent import on_host as agents
from tests.lib.agent.tasks import WAIT_FOR_RELEASE
from tests.lib.collection import Playbook, clone_to, neutral_environment, summary
from tests.lib.hosts import machines
from tests.lib.shim import CHECKOUT
from tests.lib.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.agent, pytest.mark.timeout(300)]

NAMES = ("host-1", "host-2", "host-3")
BASE = {
    "mesos_agent_service": "mesos-slave",
    "mesos_agent_master_url": "http://127.0.0.1:5051",
    "mesos_agent_rollout_waves": [1, "100%"],
    "mesos_agent_gate_timeout": 30,
    "mesos_agent_gate_ignore_flags": ["work_dir"],  # a local agent puts its state below it
    "mesos_agent_flags": {"isolation": "posix/cpu,posix/mem", "work_dir": "/var/lib/mesos"},
    "mesos_agent_resources": {"cpus": "4", "mem": "4096", "disk": "1000"},
    "mesos_agent_default_container_info": {
        "type": "MESOS",
        "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}],
    },
}


def with_flags(**flags: object) -> dict[str, object]:
    return {**BASE, "mesos_agent_flags": {**BASE["mesos_agent_flags"], **flags}}


class AgentFleet:
    """Three hosts with an agent each, and the controller's checkout."""

    def __init__(self, machines_: machines.Fleet, checkout: Path, scratch: Path) -> None:
        self.machines, self.checkout, self.scratch, self.runs = machines_, checkout, scratch, 0
        self.current = BASE  # what the last rollout that went through was given
        self.agents = {host.name: agents.HostAgent(host) for host in machines_}

    def begin(self, playbook: str, *arguments: str, variables: dict[str, object]) -> subprocess.Popen[str]:
        self.runs += 1
        inventory = self.machines.inventory(self.scratch / f"hosts-{self.runs}.json", **variables)
        env = neutral_environment()
        command = [str(CHECKOUT / ".venv/bin/ansible-playbook"), f"playbooks/{playbook}.yml", "-i", str(inventory)]
        return subprocess.Popen(
            [*command, *arguments],
            cwd=self.checkout,
            env={**env, "ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, playbook: str, *arguments: str, variables: dict[str, object] | None = None) -> Played:
        variables = self.current if variables is None else variables
        process = self.begin(playbook, *arguments, variables=variables)
        out = process.communicate(timeout=200)[0]
        if playbook == "rollout" and process.returncode == 0 and "--check" not in arguments:
            self.current = variables
        return Played(subprocess.CompletedProcess([], process.returncode, out, ""))

    def state(self, name: str) -> dict[str, object]:
        """What the host's generations say: {"good", "pending", …}."""
        path = self.machines[name].root / "opt/mesos-shim/generations/state.json"
        return json.loads(path.read_text()) if path.exists() else {"good": None, "pending": None}

    def flag(self, name: str, flag: str) -> str | None:
        path = self.machines[name].root / "etc/mesos-slave" / flag
        return path.read_text().strip() if path.exists() else None

    def flags(self, flag: str) -> list[str | None]:
        return [self.flag(name, flag) for name in NAMES]

    def running(self, flag: str) -> list[str]:
        """What the agents themselves say."""
        return [agent.get("/flags")["flags"][flag] for agent in self.agents.values()]

    def goods(self) -> list[int]:
        """The hosts' good generations; nothing may be pending."""
        assert [self.state(name)["pending"] for name in NAMES] == [None] * 3
        return [self.state(name)["good"] for name in NAMES]

    def started(self, name: str) -> str:
        """Tells one start of the agent from the next."""
        return self.machines[name].says("systemctl show -p MainPID --value mesos-slave")


class Played(Playbook):
    def ended(self) -> dict[str, str]:
        """{host: state} of the summary."""
        return {name: state for name, (state, _) in summary(self.text, NAMES).items()}

    def line(self, name: str) -> str:
        """The summary's line that says what became of a host."""
        lines = self.text.splitlines()
        return next(line for line in lines if re.match(rf'\s*"(?:host-\d, )*{name}(?:, host-\d)*  ', line))


@pytest.fixture(scope="module")
def up(hosts, tmp_path_factory):
    try:
        layer = agents.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    scratch = tmp_path_factory.mktemp("rollout")
    with hosts(3, layer=layer) as found:
        yield AgentFleet(found, clone_to(scratch / "clone"), scratch)


@pytest.fixture
def fleet(up):
    """The fleet, installed."""
    if up.state("host-1")["good"] is None:
        done = up.play("rollout")
        assert done.code == 0, done.text
    return up


def transport_calls(text: str, host: str) -> int:
    return len(re.findall(rf"^<{host}> SSH: EXEC|^<{host}> PUT", text, re.MULTILINE))


def test_a_first_rollout_installs_and_a_second_changes_nothing(up):
    # As systemctl edit makes it; ours must come after it.
    override = "mkdir -p mesos-slave.service.d; printf '[Service]\\nKillMode=control-group\\n'"
    up.machines["host-2"].ssh(f"cd /etc/systemd/system; {override} > mesos-slave.service.d/override.conf")
    assert up.play("rollout", "--check").code == 0
    assert not (up.machines["host-1"].root / "opt/mesos-shim").exists()
    # Where no agent runs yet there is none that could be drained.
    first = up.play("rollout", "-vvv", variables={**BASE, "mesos_agent_drain": True})
    assert first.code == 0, first.text
    up.current = BASE
    assert set(first.ended().values()) == {"done"}
    ids = {name: agent.wait_registered() for name, agent in up.agents.items()}
    for name in NAMES:
        assert transport_calls(first.text, name) <= 30
        assert up.state(name)["good"] == 1 and up.state(name)["pending"] is None
        unit = up.machines[name].says(
            "systemctl show -p KillMode -p Delegate -p PrivateTmp -p UnitFileState mesos-slave"
        )
        assert set(unit.split()) == {"KillMode=process", "Delegate=yes", "PrivateTmp=no", "UnitFileState=enabled"}
    started = {name: up.started(name) for name in NAMES}
    for arguments in (("-vvv",), ("-vvv", "--check")):
        again = up.play("rollout", *arguments)
        assert again.code == 0 and again.ended() == dict.fromkeys(NAMES, "unchanged"), again.text
        for name in NAMES:
            assert transport_calls(again.text, name) <= 3
    assert {name: up.started(name) for name in NAMES} == started
    assert {name: agent.wait_registered() for name, agent in up.agents.items()} == ids
    verified = up.play("verify")
    assert verified.code == 0, verified.text


def test_a_good_change_goes_everywhere_while_executors_run(fleet):
    tasks = {name: agent.launch(f"touch /tmp/mine ready; {WAIT_FOR_RELEASE}") for name, agent in fleet.agents.items()}
    for task in tasks.values():
        task.wait_file("ready")
        task.wait_state("TASK_RUNNING")
    ids = {name: agent.wait_registered() for name, agent in fleet.agents.items()}
    started = {name: fleet.started(name) for name in NAMES}
    done = fleet.play("rollout", variables={**with_flags(gc_delay="48hrs"), "mesos_agent_rollout_bake": 1})
    assert done.code == 0 and done.ended() == dict.fromkeys(NAMES, "done"), done.text
    assert "gc_delay, restarted" in done.line("host-2")
    # Between the two waves the gate is asked again, before the first is confirmed.
    gate, bake, confirm = "Wait until the agent is healthy", "Wait for the bake time", "Confirm the generation"
    asked = re.findall(rf"^TASK \[\S+ : ({gate}|{bake}|{confirm})\]", done.text, re.MULTILINE)
    assert asked == [gate, bake, gate, confirm, gate, confirm], done.text
    for name, agent in fleet.agents.items():
        assert agent.wait_registered() == ids[name]
        assert fleet.started(name) != started[name]
        assert agent.get("/flags")["flags"]["gc_delay"] == "2days"
        (tasks[name].sandbox / "go").touch()
        assert tasks[name].wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FINISHED"


def test_a_bad_change_stops_at_the_canary_which_is_taken_back(fleet):
    before, started = fleet.goods(), {name: fleet.started(name) for name in NAMES}
    identity = fleet.agents["host-1"].wait_registered()
    # Well formed, known, compatible: only the agent itself knows that it has no such isolator.
    bad = {**with_flags(isolation="posix/cpu,no/such"), "mesos_agent_gate_timeout": 120}
    done = fleet.play("rollout", variables=bad)
    assert done.code != 0
    assert done.ended() == {"host-1": "failed", "host-2": "not started", "host-3": "not started"}, done.text
    assert "rolled back to generation" in done.line("host-1") and "stopped by host-1" in done.line("host-3")
    assert "not well" not in done.line("host-1")
    # In the agent's words, and long before the gate would give up.
    assert re.search(r"mesos-slave\.service has ended.*Unknown or unsupported isolator 'no/such'", done.line("host-1"))
    assert float(re.search(r" ([\d.]+) s:", done.line("host-1"))[1]) < 100
    assert fleet.agents["host-1"].wait_registered() == identity
    assert fleet.flags("isolation") == ["posix/cpu,posix/mem"] * 3
    assert fleet.goods() == before
    assert [fleet.started(name) for name in NAMES[1:]] == [started[name] for name in NAMES[1:]]


ENTRY = '"""Run the helper; its exit status, where it comes back at all."""\n'
BY_AGENT = 'b"MESOS_CONTAINERIZER_LAUNCH_INFO" in posix.environ'
BY_EXECUTOR = 'any(word.startswith("--launch_info=") for word in arguments)'
# A copy of the release is played before it is activated: as if only the real agent of this host found it out.
ACTIVATED = 'config_path.startswith("/etc/")'


@contextlib.contextmanager
def broken(fleet: AgentFleet, condition: str) -> Iterator[None]:
    """The checkout's helper refuses the calls for which a condition holds."""
    source = fleet.checkout / "shim/mesos_shim/agent/helper.py"
    good = source.read_text()
    assert ENTRY in good
    source.write_text(good.replace(ENTRY, f'{ENTRY}    if {condition}:\n        raise SystemExit("on purpose")\n'))
    try:
        yield
    finally:
        source.write_text(good)


def releases(fleet: AgentFleet) -> dict[str, str]:
    return {name: os.readlink(fleet.machines[name].root / "opt/mesos-shim/current") for name in NAMES}


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (BY_AGENT, r"a launch through the agent( ended at once, 3 times)?: "),
        (
            BY_EXECUTOR,
            r"a launch through the agent: mesos-executor's call \(Mesos 1.2 and later\) ended with 1 .* purpose",
        ),
        (f"{BY_EXECUTOR} and posix.geteuid()", r"a launch through the agent for nobody: mesos-executor's call "),
    ],
    ids=["agent", "mesos-executor", "mesos-executor of an ordinary user"],
)
def test_a_release_that_fails_a_caller_stops_at_the_canary_which_is_taken_back(fleet, condition, says):
    """It serves all callers as they are played, and plans a launch; only a real launch shows it."""
    current, before = releases(fleet), fleet.goods()
    with broken(fleet, f"{ACTIVATED} and {condition}"):
        done = fleet.play("rollout")
    assert done.ended() == {"host-1": "failed", "host-2": "not started", "host-3": "not started"}, done.text
    assert re.search(says, done.line("host-1")) and "rolled back" in done.line("host-1"), done.line("host-1")
    assert releases(fleet) == current and fleet.goods() == before
    assert fleet.agents["host-1"].wait_registered()


def test_a_release_that_refuses_a_caller_of_the_hosts_version_is_activated_nowhere(fleet):
    """Each host has a Mesos of another version installed, which its next start would bring."""
    current, before = releases(fleet), fleet.goods()
    said = {"host-1": "0.21.2", "host-2": "0.28.3", "host-3": "1.1.0"}
    agents_calls = {"host-1": "0.21 to 0.22", "host-2": "0.28", "host-3": "1.1"}
    program = "/usr/sbin/mesos-slave"
    try:
        for name, version in said.items():
            text = f"#!/bin/sh\n[ $1 = --version ] && echo mesos {version}\n"
            fleet.machines[name].ssh(f"cat > {program} && chmod 755 {program}", input=text)
        with broken(fleet, 'any(word.startswith("--pipe_read=") for word in arguments)'):
            done = fleet.play("rollout")
    finally:
        for name in NAMES:
            fleet.machines[name].ssh(f"rm -f {program}")
    assert done.ended() == dict.fromkeys(NAMES, "refused"), done.text
    for name, versions in agents_calls.items():
        assert f"by the agent's call (Mesos {versions}) ended with 1" in done.line(name), done.line(name)
        assert "is not known" not in done.line(name)
    assert releases(fleet) == current and fleet.goods() == before


def test_what_is_refused_on_one_host_changes_nothing_on_any(fleet):
    trees = {name: tree(fleet.machines[name].root, "etc", "opt/mesos-shim") for name in NAMES}
    done = fleet.play("rollout", variables={**BASE, "mesos_agent_attributes": {"rack": "r1"}})
    assert done.code != 0 and done.ended() == dict.fromkeys(NAMES, "refused"), done.text
    assert "attributes (part of the agent's identity)" in done.line("host-3")
    assert {name: tree(fleet.machines[name].root, "etc", "opt/mesos-shim") for name in NAMES} == trees

    fleet.machines["host-3"].ssh("echo 'MASTER=zk://h/m' >> /etc/default/mesos-slave")
    try:
        done = fleet.play("rollout", variables=with_flags(master="local"))
    finally:
        fleet.machines["host-3"].ssh("sed -i /MASTER/d /etc/default/mesos-slave")
    assert done.ended() == {"host-1": "not started", "host-2": "not started", "host-3": "refused"}, done.text
    assert "/etc/default/mesos-slave sets MASTER" in done.line("host-3")

    fleet.machines["host-2"].reachable(False)
    try:
        done = fleet.play("rollout", variables=with_flags(gc_delay="4days"))
    finally:
        fleet.machines["host-2"].reachable(True)
    assert done.ended() == {"host-1": "not started", "host-2": "unreachable", "host-3": "not started"}, done.text
    assert done.code != 0 and "unreachable" in done.line("host-2")
    assert {name: tree(fleet.machines[name].root, "etc", "opt/mesos-shim") for name in NAMES} == trees


def test_an_unreachable_host_in_the_first_wave_stops_the_second(fleet):
    host, before = fleet.machines["host-1"], fleet.flags("gc_delay")
    process = fleet.begin("rollout", variables=with_flags(gc_delay="3days"))
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if line.startswith("PLAY [Activate in waves"):
                host.reachable(False)
                break
        begin = time.monotonic()
        said.append(process.communicate(timeout=200)[0])
    finally:
        host.reachable(True)
    # Its connection is open, so it is noticed by what nobody answers: 20 s, and 10 for the way back.
    assert time.monotonic() - begin < 90
    done = Played(subprocess.CompletedProcess([], process.returncode, "".join(said), ""))
    assert done.code != 0
    assert done.ended() == {"host-1": "failed", "host-2": "not started", "host-3": "not started"}, done.text
    assert "unreachable" in done.line("host-1")
    assert fleet.flags("gc_delay")[1:] == before[1:]
    again = fleet.play("rollout", variables=with_flags(gc_delay="3days"))
    assert again.code == 0, again.text
    assert fleet.goods() and fleet.running("gc_delay") == ["3days"] * 3


def kill_in_the_middle(fleet: AgentFleet, variables: dict[str, object]) -> None:
    """A rollout whose controller dies once the canary has been switched, before it was found good."""
    process = fleet.begin("rollout", variables=variables)
    wait_until(lambda: fleet.state("host-1")["pending"], "a pending generation on host-1")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert fleet.state("host-1")["pending"]


def test_two_rollouts_at_once_are_one_rollout_and_one_refusal(fleet):
    before, both = fleet.goods(), [with_flags(gc_delay=delay) for delay in ("22days", "23days")]
    processes = [fleet.begin("rollout", variables=variables) for variables in both]
    ended = []
    for process in processes:
        out = process.communicate(timeout=250)[0]
        ended.append(Played(subprocess.CompletedProcess([], process.returncode, out, "")))
    texts = "\n".join(done.text for done in ended)
    assert [done.code == 0 for done in ended].count(True) == 1, texts
    winner = 0 if ended[0].code == 0 else 1
    assert ended[winner].ended() == dict.fromkeys(NAMES, "done"), texts
    refused = ended[1 - winner]
    assert refused.code != 0 and "refused" in refused.ended().values(), texts
    assert set(refused.ended().values()) <= {"refused", "not started"} and "claimed by the run " in refused.text, texts
    fleet.current = both[winner]
    assert fleet.running("gc_delay") == [both[winner]["mesos_agent_flags"]["gc_delay"]] * 3
    assert fleet.goods() == [number + 1 for number in before]
    assert not [
        name for name in NAMES if (fleet.machines[name].root / "opt/mesos-shim/generations/claim.json").exists()
    ]


def test_a_rollout_goes_on_after_its_controller_was_killed(fleet):
    before, flags, wanted = fleet.goods(), fleet.flags("gc_delay"), with_flags(gc_delay="5days")
    kill_in_the_middle(fleet, wanted)
    assert fleet.state("host-1")["good"] == before[0] and fleet.flags("gc_delay")[1:] == flags[1:]
    drift = fleet.play("verify", variables=wanted)
    assert drift.code != 0 and "an unfinished switch" in drift.text, drift.text
    done = fleet.play("rollout", variables=wanted)
    assert done.code == 0 and done.ended() == dict.fromkeys(NAMES, "done"), done.text
    assert fleet.running("gc_delay") == ["5days"] * 3
    assert all(now > then for now, then in zip(fleet.goods(), before))


def test_a_killed_rollout_can_be_taken_back_instead(fleet):
    before, running = fleet.goods(), fleet.running("gc_delay")
    kill_in_the_middle(fleet, with_flags(gc_delay="6days"))
    done = fleet.play("rollback", "--limit", "host-1")
    assert done.code == 0 and done.ended() == {"host-1": "done"}, done.text
    assert fleet.goods() == before and fleet.running("gc_delay") == running


def test_rollback_takes_every_host_back_by_one_generation(fleet):
    before, running, current = fleet.goods(), fleet.running("gc_delay"), fleet.current
    config = {**with_flags(gc_delay="11days"), "mesos_shim_config": {"framework_volumes": "none"}}
    assert fleet.play("rollout", variables=config).code == 0
    written = fleet.machines["host-2"].root / "etc/mesos-shim/config.json"
    assert json.loads(written.read_text())["framework_volumes"] == "none"
    foreseen = fleet.play("rollback", "--check")
    assert foreseen.code == 0 and foreseen.ended() == dict.fromkeys(NAMES, "would change"), foreseen.text
    assert fleet.running("gc_delay") == ["11days"] * 3
    done = fleet.play("rollback")
    fleet.current = current
    assert done.code == 0 and done.ended() == dict.fromkeys(NAMES, "done"), done.text
    assert "framework_volumes" not in json.loads(written.read_text())
    assert fleet.goods() == before and fleet.running("gc_delay") == running


def test_a_rollback_goes_on_after_its_controller_was_killed(fleet):
    """Hosts that are back already are not taken one generation further."""
    before, running, current = fleet.goods(), fleet.running("gc_delay"), fleet.current
    assert fleet.play("rollout", variables=with_flags(gc_delay="15days")).code == 0
    process = fleet.begin("rollback", variables=fleet.current)
    wait_until(lambda: fleet.state("host-1")["good"] == before[0], "host-1 taken back")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: fleet.state("host-1")["pending"] is None, "the end of what was begun on host-1")
    done = fleet.play("rollback")
    assert done.code == 0 and done.ended() == {"host-1": "unchanged", "host-2": "done", "host-3": "done"}, done.text
    assert "it is back from generation" in done.line("host-1")
    assert "name a generation in mesos_agent_rollback_generation" in done.line("host-1")
    fleet.current = current
    assert fleet.goods() == before and fleet.running("gc_delay") == running


def test_verify_names_what_differs_and_changes_nothing(fleet):
    host, other = fleet.machines["host-2"], fleet.machines["host-3"]
    (running,) = {*fleet.running("gc_delay")}
    host.ssh(
        "touch /etc/mesos-slave/isolation.rpmnew;"
        "echo '{}' > /etc/mesos-shim/config.json; chmod 666 /etc/mesos-shim/config.json; cd /opt/mesos-shim/current;"
        "rm bin/mesos-containerizer; echo junk > lib/mesos-shim.bundle; chmod 700 bin/mesos-shim;"
        "rm /etc/systemd/system/mesos-slave.service.d/zzz-mesos-shim.conf"
    )
    # By itself: an agent that runs with other flags is not asked to launch anything.
    other.ssh("echo 9days > /etc/mesos-slave/gc_delay")
    before = [tree(machine.root, "etc", "opt/mesos-shim") for machine in (host, other)]
    done = fleet.play("verify")
    said = done.text[done.text.index("fatal: [host-2]") :]
    for what in ("unmanaged file isolation.rpmnew", "drop-in of the unit"):
        assert what in said
    assert "configuration: default_container_info" in said and "config.json can be written by others" in said
    for what in ("containerizer is missing", "shim.bundle is another one", "mesos-shim has mode 0700, not 0755"):
        assert what in said
    assert "a launch through the agent" in said  # by the probe
    # The agent was not restarted since: what runs is not what the directory says.
    said = done.text[done.text.index("fatal: [host-3]") :]
    assert f"flag gc_delay is {running}, wanted 9days" in said
    assert "fatal: [host-1]" not in done.text and done.code != 0
    assert [tree(machine.root, "etc", "opt/mesos-shim") for machine in (host, other)] == before
    assert fleet.play("rollout").code == 0
    assert fleet.play("verify").code == 0


def test_a_restart_that_would_end_executors_is_refused_before_it(fleet):
    """Without the drop-in the older packages' unit ends them with the agent; another's that comes later does too."""
    before, started = fleet.goods(), fleet.started("host-1")
    task = fleet.agents["host-1"].launch(f"touch ready; {WAIT_FOR_RELEASE}")
    task.wait_file("ready")
    task.wait_state("TASK_RUNNING")
    done = fleet.play("rollout", variables={**fleet.current, "mesos_agent_drop_in": False})
    assert done.ended() == {"host-1": "failed", "host-2": "not started", "host-3": "not started"}, done.text
    assert "KillMode=control-group, so a restart of the agent ends its executors" in done.line("host-1")
    late = "/etc/systemd/system/mesos-slave.service.d/zzzz.conf"
    fleet.machines["host-1"].ssh(f"printf '[Service]\\nKillMode=control-group\\n' > {late}; systemctl daemon-reload")
    done = fleet.play("rollout", variables=with_flags(gc_delay="20days"))
    assert done.ended() == {"host-1": "refused", "host-2": "not started", "host-3": "not started"}, done.text
    assert f"{late} sets KillMode=control-group and comes after the drop-in" in done.line("host-1")
    fleet.machines["host-1"].ssh(f"rm {late}; systemctl daemon-reload")
    assert fleet.goods() == before and fleet.started("host-1") == started
    (task.sandbox / "go").touch()
    assert task.wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FINISHED"
    unit = fleet.machines["host-1"].says("systemctl show -p KillMode --value mesos-slave")
    assert unit == "process"


def test_a_host_is_drained_before_its_agent_is_restarted(fleet):
    agent = fleet.agents["host-3"]
    drained = {**with_flags(gc_delay="10days"), "mesos_agent_drain": True, "mesos_agent_drain_timeout": 2}
    task = agent.launch(f"touch ready; {WAIT_FOR_RELEASE}")
    task.wait_file("ready")
    before, started = fleet.goods(), fleet.started("host-3")
    done = fleet.play("rollout", "--limit", "host-3", variables=drained)
    assert done.ended() == {"host-3": "failed"}, done.text
    assert f"after 2 seconds these containers still run: {task.sandbox.name}" in done.line("host-3")
    assert fleet.goods() == before and fleet.started("host-3") == started
    assert agent.get("/master/maintenance/schedule") == {}
    done = fleet.play(
        "rollout", "--limit", "host-3", variables={**drained, "mesos_agent_master_url": "http://127.0.0.1:9"}
    )
    assert "mesos_agent_master_url: http://127.0.0.1:9/master/maintenance/schedule: " in done.line("host-3"), done.text
    assert fleet.goods() == before and fleet.started("host-3") == started
    (task.sandbox / "go").touch()
    task.wait_state("TASK_FINISHED")
    done = fleet.play("rollout", "--limit", "host-3", variables=drained)
    assert done.code == 0 and done.ended() == {"host-3": "done"}, done.text
    assert agent.get("/flags")["flags"]["gc_delay"] == "10days"
    assert agent.get("/master/maintenance/schedule") == {}
    assert "Ask the frameworks to leave this host] ***\nchanged: [host-3]" in done.text


def test_a_rollout_that_was_killed_leaves_no_host_in_maintenance_after_the_next(fleet):
    """Killed while it waits for the containers, and once more between the switch and the gate."""
    agent = fleet.agents["host-3"]

    def schedule():
        return agent.get("/master/maintenance/schedule")

    def kill_once(happened, what):
        process = fleet.begin("rollout", "--limit", "host-3", variables=drained)
        wait_until(happened, what)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert schedule() != {}
        drift = fleet.play("verify", "--limit", "host-3", variables=drained)
        assert drift.code != 0 and "in maintenance because a rollout was stopped" in drift.text, drift.text

    def finish():
        done = fleet.play("rollout", "--limit", "host-3", variables=drained)
        assert done.code == 0 and done.ended() == {"host-3": "done"}, done.text

    drained = {**with_flags(gc_delay="12days"), "mesos_agent_drain": True, "mesos_agent_drain_timeout": 100}
    task = agent.launch(f"touch ready; {WAIT_FOR_RELEASE}")
    task.wait_file("ready")
    kill_once(schedule, "the host in the schedule")
    (task.sandbox / "go").touch()
    task.wait_state("TASK_FINISHED")
    finish()
    assert schedule() == {} and agent.get("/flags")["flags"]["gc_delay"] == "12days"

    drained["mesos_agent_flags"] = {**drained["mesos_agent_flags"], "gc_delay": "13days"}
    kill_once(lambda: fleet.state("host-3")["pending"], "a pending generation on host-3")
    (window,) = schedule()["windows"]
    finish()
    assert schedule() == {} and agent.get("/flags")["flags"]["gc_delay"] == "13days"

    # What an operator has scheduled stays.
    window["unavailability"]["start"]["nanoseconds"] += 1
    post(fleet.machines["host-3"], "/master/maintenance/schedule", {"windows": [window]})
    drained["mesos_agent_flags"] = {**drained["mesos_agent_flags"], "gc_delay": "14days"}
    finish()
    assert schedule()["windows"] == [window]
    post(fleet.machines["host-3"], "/master/maintenance/schedule", {})


def post(host, path, data):
    ask = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], data=sys.argv[2].encode()), timeout=10)"
    host.ssh(f"python3 -Ic '{ask}' 'http://127.0.0.1:5051{path}' '{json.dumps(data)}'")


def test_usage_of_the_fleet(fleet):
    task = fleet.agents["host-3"].launch(f"touch ready; {WAIT_FOR_RELEASE}")
    task.wait_file("ready")
    done = fleet.play("usage")
    (task.sandbox / "go").touch()
    assert done.code == 0 and f'"{task.sandbox.name}  enforced  ' in done.text, done.text
    assert done.text.count('"no container"') == 2 and "changed=1" not in done.text


def tree(root: Path, *tops: str) -> dict[str, tuple[object, ...]]:
    """{path: (mode, owner, group, content or target)} of all that lies below."""
    found = {}
    for top in tops:
        for directory, names, files in os.walk(root / top):
            for name in ["", *names, *files]:
                path = Path(directory, name)
                status = path.lstat()
                content = os.readlink(path) if path.is_symlink() else b""
                if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20:
                    content = path.read_bytes()
                found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def test_uninstall_leaves_the_host_as_it_was(hosts, up):
    """One host had an agent that ran by hand-made flags, one had flags and litter and no running agent.

    The first one's unit ends executors with the agent; one that runs there outlives the uninstallation.
    """
    with hosts(2, layer=agents.layer()) as machines_:
        fleet = AgentFleet(machines_, up.checkout, up.scratch)
        running, stopped = machines_
        resources = "mkdir -p /etc/mesos-slave/resources; cd /etc/mesos-slave/resources;"
        resources += "echo 4 > cpus; echo 4096 > mem; echo 1000 > disk; cd ..;"
        running.ssh(
            f"{resources} echo /var/lib/mesos > work_dir; echo posix/cpu,posix/mem > isolation; echo 2days > gc_delay;"
            "systemctl enable --now mesos-slave 2>&1"
        )
        first = fleet.agents["host-1"].wait_registered()
        stopped.ssh(
            f"{resources} echo /var/lib/mesos > work_dir; echo x > isolation.rpmnew; ln -s isolation link;"
            "touch .hidden; chmod 640 .hidden; chown 1000:100 .hidden; mkdir old; echo y > old/z;"
            "chmod 2750 /etc/mesos-slave"
        )
        tops = ("etc", "opt", "usr/libexec", "usr/bin", "usr/local")
        before = {host.name: tree(host.root, *tops) for host in machines_}
        done = fleet.play("rollout")
        assert done.code == 0, done.text
        assert fleet.agents["host-1"].wait_registered()
        assert tree(running.root, *tops) != before["host-1"]
        task = fleet.agents["host-2"].launch(f"touch ready; {WAIT_FOR_RELEASE}")
        task.wait_file("ready")
        stays = fleet.agents["host-1"].launch(f"touch ready; {WAIT_FOR_RELEASE}")
        stays.wait_file("ready")
        stays.wait_state("TASK_RUNNING")
        refused = fleet.play("uninstall")
        assert refused.code != 0 and "1 containers that the shim started still run" in refused.text, refused.text
        assert (running.root / "opt/mesos-shim/current").exists()  # every host is looked at before any is changed
        (task.sandbox / "go").touch()
        task.wait_state("TASK_FINISHED", "TASK_FAILED")
        gone = fleet.play("uninstall", variables={**fleet.current, "mesos_agent_uninstall_force": True})
        assert gone.code == 0, gone.text
        for host in machines_:
            after = tree(host.root, *tops)
            assert {p: v for p, v in after.items() if before[host.name].get(p) != v} == {}
            assert set(before[host.name]) == set(after)
        assert fleet.agents["host-1"].wait_registered() == first
        assert fleet.agents["host-1"].get("/flags")["flags"]["gc_delay"] == "2days"
        assert running.says("systemctl show -p KillMode --value mesos-slave") == "control-group"
        (stays.sandbox / "go").touch()
        assert stays.wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FINISHED"
        assert not (stopped.root / "run/mesos-shim").exists()
        assert stopped.says("systemctl is-active mesos-slave || true") in ("inactive", "failed")
        again = fleet.play("uninstall")
        assert again.code == 0 and "changed=0" in again.text
