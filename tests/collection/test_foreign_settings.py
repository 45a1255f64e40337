"""Fleets that somebody else has set up: other names, other settings of Ansible, other sudoers."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.lib.collection import LocalFleet, LocalHost, clone_to, play, tree

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def own(public_dir):
    """A fleet whose checkout may be changed."""
    return LocalFleet(public_dir, clone_to(public_dir / "clone"))


def configure(fleet: LocalFleet, line: str) -> None:
    """A line of the user's own ansible.cfg."""
    path = fleet.checkout / "ansible.cfg"
    path.write_text(path.read_text().replace("[defaults]\n", f"[defaults]\n{line}\n"))


def state(host: LocalHost) -> dict[str, object]:
    return json.loads((host.prefix / "generations/state.json").read_text())


def test_names_of_hosts_are_no_patterns(own):
    """Each of these would mean other hosts where hosts are named in a pattern."""
    names = ("plain", "a b", "x,outside", "y:outside", "!plain", "&plain", "~.*", "*", "p[0]", "r[1:3]", "[s]")
    hosts = {name: own.host(f"h{number}") for number, name in enumerate((*names, "outside"))}
    inventory = {
        "mesos_agents": {"hosts": {name: hosts[name].variables for name in names}},
        "mesos_agents_canary": {"hosts": {"a b": {}, "outside": {}}},
        "others": {"hosts": {"outside": hosts["outside"].variables}},
    }
    # A file's names are expanded by Ansible itself: r[1:3] would be three hosts.
    groups = {name: {"hosts": list(group["hosts"])} for name, group in inventory.items()}
    known = {"hostvars": {name: host.variables for name, host in hosts.items()}}
    path = own.root / "inventory.sh"
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({**groups, '_meta': known})}\nEND\n")
    path.chmod(0o755)
    waves = json.dumps({"mesos_agent_rollout_waves": [1, "100%"]})
    for playbook in ("rollout", "rollback"):
        done = play(playbook, "-i", str(path), "-e", waves, cwd=own.checkout)
        assert done.code == 0 and f"{len(names)} hosts: {len(names)} done" in done.text, done.text
        there = playbook == "rollout"
        assert all((hosts[name].root / "etc/mesos-slave").exists() == there for name in names)
        first = re.search(r'"(.*?) +done ', done.text)
        assert first and first[1].split(", ")[0] == "a b"
        assert tree(hosts["outside"].root) == {}
    done = play("uninstall", "-i", str(path), "-e", waves, cwd=own.checkout)
    assert done.code == 0 and not any(hosts[name].prefix.exists() for name in names), done.text


@pytest.mark.parametrize("playbook", ["rollout", "site"])
def test_any_errors_fatal_of_the_user_leaves_nothing_half_done(own, playbook):
    configure(own, "any_errors_fatal = true")
    hosts = {name: own.host(name) for name in "ab"}
    bad = {"mesos_agent_url": "http://127.0.0.1:9", "mesos_agent_gate_timeout": 0}
    waves = {"mesos_agent_rollout_waves": ["100%"]}
    done = own.site({hosts["a"]: {**waves, **bad}, hosts["b"]: waves}, playbook=playbook)
    assert done.code != 0 and "rolled back to generation 0" in done.text, done.text
    assert not (hosts["a"].root / "etc/mesos-slave").exists()
    assert [state(hosts[name])["pending"] for name in "ab"] == [None, None]
    assert (hosts["b"].root / "etc/mesos-slave/launcher_dir").exists()
    if playbook == "rollout":
        assert "2 hosts: 1 done, 1 failed" in done.text


@pytest.mark.parametrize("playbook", ["rollout", "rollback", "report", "adopt"])
def test_another_strategy_of_the_user_decides_nothing_host_by_host(own, playbook):
    """What all hosts are asked for first, once, each host decided for itself; the report ended."""
    configure(own, "strategy = free")
    hosts = {own.host(name): {} for name in "ab"}
    if playbook == "rollback":
        assert own.site(hosts).code == 0
    page = own.root / "report.html"
    done = own.site(hosts, "-e", f"mesos_report_path={page}", "-e", "mesos_report_seconds=0", playbook=playbook)
    assert done.code == 0 and "free strategy" not in done.text, done.text
    once = "All hosts as mesos.containerizer.adopt found them" if playbook == "adopt" else '"2 hosts: 2 done"'
    assert page.exists() if playbook == "report" else done.text.count(once) == 1


ROLES = """\
- hosts: mesos_agents
  gather_facts: false
  any_errors_fatal: true
  roles: [mesos.containerizer.mesos_shim, mesos.containerizer.mesos_agent]
"""


