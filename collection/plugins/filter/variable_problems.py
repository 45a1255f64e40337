# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of an agent alone, whatever its host is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: variable_problems
short_description: What is wrong with the variables of an agent alone
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Finds what is no map or no list, and what contradicts itself. Values are as an inventory gives them, which in INI
    form is text.
options:
  _input:
    description: Variables of the role C(mesos_agent) and their values. One that is not given is not looked at.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the flags
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ {'mesos_agent_flags': mesos_agent_flags} | mesos.containerizer.variable_problems }}"
"""

RETURN = r"""
_value:
  description: A line for each problem.
  type: list
  elements: str
  sample: ["mesos_agent_allow_incompatible: not a list; give the items with commas between them"]
"""

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.mesos.containerizer.plugins.filter.inventory_list import inventory_list
from ansible_collections.mesos.containerizer.plugins.filter.inventory_map import inventory_map
from ansible_collections.mesos.containerizer.plugins.plugin_utils._map_keys import not_text

_OF_THEIR_OWN = ("attributes", "resources", "default_container_info")


def _not_a_map(variable, value):
    if isinstance(inventory_map(value), dict):
        return []
    advice = 'in an inventory in INI form give it as JSON, for example {"rack": "r1"}'
    return ["%s: not a map of names and values; %s" % (variable, advice)]


def _not_a_list(variable, value):
    if not isinstance(inventory_list(value), str):
        return []
    return ["%s: not a list; give the items with commas between them" % variable]


def _not_text(variable, value):
    return list(filter(None, [not_text(variable, inventory_map(value or {}))]))


_ALONE = {
    "mesos_agent_flags": _not_a_map,
    "mesos_agent_attributes": _not_a_map,
    "mesos_agent_resources": _not_a_map,
    "mesos_agent_allow_incompatible": _not_a_list,
    "mesos_agent_gate_ignore_flags": _not_a_list,
    "mesos_shim_config": _not_text,
}


def _named_twice(variables):
    """Flags that are named by mesos_agent_flags and by the variable of their own."""
    flags = inventory_map(variables.get("mesos_agent_flags"))
    given = {name: inventory_map(variables.get("mesos_agent_" + name)) for name in _OF_THEIR_OWN}
    if not boolean(variables.get("mesos_agent_default_container_info_flag", False), strict=False):
        given.pop("default_container_info")
    both = [name for name, value in given.items() if value and isinstance(flags, dict) and name in flags]
    return ["mesos_agent_flags names %s, and so does mesos_agent_%s: keep one of them" % (name, name) for name in both]


def _undrainable(variables):
    """What a drain needs and is not there."""
    drain = variables.get("mesos_agent_drain", False)
    if not boolean(drain, strict=False):
        return []
    lacks = []
    if not variables.get("mesos_agent_master_url"):
        lacks.append(
            "mesos_agent_master_url names no master whose maintenance schedule could drain the host: give its address"
        )
    if not (variables.get("mesos_agent_service") or variables.get("mesos_agent_url")):
        lacks.append(
            "neither mesos_agent_service nor mesos_agent_url says which agent is to be drained: give one of them"
        )
    return ["mesos_agent_drain is %s, and %s" % (drain, lack) for lack in lacks]


def variable_problems(variables):
    """One line for each problem of {variable: value}."""
    found = []
    for variable, problems in _ALONE.items():
        if variable in variables:
            found += problems(variable, variables[variable])
    return found + _named_twice(variables) + _undrainable(variables)


class FilterModule:
    """The filter mesos.containerizer.variable_problems."""

    def filters(self):
        return {"variable_problems": variable_problems}
