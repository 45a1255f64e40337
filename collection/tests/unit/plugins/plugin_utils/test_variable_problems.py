# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with variables alone."""

from __future__ import annotations

import pytest
from ansible_collections.mesos.containerizer.plugins.plugin_utils._variable_problems import misspelt, problems

DRAIN = {"mesos_agent_drain": True, "mesos_agent_master_url": "http://m:5050", "mesos_agent_service": "mesos-agent"}


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"mesos_agent_flags": "rack=r1"}, "mesos_agent_flags: not a map of names and values"),
        ({"mesos_agent_flags": ["a"]}, "mesos_agent_flags: not a map of names and values"),
        ({"mesos_agent_flags": None}, "mesos_agent_flags: it is empty; give a value, or leave the variable out"),
        ({"mesos_shim_gc_timer": None, "mesos_agent_flags": "rack=r1"}, "mesos_shim_gc_timer: it is empty"),
        ({"mesos_agent_attributes": "rack=r1"}, "mesos_agent_attributes: not a map"),
        ({"mesos_agent_resources": 3}, "mesos_agent_resources: not a map"),
        ({"mesos_agent_allow_incompatible": "[isolation"}, "mesos_agent_allow_incompatible: not a list"),
        ({"mesos_agent_gate_ignore_flags": "[a: b"}, "mesos_agent_gate_ignore_flags: not a list"),
        ({"mesos_shim_config": {True: 1}}, "mesos_shim_config: the key true is not text: quote it"),
        ({"mesos_shim_config": {"tmpfs": [{"/x": {False: 1}}]}}, "mesos_shim_config: the key false is not text"),
        (
            {"mesos_agent_flags": {"resources": "cpus:1"}, "mesos_agent_resources": {"cpus": 1}},
            "mesos_agent_flags names resources, and so does mesos_agent_resources: keep one of them",
        ),
        (
            {"mesos_agent_flags": '{"attributes": "a:b"}', "mesos_agent_attributes": '{"a": "b"}'},
            "mesos_agent_flags names attributes, and so does mesos_agent_attributes",
        ),
        (
            {
                "mesos_agent_flags": {"default_container_info": {}},
                "mesos_agent_default_container_info": {"volumes": []},
                "mesos_agent_default_container_info_flag": "yes",
            },
            "mesos_agent_flags names default_container_info, and so does mesos_agent_default_container_info",
        ),
        (
            {**DRAIN, "mesos_agent_master_url": ""},
            "mesos_agent_drain is True, and mesos_agent_master_url names no master",
        ),
        ({**DRAIN, "mesos_agent_drain": "yes", "mesos_agent_service": ""}, "mesos_agent_drain is yes, and neither"),
    ],
)
def test_each_problem_is_said_with_its_variable(variables, says):
    found = problems(variables)
    assert len(found) == 1 and found[0].startswith(says), found


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"mesos_agent_flags": {}, "mesos_agent_attributes": "{}", "mesos_agent_resources": '{"cpus": 1}'},
        {"mesos_agent_allow_incompatible": "isolation, ip", "mesos_agent_gate_ignore_flags": []},
        {"mesos_agent_rollback_generation": None, "mesos_agent_somebody_elses": None},
        {"mesos_shim_config": '{"hide_work_dir": true}'},
        {"mesos_agent_flags": {"attributes": "a:b"}, "mesos_agent_attributes": {}},
        {
            "mesos_agent_flags": {"default_container_info": {}},
            "mesos_agent_default_container_info": {"volumes": []},
            "mesos_agent_default_container_info_flag": "false",
        },
        DRAIN,
        {**DRAIN, "mesos_agent_service": "", "mesos_agent_url": "http://a:5051"},
        {"mesos_agent_drain": "no"},
    ],
)
def test_what_is_right_is_no_problem(variables):
    assert problems(variables) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mesos_agent_flag", "mesos_agent_flags"),
        ("mesos_agent_serivce", "mesos_agent_service"),
        ("mesos_agent_masterurl", "mesos_agent_master_url"),
        ("mesos_agent_Drain", "mesos_agent_drain"),
        ("mesos_shim_flags", "mesos_agent_flags"),
        ("mesos_agent_prefix", "mesos_shim_prefix"),
        ("mesos_shim_configs", "mesos_shim_config"),
        ("mesos_agent_gate_timout", "mesos_agent_gate_timeout"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_one_that_is_meant(name, meant):
    assert misspelt([name]) == [f"{name}: no such variable; did you mean {meant}?"]


def test_what_is_one_and_what_is_somebody_elses_is_left_alone():
    assert misspelt(["mesos_agent_flags", "mesos_shim_prefix", "mesos_agent_rollout"]) == []
    assert misspelt(["mesos_agent_port", "mesos_agent_zk_hosts", "mesos_shim_owner_team"]) == []
