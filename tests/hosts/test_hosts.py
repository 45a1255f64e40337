"""The test hosts themselves: real, apart from each other and from this machine, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.hosts import machines

pytestmark = pytest.mark.hosts
CHECKOUT = Path(__file__).resolve().parents[2]


def left_of(fleet: str) -> list[str]:
    """All that this machine still has of a fleet."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{fleet}/" in line]
    networks = [path.name for path in Path("/run/netns").glob(f"msh-{fleet}*")]
    groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/mesos-shim-tests/{fleet}")]
    groups += [str(path) for path in Path("/sys/fs/cgroup").glob(f"mesos-shim-tests/{fleet}")]
    return [*mounts, *networks, *groups, *map(str, machines.RUN.glob(fleet))]


def ansible(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "ansible"), "-i", str(inventory), "mesos_agents", *arguments]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("suite", machines.SUITES)
def test_every_debian_release_boots_and_answers_ansible(hosts, tmp_path, suite):
    with hosts(1, suite) as fleet:
        host = fleet["host-1"]
        assert host.wait_booted() == "running"
        assert host.says("cat /proc/1/comm") == "systemd"
        assert suite in host.says("cat /etc/os-release") or suite == "forky"
        inventory = fleet.inventory(tmp_path / "hosts.json", wanted="from the inventory")
        done = ansible(inventory, "-m", "command", "-a", "echo {{ wanted }} on {{ inventory_hostname }}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "from the inventory on host-1" in done.stdout


def test_hosts_reach_each_other_and_nothing_else(hosts):
    with hosts(2) as fleet:
        first, second = fleet
        assert first.ssh(f"exec 3<>/dev/tcp/{second.address}/22").returncode == 0
        assert first.says("ip route show default") == ""
        marker = first.says("mktemp /var/tmp/mark.XXXXXX")
        assert not Path(marker).exists()
        assert second.ssh(f"test -e {marker}", check=False).returncode == 1
        assert (first.root / marker.lstrip("/")).exists()
        # Its clock is the machine's: no host may set it.
        assert first.ssh("date -s @0", check=False).returncode != 0


def test_a_reboot_keeps_the_files(hosts):
    with hosts(1) as fleet:
        host = fleet["host-1"]
        host.ssh("echo kept > /var/lib/kept; echo gone > /run/gone")
        host.reboot()
        assert host.wait_booted() == "running"
        assert host.says("cat /var/lib/kept; test ! -e /run/gone") == "kept"


def test_an_unplugged_host_is_unreachable_for_ansible(hosts, tmp_path):
    with hosts(1) as fleet:
        host = fleet["host-1"]
        inventory = fleet.inventory(tmp_path / "hosts.json", ansible_timeout=2)
        host.reachable(False)
        done = ansible(inventory, "-m", "ping")
        assert done.returncode == 4 and "UNREACHABLE" in done.stdout, done.stdout
        host.reachable(True)
        assert ansible(inventory, "-m", "ping").returncode == 0


def test_nothing_stays_of_a_fleet(hosts):
    fleet = hosts(2)
    assert left_of(fleet.name)
    fleet.down()
    assert left_of(fleet.name) == []


def test_hosts_of_a_killed_run_are_cleared_by_the_next(hosts):
    """The fixture `hosts` has asked for it here, at the start of this session."""
    script = "import signal, tests.lib.hosts.machines as h; print(h.start(1).name, flush=True); signal.pause()"
    run = subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    name = run.stdout.readline().strip()
    assert name, "no hosts: see the other tests"
    with hosts(1) as other:
        machines.reap()
        assert left_of(name), "its owner lives"
        run.send_signal(signal.SIGKILL)
        run.wait()
        machines.reap()
        assert left_of(name) == []
        assert other["host-1"].says("echo alive") == "alive"


def test_two_fleets_with_the_same_addresses_do_not_meet(hosts, tmp_path):
    with hosts(1) as one, hosts(1) as two:
        assert one["host-1"].address == two["host-1"].address
        for number, fleet in enumerate((one, two)):
            fleet["host-1"].ssh(f"echo {number} > /etc/number")
        for number, fleet in enumerate((one, two)):
            inventory = fleet.inventory(tmp_path / f"{number}.json")
            done = ansible(inventory, "-m", "slurp", "-a", "src=/etc/number")
            assert json.loads(done.stdout.split("=>", 1)[1])["content"] == ["MAo=", "MQo="][number]
