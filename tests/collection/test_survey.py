"""What a survey of AWX gives as text: each variable of a rollout is understood, or refused before anything."""

from __future__ import annotations

import json
import re
from importlib import import_module

import pytest
import yaml

from ..lib.collection import PLUGINS, tree
from ..lib.shim import CHECKOUT

pytestmark = pytest.mark.timeout(600)

# Of each variable that is not text: a value that is not the default, and what somebody types for it into a survey.
TYPED = {
    "mesos_agent_flags": ({"isolation": "posix/cpu", "quiet": True}, '{"isolation": "posix/cpu", "quiet": true}'),
    "mesos_agent_attributes": ({"rack": "r1"}, '{"rack": "r1"}'),
    "mesos_agent_resources": ({"cpus": 4}, '{"cpus": 4}'),
    "mesos_agent_default_container_info": ({"type": "MESOS", "volumes": []}, '{"type": "MESOS", "volumes": []}'),
    "mesos_agent_default_container_info_flag": (True, "yes"),
    "mesos_agent_allow_incompatible": (["ip", "domain"], "ip, domain"),
    "mesos_agent_take_over_defaults": (True, "true"),
    "mesos_agent_drop_in": (False, "no"),
    "mesos_agent_drain": (False, "false"),
    "mesos_agent_drain_timeout": (60, "60"),
    "mesos_agent_keep_generations": (4, "4"),
    "mesos_agent_gate_timeout": (30, "30"),
    "mesos_agent_gate_ignore_flags": (["work_dir"], "[work_dir]"),
    "mesos_agent_gate_registered": (False, "False"),
    "mesos_agent_gate_allowed_losses": (1, "1"),
    "mesos_agent_gate_probe": (False, "off"),
    "mesos_agent_rollout_waves": ([1, "100%"], "1, 100%"),
    "mesos_agent_rollout_max_failures": (1, "1"),
    "mesos_agent_rollout_in_flight": (1, "1"),
    "mesos_agent_rollout_bake": (1, "1"),
    "mesos_agent_rollout_confirm": (False, "no"),
    # Ids of runs that have ended; one that no claim has takes over nothing.
    "mesos_agent_rollout_take_over": (["RUN-1", "RUN-2"], "RUN-1, RUN-2"),
    "mesos_shim_config": ({"hide_work_dir": False}, '{"hide_work_dir": false}'),
    "mesos_shim_keep_releases": (3, "3"),
    "mesos_shim_gc_timer": (False, "no"),
}
# Of the whole fleet: test_pace.py refuses these by name, and test_values.py before anything.
OF_THE_FLEET = {name for name in TYPED if name.startswith("mesos_agent_rollout_")}
NONSENSE = {list: "[ip, domain", dict: "rack r1", bool: "perhaps", int: "a few"}


def inventory_list(value):
    return import_module(f"{PLUGINS}.filter.inventory_list").inventory_list(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a", ["a"]),
        ("a,b , c\nd\n", ["a", "b", "c", "d"]),
        ("[a, 'b']", ["a", "b"]),
        ('[1, "25%"]', [1, "25%"]),
        ("", []),
        ("[]", []),
        (["a"], ["a"]),
        (None, []),
    ],
)
def test_a_list_of_a_survey_is_a_list(text, found):
    assert inventory_list(text) == found


@pytest.mark.parametrize("text", ["[a", "[a]]", "[[a]]", "[{a: b}]", "[" * 5000])
def test_what_begins_as_a_list_and_is_none_stays_text(text):
    assert inventory_list(text) == text


def test_every_variable_that_is_not_text_is_here():
    specs = [
        yaml.safe_load((CHECKOUT / f"collection/roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
        for role in ("mesos_agent", "mesos_shim")
    ]
    options = {name: option for spec in specs for name, option in spec["main"]["options"].items()}
    assert {name for name, option in options.items() if option["type"] not in ("str", "path")} == set(TYPED)


def test_a_survey_means_what_an_inventory_means(fleet, host):
    """After a rollout with the values, one with their texts has nothing to do."""
    own = {"work_dir": str(host.root / "work")}
    typed = {name: value for name, (value, _) in TYPED.items()}
    texts = {name: text for name, (_, text) in TYPED.items()}
    typed["mesos_agent_flags"] = {**typed["mesos_agent_flags"], **own}
    texts["mesos_agent_flags"] = json.dumps(typed["mesos_agent_flags"])
    done = fleet.site(host, playbook="rollout", **typed)
    assert done.code == 0 and "1 done" in done.text, done.text
    host.has_run()  # from now on, its attributes make its identity
    before = tree(host.root)
    survey = fleet.root / "survey.json"  # as AWX hands it on
    survey.write_text(json.dumps(texts))
    again = fleet.site(host, "-e", f"@{survey}", playbook="rollout")
    assert again.code == 0 and "1 unchanged" in again.text, again.text
    assert tree(host.root) == before
    # A list that is obeyed: the change of an incompatible flag.
    texts["mesos_agent_attributes"] = '{"rack": "r2"}'
    survey.write_text(json.dumps(texts))
    refused = fleet.site(host, "-e", f"@{survey}", playbook="rollout")
    assert refused.code != 0 and "attributes" in refused.failure(host), refused.text
    texts["mesos_agent_allow_incompatible"] = "ip, attributes"
    survey.write_text(json.dumps(texts))
    allowed = fleet.site(host, "-e", f"@{survey}", playbook="rollout")
    assert allowed.code == 0 and "1 done" in allowed.text, allowed.text
    # And back, by a list of changes and a number in text.
    change = re.search(r"mesos_agent_rollback_change=(\S+) takes it back", allowed.text)[1]
    back = fleet.site(host, "-e", f"mesos_agent_rollback_change='other, {change}'", playbook="rollback")
    assert back.code == 0 and tree(host.root / "etc/mesos-slave")["attributes/rack"] == "r1\n", back.text


def test_nonsense_is_refused_by_its_name_before_anything_is_staged(fleet):
    names = sorted(set(TYPED) - OF_THE_FLEET)
    hosts = {fleet.host(name.replace("_", "-")): {name: NONSENSE[type(TYPED[name][0])]} for name in names}
    done, states = fleet.rollout(hosts)
    assert done.code != 0 and "bug" not in done.text, done.text
    for host, changed in hosts.items():
        (name,) = changed
        state, why = states[host.root.name]
        assert state == "refused" and name in why, (name, why)
        assert tree(host.root) == {}, name
