"""What a rollout costs in round trips, over real SSH."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from . import transport

pytestmark = pytest.mark.hosts
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"

# That every agent knows, with plain values; enough for their number to be seen in the counts.
FLAGS = {
    "work_dir": "/var/lib/mesos",
    "isolation": "posix/cpu,posix/mem",
    **dict.fromkeys(
        ("gc_delay", "disk_watch_interval", "executor_registration_timeout", "executor_shutdown_grace_period",
         "registration_backoff_factor", "recovery_timeout", "docker_remove_delay", "docker_stop_timeout",
         "perf_duration", "perf_interval"),
        "1mins",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def inventory(hosts, tmp_path_factory):
    with hosts(2) as fleet:
        path = tmp_path_factory.mktemp("transport") / "hosts.json"
        yield fleet.inventory(path, mesos_agent_flags=FLAGS)


def per_host(command, inventory, cwd) -> list[int]:
    calls, done = transport.count(command, inventory, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(calls) == 2, calls
    return [sum(counts.values()) for counts in calls.values()]


def test_a_first_install_takes_30_round_trips_and_an_unchanged_host_12(inventory, clone):
    site = [PLAYBOOK, "playbooks/site.yml"]
    first = per_host(site, inventory, clone)
    again = per_host(site, inventory, clone)
    assert max(first) <= 30 and max(again) <= 12, (first, again)


def test_the_copy_loop_takes_more_by_the_number_of_flags(inventory, clone):
    """The counter sees what it is there for: with pipelining off, as by default, a copy is several calls."""
    loop = per_host([PLAYBOOK, transport.COPY_LOOP], inventory, clone)
    assert min(loop) >= 3 * len(FLAGS), loop
