"""What people type into an inventory, in YAML and in INI form: it works, or one line says what to write instead."""

from __future__ import annotations

import json

import pytest

from tests.lib.collection import play, tree

pytestmark = pytest.mark.timeout(600)

DATE = "YAML reads an unquoted 2026-01-02 as a date: quote it"


def ini(fleet, host, **lines):
    """Runs a playbook on an inventory in INI form, each of these variables exactly as it is written there."""
    known = {**host.variables, **lines}
    text = {name: value if name in lines else json.dumps(value) for name, value in known.items()}
    path = fleet.root / "inventory.ini"
    path.write_text("[mesos_agents]\nhost\n[mesos_agents:vars]\n" + "".join(f"{n}={v}\n" for n, v in text.items()))
    return lambda playbook, *arguments: play(playbook, "-i", str(path), *arguments, cwd=fleet.checkout)


@pytest.mark.parametrize("waves", ["1,fifty", "fifty", '["1", "50 %"]', "[1, 50%", "[]", "", "0"])
def test_waves_that_are_none_are_refused_before_anything(fleet, host, waves):
    run = ini(fleet, host, mesos_agent_rollout_waves=waves)
    for playbook in ("rollout", "rollback"):
        done = run(playbook)
        assert done.code != 0 and "give a list of numbers and percentages of hosts" in done.failure(host), done.text
        assert "bug" not in done.text and "Stage" not in done.text and tree(host.root) == {}


@pytest.mark.parametrize("waves", ['[1, "50%"]', "1", "50%"])
def test_waves_of_an_inventory_in_ini_form(fleet, host, waves):
    done = ini(fleet, host, mesos_agent_rollout_waves=waves)("rollout", "--check")
    assert done.code == 0 and "1 would change" in done.text, done.text


def test_a_slash_at_the_end_of_the_prefix_is_none(fleet, host):
    assert fleet.site(host, mesos_shim_prefix=f"{host.prefix}//").code == 0
    there = tree(host.root / "etc/mesos-slave")
    assert there["launcher_dir"] == f"{host.prefix}/launcher\n"
    done = fleet.site(host)
    assert done.code == 0 and done.recap("changed") == 0, done.text


@pytest.mark.parametrize("name", ["mesos_agent_flags", "mesos_agent_default_container_info"])
def test_a_key_that_is_named_twice_in_ini_form_prints_no_secret(fleet, host, name):
    text = '{"master": "zk://u:sesame1@h/m", "quiet": true, "quiet": false, "docker_config": {"a": "sesame2"}}'
    done = ini(fleet, host, **{name: text})("site", "-vvv")
    assert done.code != 0 and "the key quiet is named twice" in done.text and "changed=0" in done.text, done.text
    assert "sesame" not in done.text


def test_a_date_of_yaml_is_a_text_to_the_agent(fleet, host):
    path = fleet.root / "inventory.yml"
    text = json.dumps(host.variables)[1:-1]
    path.write_text(f"mesos_agents:\n  hosts:\n    host: {{{text}, mesos_agent_attributes: {{built: 2026-01-02}}}}\n")
    done = play("site", "-i", str(path), cwd=fleet.checkout)
    assert done.code == 0, done.text
    assert tree(host.root / "etc/mesos-slave")["attributes/built"] == "2026-01-02\n"


@pytest.mark.parametrize(
    ("name", "own", "why"),
    [
        ("mesos_shim_config", "{tmpfs: {/x: {size: 2026-01-02}}}", DATE),
        ("mesos_agent_default_container_info", "{volumes: [{host_path: 2026-01-02}]}", DATE),
        ("mesos_shim_config", "{tmpfs: {/x: {on: off}}}", "the key true is not text: quote it"),
        ("mesos_agent_default_container_info", "{on: off}", "the key true is not text: quote it"),
    ],
)
def test_what_yaml_makes_no_text_of_is_named(fleet, host, name, own, why):
    path = fleet.root / "inventory.yml"
    known = json.dumps({key: value for key, value in host.variables.items() if key != name})[1:-1]
    path.write_text(f"mesos_agents:\n  hosts:\n    host: {{{known}, {name}: {own}}}\n")
    done = play("site", "-i", str(path), cwd=fleet.checkout)
    assert f"{name}: {why}" in done.failure(host), done.text
    assert tree(host.root) == {}


@pytest.mark.parametrize("name", ["mesos_agent_service", "mesos_agent_flags", "mesos_shim_gc_timer"])
def test_a_variable_without_a_value_is_refused_by_its_name(fleet, host, name):
    """As YAML makes one of a name whose lines below it are commented out."""
    done, ended = fleet.rollout({host: {name: None}})
    assert done.code != 0 and ended["host"][0] == "refused", done.text
    assert f" {name}: it is empty; give a value, or leave the variable out" in ended["host"][1], ended
    assert tree(host.root) == {}


def test_a_rollback_does_not_stop_half_way_for_a_variable_without_a_value(fleet, host):
    assert fleet.site(host).code == 0
    empty = dict.fromkeys(("mesos_agent_service", "mesos_agent_url", "mesos_agent_master_url"))
    done = fleet.site({host: empty}, playbook="rollback")
    assert done.code == 0 and not (host.root / "etc/mesos-slave").exists(), done.text
