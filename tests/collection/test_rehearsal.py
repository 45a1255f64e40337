"""A release serves every caller of the host's Mesos before it becomes the current one, by the configuration to come."""

from __future__ import annotations

import json
import os

import pytest

from tests.lib.collection import LocalFleet, LocalHost, clone_to
from tests.lib.shim import needs_linux, needs_root

pytestmark = [needs_linux, needs_root]

ENTRY = '"""Run the helper; its exit status, where it comes back at all."""\n'
# One caller of each way to call, by its own flags.
AGENT_028 = 'any(word.startswith("--sandbox=") for word in arguments)'
EXECUTOR = 'any(word.startswith("--launch_info=") for word in arguments)'


@pytest.fixture
def broken(public_dir):
    """broken(condition): a fleet whose checkout has a helper that refuses the calls for which it holds."""

    def make(condition: str) -> LocalFleet:
        checkout = clone_to(public_dir / "clone")
        helper = checkout / "shim/mesos_shim/agent/helper.py"
        good = helper.read_text()
        assert ENTRY in good
        helper.write_text(good.replace(ENTRY, f'{ENTRY}    if {condition}:\n        raise SystemExit("on purpose")\n'))
        return LocalFleet(public_dir, checkout)

    return make


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """installed(version): what the agent of this host says of itself."""

    def say(version: str) -> None:
        program = tmp_path / "mesos-agent"
        program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "mesos {version}"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return say


def releases(host: LocalHost) -> list[str]:
    return os.listdir(host.prefix / "releases")


def refused(fleet: LocalFleet, host: LocalHost) -> str:
    """Why a host refused to stage a release, of which nothing is left."""
    done = fleet.site(host)
    assert done.code != 0, done.text
    assert releases(host) == [] and not (host.prefix / "current").exists()
    assert not (host.root / "etc/mesos-slave").exists()
    return done.failure(host)


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        (AGENT_028, "a launch by the agent's call (Mesos 0.28) ended with 1 instead of 17: on purpose"),
        (EXECUTOR, "mesos-executor's call (Mesos 1.2 and later) ended with 1 instead of 23: on purpose"),
    ],
)
def test_a_release_that_refuses_a_caller_is_never_staged(broken, condition, says):
    fleet = broken(condition)
    reason = refused(fleet, fleet.host("host"))
    assert "does not work on this host: " in reason and says in reason, reason
    assert "the Mesos version of this host is unknown, so all versions were simulated" in reason


def test_the_callers_are_those_of_the_hosts_version(broken, installed):
    fleet = broken(AGENT_028)
    host = fleet.host("host")
    installed("0.28.3")
    assert "by the agent's call (Mesos 0.28) " in refused(fleet, host)
    installed("1.11.0")
    done = fleet.site(host)
    assert done.code == 0, done.text
    (release,) = releases(host)
    assert os.readlink(host.prefix / "current") == f"releases/{release}"


def test_a_release_that_is_there_is_played_again_where_something_changes(broken, installed, public_dir):
    """The host's Mesos was updated, and the release that is in use is not fit for it."""
    fleet = broken(EXECUTOR)
    host = fleet.host("host")
    installed("0.28.3")
    assert fleet.site(host).code == 0
    before = releases(host)
    installed("1.11.0")
    assert fleet.site(host).code == 0  # nothing is to be switched
    done = fleet.site(host, mesos_shim_config={"hide_work_dir": True})
    assert done.code != 0 and "mesos-executor's call (Mesos 1.2 and later)" in done.failure(host)
    assert releases(host) == before
    assert "hide_work_dir" not in json.loads((host.prefix / "etc/mesos-shim/config.json").read_text())


def test_below_a_directory_of_roots_alone_it_is_said_that_others_are_not_served(fleet, public_dir):
    """Root clones into its own home: the README's first command works there, and launches of others are not tried."""
    closed = public_dir / "closed"
    closed.mkdir(0o700)
    host = fleet.host("host")
    host.variables["mesos_shim_prefix"] = str(closed / "prefix")
    done = fleet.site(host)
    assert done.code == 0, done.text
    said = " ".join(done.text.split())
    assert f"users other than root cannot enter {closed}, so this installation works only for root" in said


def test_a_rehearsal_leaves_nothing_among_the_hosts_records_and_in_its_bases(fleet, public_dir):
    """Callers before 1.1 become the command: nobody stays to clear away after them."""
    host = fleet.host("host")
    base = public_dir / "base"
    base.mkdir(0o711)
    base.chmod(0o711)
    state = public_dir / "state"
    directories = {"/opt": {"base": str(base)}}
    host.variables["mesos_shim_config"] = {"state_dir": str(state), "private_directories": directories}
    done = fleet.site(host)
    assert done.code == 0, done.text
    assert list(base.iterdir()) == []
    assert not state.exists() or list((state / "containers").iterdir()) == []
