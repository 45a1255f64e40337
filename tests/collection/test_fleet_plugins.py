"""The lookup `fleet`: which hosts, in which order; and no worker loads a plugin that its play could have loaded."""

import json

import pytest
import yaml

from tests.lib.collection import LocalHost, clone_to
from tests.lib.shim import CHECKOUT

from ..lib.ansible_versions import MATRIX, environment, runner

pytestmark = pytest.mark.timeout(600)

# Ansible forks a worker for each task on each host, which dies with all that it has loaded.
NOTE_WHAT_WORKERS_LOAD = """\
import os, sys
from ansible.plugins.loader import PluginLoader
load, parent = PluginLoader._load_module_source, os.getpid()
def noting(self, *args, **kwargs):
    loaded = load(self, *args, **kwargs)
    if os.getpid() != parent:
        with open(os.environ["NOTED"], "a") as stream:
            stream.write(self.type + " " + loaded.__name__.rpartition(".")[2] + "\\n")
    return loaded
PluginLoader._load_module_source = noting
from ansible.cli.playbook import main
sys.exit(main(["ansible-playbook", *sys.argv[1:]]))
"""
# What runs once a play, on the controller, or in a host's own connection.
ONCE = {"action copy", "action template", "action set_stats", "action debug", "action assert", "connection local"}


@pytest.mark.parametrize(("core", "python"), [MATRIX[0], MATRIX[-1]])
def test_no_worker_loads_a_plugin_that_its_play_could_have_loaded(public_dir, core, python):
    programs, noted = environment(core, python), public_dir / "noted"
    run = runner(programs, clone_to(public_dir / "clone"), NOTED=str(noted))
    host = LocalHost(public_dir / "host")
    inventory = public_dir / "inventory.json"
    inventory.write_text(json.dumps({"mesos_agents": {"hosts": {"host": host.variables}}}))
    given = ("-i", inventory, "-e", f"mesos_report_path={public_dir}/report.html")
    run(programs / "ansible-playbook", *given, "playbooks/site.yml")
    for playbook in ("site", "rollout", "verify", "report", "usage"):
        noted.write_text("")
        run(programs / "python", "-c", NOTE_WHAT_WORKERS_LOAD, *given, f"playbooks/{playbook}.yml")
        assert set(noted.read_text().splitlines()) - ONCE == set(), playbook


def test_hosts_are_those_of_the_group_the_canary_first(public_dir):
    programs = environment(*MATRIX[-1])
    run = runner(programs, clone_to(public_dir / "clone"))
    inventory = public_dir / "inventory.json"
    groups = {"mesos_agents": ["b", "a", "c"], "mesos_agents_canary": ["outside", "c"]}
    for there, patterns in (
        (["mesos_agents"], "mesos_agents,&mesos_agents"),
        (list(groups), "mesos_agents_canary,mesos_agents,&mesos_agents"),
    ):
        known = {name: {"hosts": {host: {} for host in groups[name]}} for name in there}
        inventory.write_text(json.dumps(known))
        said = run(programs / "ansible-playbook", "-i", inventory, "playbooks/site.yml", "--list-hosts")
        assert f"play #1 ({patterns}): " in said  # Ansible lists its hosts in no order
        assert sorted(line.strip() for line in said.partition("hosts (3):")[2].splitlines() if line) == ["a", "b", "c"]


def test_every_play_on_agents_has_its_hosts_from_it():
    for path in sorted((CHECKOUT / "collection/playbooks").glob("*.yml")):
        for play in yaml.safe_load(path.read_text()):
            assert play["hosts"] in ("localhost", "{{ query('mesos.containerizer.fleet') }}"), path
