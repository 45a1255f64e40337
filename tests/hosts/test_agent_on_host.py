"""The real agent as a service of a host: what a rollout restarts and waits for is the real thing."""

from __future__ import annotations

import os

import pytest

from tests.lib.agent import on_host as agents
from tests.lib.agent.tasks import WAIT_FOR_RELEASE
from tests.lib.collection import play
from tests.lib.hosts import machines
from tests.lib.waiting import wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.agent]

VARIABLES = {
    "mesos_agent_service": "mesos-slave",
    "mesos_agent_gate_ignore_flags": ["work_dir"],  # a local agent puts its state below it
    "mesos_agent_flags": {"isolation": "posix/cpu,posix/mem", "work_dir": "/var/lib/mesos", "strict": False},
    # Named, for what an agent detects by itself changes with the machine.
    "mesos_agent_resources": {"cpus": "4", "mem": "4096", "disk": "1000"},
    "mesos_agent_default_container_info": {
        "type": "MESOS",
        "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}],
    },
}
# Keeps a task until the test lets it go on, in any case until the test's own patience has ended.


@pytest.fixture(scope="module")
def site(clone, tmp_path_factory):
    """site(fleet, **changed): runs the site play, or another one, with the variables, some of them changed."""

    def run(fleet, playbook="site", **changed):
        inventory = fleet.inventory(tmp_path_factory.mktemp("site") / "hosts.json", **{**VARIABLES, **changed})
        return play(playbook, "-i", str(inventory), cwd=clone)

    return run


@pytest.fixture(scope="module")
def agent(hosts, site):
    """The agent of a host that the site play has provisioned."""
    try:
        layer = agents.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    with hosts(1, layer=layer) as fleet:
        done = site(fleet)
        assert done.code == 0, done.text
        yield agents.HostAgent(fleet["host-1"])


def drop_in(host: machines.Host, text: str) -> None:
    host.ssh(
        f"mkdir -p /etc/systemd/system/{agents.UNIT}.d && cat > /etc/systemd/system/{agents.UNIT}.d/zzzz-test.conf"
        " && systemctl daemon-reload && systemctl restart mesos-slave",
        input=text,
    )


def test_what_ended_containers_left_goes_before_the_agent_starts(agent):
    agent.host.ssh("systemctl stop mesos-shim-gc.timer")  # it would do the same
    agent.host.ssh("/opt/mesos-shim/bin/mesos-shim run --container-id ended -- true")
    assert "ended.json" in agent.host.says("ls /run/mesos-shim/containers")
    agent.host.ssh("systemctl restart mesos-slave && systemctl start mesos-shim-gc.timer")
    assert "ended.json" not in agent.host.says("ls /run/mesos-shim/containers")
    agent.wait_registered()


def test_a_restarted_agent_keeps_its_id_and_its_executors(agent):
    drop_in(agent.host, "[Service]\nKillMode=process\nDelegate=yes\n")
    first = agent.wait_registered()
    assert agent.get("/health") is not None
    assert agent.get("/flags")["flags"]["isolation"] == "posix/cpu,posix/mem"
    task = agent.launch(f"ls -A /tmp > seen; touch /tmp/mine; echo $$ > pid; touch ready; {WAIT_FOR_RELEASE}; exit 0")
    assert task.wait_state("TASK_RUNNING")
    task.wait_file("ready")
    assert (task.sandbox / "seen").read_text() == ""
    assert (task.sandbox / "tmp/mine").exists() and not (agent.host.root / "tmp/mine").exists()

    agent.host.ssh("echo 20secs > /etc/mesos-slave/executor_shutdown_grace_period; systemctl restart mesos-slave")
    assert agent.wait_registered() == first
    assert agent.get("/flags")["flags"]["executor_shutdown_grace_period"] == "20secs"
    assert agent.host.ssh(f"kill -0 {(task.sandbox / 'pid').read_text()}").returncode == 0
    (task.sandbox / "go").touch()
    assert task.wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FINISHED"
    # A master that saw the framework again takes its tasks as before.
    assert agent.launch("true").wait_state("TASK_FINISHED", "TASK_FAILED") == "TASK_FINISHED"


