"""Rollouts by AWX: its runner gets the result, survey or not, and its builder knows what the collection needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..lib import commands
from ..lib.shim import CHECKOUT

pytestmark = pytest.mark.timeout(600)
BIN = Path(sys.executable).parent
UNKNOWN = {"no_such_flag": "x"}


@pytest.fixture
def run(fleet, tmp_path, monkeypatch):
    """run(hosts, **survey): a rollout by ansible-runner; what it ended as, and the statistic that it handed on."""
    ansible_runner = pytest.importorskip("ansible_runner")
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin:/usr/sbin:/sbin")

    def call(hosts, playbook="rollout", options="", **survey):
        known = {host.root.name: {**host.variables, **own} for host, own in hosts.items()}
        private = tmp_path / "runner"
        shutil.rmtree(private, ignore_errors=True)
        private.mkdir()
        ran = ansible_runner.run(
            private_data_dir=str(private),
            project_dir=str(fleet.checkout),
            playbook=f"playbooks/{playbook}.yml",
            inventory={"mesos_agents": {"hosts": known}},
            extravars=survey,
            cmdline=options,
            quiet=True,
        )
        (end,) = [event for event in ran.events if event["event"] == "playbook_on_stats"]
        return ran, end["event_data"]["artifact_data"].get("mesos_rollout")

    return call


def test_the_runner_gets_the_result_of_a_rollout_and_so_does_a_file(run, fleet, tmp_path):
    path = tmp_path / "result.json"
    survey = {"mesos_agent_rollout_result": str(path), "mesos_agent_rollout_change": "CHG-17"}
    hosts = {fleet.host("a"): {}, fleet.host("b"): {}}

    ran, planned = run(hosts, options="--check", **survey)
    assert (ran.status, planned) == ("successful", {"change": "CHG-17", "counts": {"would change": 2}, "failed": {}})
    assert json.loads(path.read_text())["counts"] == {"would change": 2}

    ran, stats = run(hosts, **survey)
    assert (ran.status, stats) == ("successful", {"change": "CHG-17", "counts": {"done": 2}, "failed": {}})
    found = json.loads(path.read_text())
    assert {name: value for name, value in found.items() if name != "hosts"} == stats
    (release,) = [entry.name for entry in (fleet.root / "a/opt/releases").iterdir()]
    assert found["hosts"]["a"].pop("seconds") > 0
    assert found["hosts"]["a"] == {
        "state": "done",
        "why": "",
        "changed": True,
        "restarted": False,
        "flags": ["isolation", "launcher_dir", "work_dir"],
        "before": {"generation": 0, "release": None},
        "after": {"generation": 1, "release": release},
    }

    # A workflow's next job takes the change back by what this one has handed on.
    ran, stats = run(hosts, playbook="rollback", mesos_agent_rollback_change=stats["change"])
    assert (ran.status, stats["counts"]) == ("successful", {"done": 2})


def test_a_refused_host_is_in_the_result_with_its_reason(run, fleet, tmp_path):
    path = tmp_path / "result.json"
    hosts = {fleet.host("a"): {}, fleet.host("b"): {"mesos_agent_flags": UNKNOWN}}
    ran, stats = run(hosts, mesos_agent_rollout_result=str(path))
    assert (ran.status, stats["counts"]) == ("failed", {"not started": 1, "refused": 1})
    assert list(stats["failed"]) == ["b"] and "no_such_flag" in stats["failed"]["b"]
    assert json.loads(path.read_text())["hosts"]["a"]["why"] == "stopped by b"


def test_a_result_that_cannot_be_written_is_refused_before_anything(run, fleet, tmp_path):
    host = fleet.host("a")
    ran, stats = run({host: {}}, mesos_agent_rollout_result=str(tmp_path / "no/result.json"))
    said = ran.stdout.read()
    assert ran.status == "failed" and "the controller has no directory" in said, said
    assert not list(host.root.iterdir()) and stats is None


def test_the_path_of_the_result_is_the_operators_alone(run, fleet, tmp_path):
    """A fact of a host decides on no file of the controller (docs/threat-model.md, 31)."""
    playbooks = fleet.checkout / "playbooks"
    planted = tmp_path / "planted.json"
    answer = json.dumps({"ansible_facts": {"mesos_agent_rollout_result": str(planted)}})
    (playbooks / "library").mkdir()
    (playbooks / "library/planting.py").write_text(f"#!/usr/bin/python\nprint({answer!r})\n")
    first = {"hosts": "all", "gather_facts": False, "tasks": [{"planting": {}}]}
    (playbooks / "planted.yml").write_text(json.dumps([first, {"ansible.builtin.import_playbook": "rollout.yml"}]))
    try:
        ran, stats = run({fleet.host("a"): {}}, playbook="planted")
    finally:
        (playbooks / "planted.yml").unlink()
        shutil.rmtree(playbooks / "library")
    assert (ran.status, stats["counts"]) == ("successful", {"done": 1})
    assert not planted.exists()


def test_the_builder_knows_what_the_collection_needs(tmp_path):
    place = tmp_path / "ansible_collections/mesos"
    place.mkdir(parents=True)
    (place / "containerizer").symlink_to(CHECKOUT / "collection")
    system = tmp_path / "bindep.txt"
    builder = [BIN / "ansible-builder", "introspect", tmp_path, "--write-bindep", system]
    done = subprocess.run(builder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "openssh-client [platform:dpkg]  # from collection mesos.containerizer" in system.read_text()


def test_the_environment_of_the_page_is_one_that_the_builder_takes(tmp_path, following: commands.Following):
    (block,) = following("docs/operations.md", "test execution environment")
    (tmp_path / "execution-environment.yml").write_text(block.use())
    create = [BIN / "ansible-builder", "create", "--file", "execution-environment.yml", "--context", "context"]
    done = subprocess.run(create, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mesos.containerizer" in (tmp_path / "context/_build/requirements.yml").read_text()
