"""A host with a real agent, before the shim came: read as an inventory, which a rollout then keeps."""

from __future__ import annotations

import json

import pytest

from tests.lib.agent import on_host as agents
from tests.lib.collection import play, tree
from tests.lib.hosts import machines

pytestmark = [pytest.mark.hosts, pytest.mark.agent, pytest.mark.timeout(600)]

FLAGS = {
    "isolation": "posix/cpu,posix/mem\n",
    "work_dir": "/var/lib/mesos\n",
    "?no-strict": "",
    "gc_delay": "2days\n",
    "attributes/rack": "on\n",
    "resources/cpus": "4\n",
    "resources/mem": "4096\n",
    "resources/disk": "1000\n",
}


@pytest.fixture(scope="module")
def agent(hosts):
    """The agent of a host as its packages and its operator have left it."""
    try:
        layer = agents.layer()
    except machines.Unavailable as reason:
        pytest.skip(str(reason))
    with hosts(1, layer=layer) as fleet:
        host = fleet["host-1"]
        for name, value in FLAGS.items():
            path = host.root / "etc/mesos-slave" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)
        host.ssh("systemctl enable --quiet --now mesos-slave")
        yield agents.HostAgent(host)


def test_a_rollout_with_what_was_adopted_leaves_a_real_agent_alone(agent, clone, tmp_path):
    host, first = agent.host, agent.wait_registered()
    bare = host.fleet.inventory(tmp_path / "hosts.json")
    done = play("adopt", "-i", str(bare), "-e", f"mesos_adopt_dir={tmp_path}/adopted", cwd=clone)
    assert done.code == 0, done.text
    written = (tmp_path / "adopted/host_vars/host-1.yml").read_text()
    assert 'mesos_agent_service: "mesos-slave"' in written and "mesos_agent_drop_in: false" in written
    for known in ("MESOS_LAUNCHER", "MESOS_SYSTEMD_ENABLE_SUPPORT"):
        assert f"/etc/default/mesos-slave sets {known}, which no variable of the roles can say" in written

    before = tree(host.root / "etc/mesos-slave")
    started = host.says("systemctl show -p MainPID --value mesos-slave")
    # The agent in this form has no packaged helper to launch a probe by, and puts its state below its work_dir.
    local = {"mesos_agent_gate_probe": False, "mesos_agent_gate_ignore_flags": ["work_dir"]}
    whole = tmp_path / "adopted/hosts.json"
    whole.write_text(json.dumps(json.loads(bare.read_text())))
    done = play("rollout", "-i", str(whole.parent), "-e", json.dumps(local), cwd=clone)
    assert done.code == 0 and "flags:" not in done.text and "restarted" not in done.text, done.text
    assert tree(host.root / "etc/mesos-slave") == before
    assert host.says("systemctl show -p MainPID --value mesos-slave") == started
    assert agent.wait_registered() == first
    assert host.says("readlink /opt/mesos-shim/current").startswith("releases/")

    again = play("rollout", "-i", str(whole.parent), "-e", json.dumps(local), cwd=clone)
    assert again.code == 0 and "1 host: 1 unchanged" in again.text, again.text