def test_a_unit_that_kills_its_group_ends_the_executors(agent):
    drop_in(agent.host, "[Service]\nKillMode=control-group\n")
    first = agent.wait_registered()
    task = agent.launch(f"touch ready; {WAIT_FOR_RELEASE}")
    task.wait_file("ready")
    task.wait_state("TASK_RUNNING")
    agent.host.ssh("systemctl restart mesos-slave")
    assert agent.wait_registered() == first
    assert task.wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FAILED"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("RestrictNamespaces=pid net", "the unit mesos-slave.service has RestrictNamespaces=net pid: each container"),
        # Of this one only a launch can tell.
        (
            "SystemCallFilter=~open_tree move_mount",
            "under the settings of the unit mesos-slave.service (SystemCallFilter)",
        ),
    ],
)
def test_a_unit_in_which_no_launch_succeeds_is_refused_before_its_agent_is_touched(agent, site, setting, says):
    drop_in(agent.host, f"[Service]\n{setting}\n")
    agent.wait_registered()
    started = agent.host.says("systemctl show -p MainPID --value mesos-slave")
    before = agent.host.says("readlink /opt/mesos-shim/current; cat /etc/mesos-shim/config.json; ls /etc/mesos-slave")
    done = site(agent.host.fleet, mesos_shim_config={"hide_work_dir": True})
    assert done.code != 0 and says in done.text, done.text
    assert agent.host.says("systemctl show -p MainPID --value mesos-slave") == started
    same = "readlink /opt/mesos-shim/current; cat /etc/mesos-shim/config.json; ls /etc/mesos-slave"
    assert agent.host.says(same) == before
    drop_in(agent.host, "")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("resources/cpus", "8", "Incompatible agent info detected"),
        ("isolation.rpmnew", "posix/cpu", "Failed to load unknown flag 'isolation.rpmnew'"),
        ("?no-strict.bak", "", "Failed to load unknown flag 'strict.bak'"),
        ("?strict", "", "flag 'strict' is already loaded"),
        ("isolation", "no/such", "Unknown or unsupported isolator 'no/such'"),
    ],
)
def test_what_ends_a_real_agent_ends_this_one(agent, name, value, says):
    agent.wait_registered()
    path = agent.host.root / "etc/mesos-slave" / name
    before = path.read_text() if path.exists() else None
    path.write_text(value)
    try:
        agent.host.ssh("systemctl restart mesos-slave")
        wait_until(lambda: says in agent.log, f"{says} in the log")
        wait_until(lambda: agent.get("/health") is None, "end of the agent")
    finally:
        path.unlink() if before is None else path.write_text(before)
        agent.host.ssh("systemctl reset-failed mesos-slave; systemctl restart mesos-slave")
    agent.wait_registered()


# The last ones: they leave the agent another one than the others have.
def links(agent) -> dict[str, str]:
    """{name: id} of the links that say which agent this host's is, and was."""
    slaves = agent.host.root / "var/lib/mesos/meta/slaves"
    return {path.name: os.path.basename(os.readlink(path)) for path in slaves.iterdir() if path.is_symlink()}


