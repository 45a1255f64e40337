"""What a host is already, as an inventory: a rollout with it changes no flag, and what it cannot say it names."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.lib.collection import PLUGINS, LocalHost, clone_to, play, run_module, tree

from ..lib.ansible_versions import MATRIX, environment, runner

service = import_module(f"{PLUGINS}.module_utils._agent_service")
files = import_module(f"{PLUGINS}.filter.adopted_inventory").adopted_inventory

# Values that YAML, Ansible or a shell would make something else of.
AMBIGUOUS = {
    "on": "on",
    "number": "1e3",
    "octal": "0755",
    "date": "2026-01-01",
    "sexagesimal": "12.30",
    "nothing": "null",
    "umlaut": "Köln",
}


def write(directory: Path, **flags: str | dict[str, str]) -> None:
    """The flags as packages lay them out; `__` in a name begins one with "?", a map is a directory."""
    for name, value in flags.items():
        path = directory / name.replace("__", "?", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, dict):
            write(path, **value)
        else:
            path.write_text(value)


@pytest.fixture
def adopt(tmp_path):
    """Reads a flags directory; `adopt.path` is that directory."""

    def call(**args):
        given = {"path": str(call.path), "prefix": str(tmp_path / "opt"), "environment_files": [], **args}
        before = tree(tmp_path)
        result = run_module("agent_adopt_info", **given)
        assert tree(tmp_path) == before and not result.get("changed")
        return result

    call.path = tmp_path / "etc/mesos-slave"
    return call


def flags_of(result):
    return result["variables"]["mesos_agent_flags"]


def left_open(result):
    return {item["key"] or item["variable"]: item["why"] for item in result["open"]}


def test_values_have_the_type_that_the_role_takes(adopt):
    write(adopt.path, __switch_user="", gc_delay="1weeks\n", quiet="true", credential="/etc/mesos/secret\n")
    write(adopt.path, **{"__no-strict": "", "perf_duration": "10secs", "port": "5051"})
    write(adopt.path, default_container_info='{"type":"MESOS","volumes":[]}', attributes={"rack": "r1", "n": "0755"})
    write(adopt.path, resources="cpus:4;mem:1024")
    found = adopt()
    assert flags_of(found) == {
        "switch_user": True,
        "strict": False,
        "quiet": True,
        "gc_delay": "1weeks",
        "perf_duration": "10secs",
        "port": "5051",
        "credential": "/etc/mesos/secret",
        "default_container_info": {"type": "MESOS", "volumes": []},
        "resources": "cpus:4;mem:1024",
        "launcher_dir": None,
    }
    assert found["variables"]["mesos_agent_attributes"] == {"rack": "r1", "n": "0755"}
    assert found["open"] == []


SECRET = "sesame-open"
SECRETS = {
    "credential": f'{{"principal":"a","secret":"{SECRET}"}}',
    "master": f"zk://user:{SECRET}@10.0.0.1:2181/mesos",
    "executor_environment_variables": f'{{"A":"{SECRET}"}}',
    "modules": json.dumps({"libraries": [{"modules": [{"parameters": [{"key": "password", "value": SECRET}]}]}]}),
    "attributes": {"at": f"http://user:{SECRET}@host"},
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_named_and_not_said(adopt, name):
    write(adopt.path, work_dir="/var/lib/mesos", **{name: SECRETS[name]})
    found = adopt()
    assert SECRET not in found["_raw"]
    left = left_open(found)
    assert len(left) == 1 and f"flag {name}: " in "".join(left.values())
    assert name not in flags_of(found) and f"mesos_agent_{name}" not in found["variables"]
    text = files({"a": found}, ["a"])["host_vars/a.yml"]
    assert SECRET not in text and "undef(hint=" in text


def test_the_path_of_a_file_with_a_secret_stays_a_path(adopt):
    paths = {"credential": "/etc/a", "http_credentials": "file:///etc/b", "docker_config": "/etc/c"}
    write(adopt.path, **paths)
    assert flags_of(adopt()) == {**paths, "launcher_dir": None}


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ({"__quiet": "", "__no-quiet": ""}, "it is there more than once (?no-quiet, ?quiet)"),
        ({"frameworks_home": ""}, "the value is empty"),
        ({"hostname": "a\nb"}, "one line; remove the line break"),
        ({"acls": '{"a":1,"a":2}'}, 'the key "a" occurs twice'),
        ({"gc_delay": "a week"}, "is not a duration"),
    ],
)
def test_what_no_variable_can_say_is_named(adopt, layout, says):
    write(adopt.path, **layout)
    found = adopt()
    (why,) = left_open(found).values()
    assert says in why and flags_of(found) == {"launcher_dir": None}


def test_bytes_that_are_no_text_are_named(adopt):
    write(adopt.path, hostname="")
    (adopt.path / "hostname").write_bytes(b"a\xffb")
    assert left_open(adopt()) == {"hostname": "flag hostname: its value is not UTF-8"}


def test_what_a_rollout_does_to_files_without_a_difference_for_the_agent_is_said(adopt, tmp_path):
    elsewhere = tmp_path / "isolation"
    elsewhere.write_text("posix/cpu")
    write(
        adopt.path,
        **{"quiet": "true", "acls": '{ "a": 1 }', "isolation.rpmnew": "x", "attributes": {"a": "b", "c": ""}},
    )
    (adopt.path / "isolation").symlink_to(elsewhere)
    (adopt.path / "hostname").write_text("a")
    (adopt.path / "hostname").chmod(0o600)
    (adopt.path / "a\n- b").write_text("")
    (adopt.path / "resources").mkdir()
    found = adopt()
    for note in (
        "isolation.rpmnew is no flag, so a rollout removes it",
        "a\n- b is no flag, so a rollout removes it",
        "isolation: a link, which becomes a file",
        "quiet: another file takes its place, which the agent reads the same",
        "acls: its value is written in another form, which the agent reads the same",
        "hostname: mode 0600 becomes 0644",
        "attributes/c: it is empty, so the agent does not get it, and is removed",
        "resources: it gives the agent nothing, and is removed",
    ):
        assert note in found["notes"], found["notes"]
    lines = files({"a": found}, ["a"])["host_vars/a.yml"].splitlines()
    assert all(line.startswith("#") for line in lines if "- b" in line) and "- b is no flag" in "".join(lines)


def test_every_text_comes_back_from_the_file_as_it_was(adopt):
    write(adopt.path, hostname="on\n", default_role="a{{7*7}}b", work_dir="/a b/'\"\\#: x", attributes=dict(AMBIGUOUS))
    found = adopt()
    text = files({"a": found}, ["a"])["host_vars/a.yml"]
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!unsafe", lambda loader, node: ("unsafe", node.value))
    read = yaml.load(text, Loader=loader)  # noqa: S506 (a SafeLoader)
    assert read["mesos_agent_attributes"] == AMBIGUOUS
    assert read["mesos_agent_flags"]["default_role"] == ("unsafe", "a{{7*7}}b")
    assert read["mesos_agent_flags"]["hostname"] == "on"
    assert read["mesos_agent_flags"]["work_dir"] == "/a b/'\"\\#: x"
    assert text.isascii()
    # A reader of another version of YAML may take more words for numbers than this one.
    assert all(f': "{value}"\n' in text for value in AMBIGUOUS.values() if value.isascii())


def test_what_all_hosts_have_alike_is_the_groups(adopt):
    write(adopt.path, quiet="true")
    found = adopt()
    other = json.loads(json.dumps({**found, "_raw": ""}))
    other["variables"]["mesos_agent_attributes"] = {"rack": "b"}
    both = files({"a": found, "b": other}, ["a", "b"])
    assert yaml.safe_load(both["group_vars/mesos_agents.yml"])["mesos_agent_flags"] == {
        "quiet": True,
        "launcher_dir": None,
    }
    assert yaml.safe_load(both["host_vars/a.yml"]) is None
    assert yaml.safe_load(both["host_vars/b.yml"]) == {"mesos_agent_attributes": {"rack": "b"}}
    # A host that was not read may be another one.
    assert set(files({"a": found, "b": other}, ["a", "b", "c"])) == {"host_vars/a.yml", "host_vars/b.yml"}


def test_variables_beside_the_flags_are_named_and_stay(adopt, tmp_path):
    own = tmp_path / "default"
    own.write_text(f"MASTER=zk://a:{SECRET}@h/mesos\nIP=\nexport MESOS_PORT=5052\nISOLATION=x\nOTHER=y\n")
    write(adopt.path, isolation="posix/cpu")
    found = adopt(environment_files=[str(own)])
    assert SECRET not in found["_raw"] and flags_of(found) == {"isolation": "posix/cpu", "launcher_dir": None}
    assert [note for note in found["notes"] if str(own) in note] == [
        f"{own} sets MASTER, of which the init wrapper makes the flag master; it stays there",
        f"{own} sets MESOS_PORT, which no variable of the roles can say; it stays there",
        f"{own} sets ISOLATION, and the flags directory has isolation: the agent does not start with both",
    ]


SHOWN = {
    "Id": "mesos-slave.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "UnitFileState": "enabled",
    "MainPID": "0",
    "KillMode": "control-group",
    "ExecStart": "{ path=/usr/bin/x ; argv[]=/usr/bin/x slave --work_dir=/w --no-strict ; ignore_errors=no }",
    "Environment": f'MESOS_CREDENTIAL={SECRET} "PATH=/a b"',
    "EnvironmentFiles": "/etc/own (ignore_errors=yes)\nEnvironmentFiles=/etc/default/mesos-slave (ignore_errors=yes)",
}


@pytest.fixture
def systemctl(tmp_path_factory, monkeypatch):
    """`systemctl(**changed)`: systemd, asked by `systemctl show`, says this of every unit."""
    directory = tmp_path_factory.mktemp("bin")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def play(**changed):
        (directory / "shown").write_text("".join(f"{n}={v}\n" for n, v in {**SHOWN, **changed}.items()))
        (directory / "systemctl").write_text(f"#!/bin/sh\nexec cat {directory}/shown\n")
        (directory / "systemctl").chmod(0o755)

    return play


def test_the_unit_is_managed_as_it_is(adopt, systemctl):
    systemctl()
    found = adopt(environment_files=["/etc/default/mesos-slave"])
    assert SECRET not in found["_raw"]
    assert found["variables"]["mesos_agent_service"] == "mesos-slave"
    assert found["variables"]["mesos_agent_drop_in"] is False
    notes = "\n".join(found["notes"])
    for what in ("gives its program the argument --work_dir", "gives its program the argument --no-strict",
                 "sets the variable MESOS_CREDENTIAL"):  # fmt: skip
        assert f"the unit mesos-slave.service {what}, which no variable of the roles can say; it stays so" in notes
    assert "has KillMode=control-group, so a restart of the agent ends its executors" in notes


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ActiveState": "inactive"}, "the unit mesos-slave.service is not running"),
        ({"UnitFileState": "disabled"}, "the unit mesos-slave.service is not enabled"),
        ({"LoadState": "masked"}, "the unit mesos-slave.service is masked"),
    ],
)
def test_a_unit_that_a_rollout_would_start_is_left_alone(adopt, systemctl, changed, says):
    systemctl(**changed)
    found = adopt()
    assert "mesos_agent_service" not in found["variables"]
    assert any(says in note and "mesos_agent_service is left empty" in note for note in found["notes"])


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: nobody else could be it")
def test_a_flag_that_cannot_be_read_is_named(public_dir):
    own = clone_to(public_dir / "clone")
    host = LocalHost(public_dir / "host")
    write(host.root / "etc/mesos-slave", credential="/etc/a", work_dir="/w")
    (host.root / "etc/mesos-slave/credential").chmod(0o600)
    inventory = public_dir / "inventory.json"
    inventory.write_text(json.dumps({"mesos_agents": {"hosts": {"host": host.variables}}}))
    subprocess.run(["chown", "-R", "65534", own], check=True)
    done = play("adopt", "-i", str(inventory), cwd=own, as_user=65534)
    assert done.code == 2 and "Traceback" not in done.text
    assert f"{host.root}/etc/mesos-slave/credential: Permission denied; read it as root (ansible_become)" in done.text


# Of hosts that an inventory can say: what is in there no rollout may change.
LAYOUT = {
    "isolation": "posix/cpu,posix/mem\n",
    "hostname": "{{ lookup('pipe', 'touch /tmp/adopted-by-template') }}\n",
    "gc_delay": "1weeks\n",
    "__switch_user": "",
    "__no-strict": "",
    "default_container_info": '{"type":"MESOS","volumes":[]}\n',
    "attributes": {name: value + "\n" for name, value in AMBIGUOUS.items()},
    "resources": "cpus:4;mem:1024;ports:[31000-32000]\n",
    "master": "127.0.0.1:5050\n",
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("core", "python"), [MATRIX[0], MATRIX[-1]])
def test_a_rollout_with_what_was_adopted_changes_no_flag(public_dir, core, python):
    programs = environment(core, python)
    run = runner(programs, clone_to(public_dir / "clone"))
    hosts = [LocalHost(public_dir / name) for name in ("a", "b")]
    places = {}
    for host in hosts:
        write(host.root / "etc/mesos-slave", **LAYOUT, work_dir=f"{public_dir}/a/work\n")
        keep = ("ansible_connection", "ansible_python_interpreter", "mesos_shim_prefix", "mesos_agent_flags_dir")
        places[host.root.name] = {name: host.variables[name] for name in keep}
    hosts[0].has_run()
    (public_dir / "b/etc/mesos-slave/attributes/rack").write_text("r2\n")
    inventory = public_dir / "inventory"
    inventory.mkdir()
    (inventory / "hosts.json").write_text(json.dumps({"mesos_agents": {"hosts": places}}))

    def play(name, *arguments, code=0):
        return run(programs / "ansible-playbook", "-i", str(inventory), f"playbooks/{name}.yml", *arguments, code=code)

    before = tree(public_dir / "a"), tree(public_dir / "b")
    said = play("adopt")
    assert "mesos_agent_attributes:" in said and "changed=0" in said
    assert (tree(public_dir / "a"), tree(public_dir / "b")) == before and list(inventory.iterdir()) == [
        inventory / "hosts.json"
    ]
    play("adopt", "-e", f"mesos_adopt_dir={inventory}")
    written = [str(path.relative_to(inventory)) for path in sorted(inventory.rglob("*.yml"))]
    assert written == ["group_vars/mesos_agents.yml", "host_vars/a.yml", "host_vars/b.yml"]
    assert {path.stat().st_mode & 0o777 for path in inventory.rglob("*.yml")} == {0o600}
    again = play("adopt", "-e", f"mesos_adopt_dir={inventory}", code=2)
    assert "exists already, and is not written over" in again

    # The files alone: what they were read by is in them.
    kept = ("ansible_connection", "ansible_python_interpreter")
    bare = {name: {key: own[key] for key in kept} for name, own in places.items()}
    (inventory / "hosts.json").write_text(json.dumps({"mesos_agents": {"hosts": bare}}))
    flags = [tree(public_dir / name / "etc/mesos-slave") for name in places]
    said = play("rollout")
    assert "flags:" not in said and "2 hosts: 2 done" in said, said
    assert [tree(public_dir / name / "etc/mesos-slave") for name in places] == flags
    assert not Path("/tmp/adopted-by-template").exists()
    assert "failed=0" in play("verify")

    # What is left open stops the next rollout before it takes the flag away.
    master = public_dir / "a/etc/mesos-slave/master"
    master.write_text(f"zk://a:{SECRET}@h/mesos\n")
    said = play("adopt", "-e", "mesos_adopt_dir=../again")  # from where it was called
    (public_dir / "again/hosts.json").write_text((inventory / "hosts.json").read_text())
    inventory = public_dir / "again"
    said += play("rollout", code=2)
    assert "flag master: its value holds a secret" in said and SECRET not in said
    assert not any(SECRET in path.read_text() for path in inventory.rglob("*.yml"))
    assert SECRET in master.read_text()
