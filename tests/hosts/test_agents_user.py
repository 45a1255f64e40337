"""A real agent whose unit has User=: provisioned, launched by, seen by root, restarted, taken away."""

from __future__ import annotations

import json

import pytest

from tests.lib.agent import on_host as agents
from tests.lib.agent.tasks import WAIT_FOR_RELEASE
from tests.lib.collection import play
from tests.lib.hosts import machines

from .test_agent_on_host import VARIABLES

pytestmark = [pytest.mark.hosts, pytest.mark.agent]

SECRET = "executor_environment_variables"
USER, GROUP = "agent", "agents"
SHIM = "/opt/mesos-shim/bin/mesos-shim"
OURS = {
    **VARIABLES,
    # Without it an agent takes the framework's user for each task, and only root can become it.
    "mesos_agent_flags": {**VARIABLES["mesos_agent_flags"], "switch_user": False, SECRET: {"TOKEN": "sesame"}},
    "mesos_agent_allow_incompatible": [SECRET],
}
DROP_INS = "/etc/systemd/system/mesos-slave.service.d"
# Protected, as units with User= often are: nothing but its own directories can be written.
UNIT = f"""\
[Service]
User={USER}
Group={GROUP}
ProtectSystem=strict
ReadWritePaths=/var/lib/mesos /var/lib/mesos-tasks /sys/fs/cgroup
"""
# What the fixture changes; the rest of /etc and /run must be afterwards as it was.
BEFORE = f"find /etc /opt /run/mesos-shim* 2>/dev/null | sort; cat {DROP_INS}/*"


@pytest.fixture(scope="module")
def site(clone, tmp_path_factory):
    """site(fleet, playbook, **more): a play with the variables and more of them."""

    def run(fleet, playbook="site", **more):
        inventory = fleet.inventory(tmp_path_factory.mktemp("site") / "hosts.json", **{**OURS, **more})
        return play(playbook, "-i", str(inventory), cwd=clone)

    return run


@pytest.fixture(scope="module")
def agent(hosts):
    """A host whose agent runs as a user of its own, not yet touched by us."""
    try:
        layer = agents.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    with hosts(1, layer=layer) as fleet:
        host = fleet["host-1"]
        host.ssh(
            # Its group is the unit's, not the account's: a flag with a secret must be for that one to read.
            f"groupadd --system {GROUP} && useradd --system {USER} && mkdir -p {DROP_INS} /etc/mesos-slave/resources"
            f" && install -d -o {USER} -g {USER} /var/lib/mesos /var/lib/mesos-tasks && cat > {DROP_INS}/user.conf"
            " && cd /etc/mesos-slave && touch '?no-switch_user' '?no-strict' && echo /var/lib/mesos > work_dir"
            " && echo posix/cpu,posix/mem > isolation && echo 4 > resources/cpus && echo 4096 > resources/mem"
            " && echo 1000 > resources/disk && systemctl daemon-reload && systemctl enable --now mesos-slave",
            input=UNIT,
        )
        found = agents.HostAgent(host)
        found.wait_registered()
        found.before = host.says(BEFORE)
        yield found


def test_another_user_than_the_units_is_refused_before_anything_changes(agent, site):
    started = agent.host.says("systemctl show -p MainPID --value mesos-slave")
    for named, says in (
        ("root", f"has User={USER}: mesos_shim_config has agent_user: root; leave it out there"),
        ("games", f"has User={USER}: mesos_shim_config has agent_user: games; leave it out there"),
        ("nix-da", "agent_user: this host has no account 'nix-da'"),
    ):
        done = site(agent.host.fleet, mesos_shim_config={"agent_user": named})
        assert done.code != 0 and says in done.text, done.text
        assert agent.host.says(BEFORE) == agent.before
    assert agent.host.says("systemctl show -p MainPID --value mesos-slave") == started


def test_its_tasks_are_isolated_and_root_sees_them(agent, site):
    first = agent.wait_registered()
    done = site(agent.host.fleet, "rollout")
    assert done.code == 0 and "host-1  done" in done.text, done.text
    assert f"runs its agent as {USER}, and so do all its tasks" in done.text
    assert agent.wait_registered() == first
    assert agent.host.says(f"stat -c '%U %G %a' /etc/mesos-slave/{SECRET}") == f"root {GROUP} 640"
    again = site(agent.host.fleet)
    assert again.code == 0 and "changed=0" in again.text, again.text

    task = agent.launch(f"id -un > who; ls -A /tmp > seen; touch /tmp/mine; touch ready; {WAIT_FOR_RELEASE}; exit 0")
    task.wait_file("ready")
    assert task.wait_state("TASK_RUNNING")
    assert ((task.sandbox / "who").read_text(), (task.sandbox / "seen").read_text()) == (f"{USER}\n", "")
    assert (task.sandbox / "tmp/mine").exists() and not (agent.host.root / "tmp/mine").exists()

    name = task.sandbox.name
    (seen,) = json.loads(agent.host.says(f"{SHIM} ps --json"))
    assert (seen["container_id"], seen["mode"]) == (name, "enforced")
    (used,) = json.loads(agent.host.says(f"{SHIM} usage --format json"))
    assert used["container_id"] == name and used["statistics"]["mem_rss_bytes"] > 0
    assert agent.host.says("ls /run/mesos-shim 2>/dev/null || echo none") == "none"

    # The drop-in's gc clears with that user's rights, before the agent starts; what runs stays.
    agent.host.ssh("systemctl stop mesos-shim-gc.timer")
    agent.host.ssh(f"runuser -u {USER} -- sh -c 'cd /var/lib/mesos && {SHIM} run --container-id ended -- true'")
    records = f"ls $(echo /run/mesos-shim-$(id -u {USER}))/containers"
    assert "ended.json" in agent.host.says(records)
    agent.host.ssh("systemctl restart mesos-slave && systemctl start mesos-shim-gc.timer")
    assert agent.wait_registered() == first
    assert agent.host.says(records) == f"{name}.json"
    (seen,) = json.loads(agent.host.says(f"{SHIM} ps --json"))
    assert seen["container_id"] == name
    (task.sandbox / "go").touch()
    assert task.wait_state("TASK_FINISHED", "TASK_FAILED", "TASK_LOST") == "TASK_FINISHED"


def test_taken_away_the_host_is_as_it_was(agent, site):
    first = agent.wait_registered()
    done = site(agent.host.fleet, "uninstall")
    assert done.code == 0, done.text
    assert agent.wait_registered() == first
    assert agent.host.says(BEFORE) == agent.before