def test_an_agent_comes_back_as_another_one_and_as_the_first_again(agent, site, clone, tmp_path):
    """It ends over such a change while its link is there: test_what_ends_a_real_agent_ends_this_one."""
    first = agent.wait_registered()
    assert site(agent.host.fleet).code == 0
    more = {"mesos_agent_resources": {**VARIABLES["mesos_agent_resources"], "cpus": "8"}}
    refused = site(agent.host.fleet, **more)
    assert refused.code != 0 and "or set the flag reconfiguration_policy to additive" in refused.text, refused.text
    assert links(agent) == {"latest": first}

    def play_with(playbook, **changed):
        inventory = agent.host.fleet.inventory(tmp_path / "hosts.json", **{**VARIABLES, **changed})
        return play(playbook, "-i", str(inventory), cwd=clone)

    # Three plays long, each of which a busy machine may take a minute for.
    task = agent.launch(f"touch ready; {'; '.join([WAIT_FOR_RELEASE] * 6)}")
    task.wait_file("ready")
    task.wait_state("TASK_RUNNING")
    named = {**more, "mesos_agent_allow_incompatible": ["resources"]}
    refused = play_with("rollout", **named)
    assert f"under a new id, which ends the 1 containers that run ({task.sandbox.name})" in refused.text, refused.text
    named.update(mesos_agent_master_url="http://127.0.0.1:5051", mesos_agent_drain_timeout=2)
    refused = play_with("rollout", **named)
    assert f"after 2 seconds these containers still run: {task.sandbox.name}" in refused.text, refused.text
    assert links(agent) == {"latest": first} and agent.wait_registered() == first
    (task.sandbox / "go").touch()
    assert task.wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FINISHED"

    done = play_with("rollout", **named)
    assert done.code == 0, done.text
    assert "Ask the frameworks to leave this host] ***\nchanged: [host-1]" in done.text
    assert agent.get("/master/maintenance/schedule") == {}
    second = agent.wait_registered()
    assert second != first and links(agent)["latest"] == second
    aside = {name: known for name, known in links(agent).items() if name != "latest"}
    assert list(aside.values()) == [first] and next(iter(aside)).startswith("latest.generation-")

    done = play_with("rollback")
    assert done.code == 0, done.text
    assert agent.wait_registered() == first
    assert links(agent)["latest"] == first and sorted(links(agent).values()) == sorted([first, second])


def test_an_agent_whose_new_flags_it_does_not_take_is_taken_back_as_the_first(agent, site):
    first = agent.wait_registered()
    flags = {**VARIABLES["mesos_agent_flags"], "isolation": "no/such"}
    other = {**VARIABLES["mesos_agent_resources"], "cpus": "2"}
    changed = {"mesos_agent_flags": flags, "mesos_agent_resources": other, "mesos_agent_gate_timeout": 20}
    done = site(agent.host.fleet, **changed, mesos_agent_allow_incompatible=["resources", "isolation"])
    assert done.code != 0 and "rolled back to generation" in done.text, done.text
    assert agent.wait_registered() == first and links(agent)["latest"] == first


def test_an_agent_that_is_told_to_takes_what_only_adds_and_keeps_its_id(agent, site):
    first = agent.wait_registered()
    flags = {**VARIABLES["mesos_agent_flags"], "reconfiguration_policy": "additive"}
    more = {"mesos_agent_resources": {**VARIABLES["mesos_agent_resources"], "cpus": "8"}}
    done = site(agent.host.fleet, **more, mesos_agent_flags=flags)
    assert done.code == 0, done.text
    assert agent.wait_registered() == first and links(agent)["latest"] == first
    assert agent.get("/state")["resources"]["cpus"] == 8


@pytest.mark.timeout(600)
@pytest.mark.parametrize("flags_dir", ["/etc/mesos-slave", "/etc/mesos-other"])
def test_another_prefix_does_not_get_the_unit_of_an_installation(agent, site, flags_dir):
    agent.wait_registered()
    state = "systemctl show -p MainPID --value mesos-slave; ls -R /opt /etc/mesos-slave /etc/systemd/system"
    before = agent.host.says(state)
    other = {"mesos_shim_prefix": "/opt/other", "mesos_agent_flags_dir": flags_dir}
    done = site(agent.host.fleet, **other)
    assert "mesos_shim_prefix /opt/other: the installation in /opt/mesos-shim manages the unit mesos-slave.service" in (
        done.text
    )
    assert done.code != 0 and agent.host.says(state) == before


@pytest.mark.timeout(600)
def test_an_uninstallation_frees_the_unit_for_another_prefix(agent, site):
    """The last test here: the agent is the other installation's afterwards."""
    agent.wait_registered()
    done = site(agent.host.fleet, "uninstall", mesos_agent_uninstall_force=True)
    assert done.code == 0, done.text
    anew = {"mesos_agent_allow_incompatible": ["resources", "work_dir"]}  # the agent ran by other flags meanwhile
    done = site(agent.host.fleet, mesos_shim_prefix="/opt/other", **anew)
    assert done.code == 0, done.text
    assert "/opt/other/bin/mesos-shim" in agent.host.says("systemctl show -p ExecStartPre mesos-slave")
    agent.wait_registered()