def test_any_errors_fatal_of_the_users_own_play_takes_back_what_is_pending(own, played):  # noqa: F811
    """a is gone during its gate, so Ansible ends the play for b too, whose own gate is passed and not confirmed."""
    (own.checkout / "playbooks/roles.yml").write_text(ROLES)
    hosts = {name: own.host(name) for name in "ab"}
    liar = shutil.copy(Path(__file__).with_name("liar.py"), own.root)
    (own.root / "lies.json").write_text(json.dumps({"agent_gate": {"unreachable": True, "msg": "gone"}}))
    asked = {"mesos_agent_url": played.url, "mesos_agent_gate_probe": False}
    asked["mesos_agent_gate_ignore_flags"] = ["isolation", "launcher_dir", "work_dir"]
    done = own.site({hosts["a"]: {**asked, "ansible_python_interpreter": liar}, hosts["b"]: asked}, playbook="roles")
    assert done.code != 0 and "any_errors_fatal ends the play for all" in done.failure(hosts["b"]), done.text
    assert state(hosts["b"])["pending"] is None
    assert not (hosts["b"].root / "etc/mesos-slave").exists()


def pipelined(text: str) -> bool:
    """Whether the modules went through a pipe (of a run with -vvv)."""
    return "AnsiballZ_" not in text


@pytest.mark.parametrize(
    ("given", "setting", "expected"),
    [
        ({}, None, True),
        ({"ansible_pipelining": False}, None, False),
        ({}, "[connection]\npipelining = false", False),
        ({"ansible_pipelining": True}, "[connection]\npipelining = false", True),
    ],
)
def test_pipelining_is_the_operators(own, given, setting, expected):
    if setting:
        path = own.checkout / "ansible.cfg"
        path.write_text(f"{path.read_text()}\n{setting}\n")
    done = own.site(own.host("h"), "-vvv", "--check", playbook="usage", **given)
    assert "container_usage_info" in done.text and pipelined(done.text) == expected, done.text


TTY = """\
#!/bin/sh
if [ $# -eq 0 ]; then
  echo 'sudo: sorry, you must have a tty to run sudo' >&2
  exit 1
fi
exec /usr/bin/python3 "$@"
"""
MASKED = '#!/bin/sh\numask 077\nexec /usr/bin/python3 "$@"\n'


def interpreter(directory: Path, text: str) -> str:
    path = directory / "python"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_sudoers_that_want_a_terminal_are_named_and_obeyed(own):
    host = own.host("h")
    python = {"ansible_python_interpreter": interpreter(own.root, TTY)}
    done, ended = own.rollout({host: python})
    assert ended["h"][0] == "refused" and "you must have a tty to run sudo" in ended["h"][1], done.text
    done, ended = own.rollout({host: {**python, "ansible_pipelining": False}})
    assert done.code == 0 and ended["h"][0] == "done", done.text


@pytest.mark.parametrize("umask", ["site", "roles"])
def test_a_umask_closes_nothing_and_what_is_closed_is_opened(own, umask):
    (own.checkout / "playbooks/roles.yml").write_text(ROLES)
    host = own.host("h")
    masked = {"ansible_python_interpreter": interpreter(own.root, MASKED)}
    assert own.site(host, playbook=umask, **masked).code == 0
    public = [
        host.prefix,
        *(host.prefix / name for name in ("bin", "etc", "etc/mesos-shim", "releases", "current/lib")),
    ]
    public += [host.root / "etc", host.root / "etc/mesos-slave", host.prefix / "launcher"]
    assert {path: oct(path.stat().st_mode & 0o777) for path in public} == dict.fromkeys(public, "0o755")
    config = host.prefix / "etc/mesos-shim"
    config.chmod(0o700)
    drift = own.site(host, playbook="verify", **masked)
    assert f"drift: {config} is closed to other users" in drift.text, drift.text
    foreseen = own.site(host, "--check", playbook=umask, **masked)
    assert foreseen.recap("changed") == 1 and config.stat().st_mode & 0o777 == 0o700, foreseen.text
    again = own.site(host, playbook=umask, **masked)
    assert again.code == 0 and again.recap("changed") == 1 and config.stat().st_mode & 0o777 == 0o755, again.text
    assert state(host)["good"] == 1
    assert own.site(host, playbook="verify", **masked).code == 0
    assert os.access(config, os.X_OK)


@pytest.mark.parametrize("playbook", ["site", "rollout", "rollback", "verify", "uninstall", "usage", "adopt"])
def test_a_run_of_other_tags_goes_past_an_imported_playbook(own, playbook):
    web = {"hosts": "mesos_agents", "gather_facts": False, "tags": "web", "tasks": [{"ansible.builtin.debug": {}}]}
    plays = [{"ansible.builtin.import_playbook": f"{playbook}.yml"}, web]
    (own.checkout / "playbooks/tagged.yml").write_text(json.dumps(plays))
    hosts = {own.host(name): {} for name in "ab"}
    done = own.site(hosts, "--tags", "web", playbook="tagged")
    assert done.code == 0 and done.text.count('"msg": "Hello world!"') == 2, done.text
    assert all(tree(host.root) == {} for host in hosts)
