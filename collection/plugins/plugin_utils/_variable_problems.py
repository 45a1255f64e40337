# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of an agent alone, whatever its host is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.mesos.containerizer.plugins.filter.inventory_list import inventory_list
from ansible_collections.mesos.containerizer.plugins.filter.inventory_map import inventory_map
from ansible_collections.mesos.containerizer.plugins.plugin_utils._map_keys import not_text
from ansible_collections.mesos.containerizer.plugins.plugin_utils._role_options import every_option

NAME = re.compile("mesos_(?:agent|shim)_")
# What roles leave for each other and for playbooks.
_RESULTS = {"mesos_agent_rollout", "mesos_agent_drift", "mesos_agent_usage", "mesos_shim_staged"}
_NEAR = 0.8  # of 1: an operator may well have a mesos_agent_port of their own
# Flags that may be given as mesos_agent_flags or as a variable of their own.
_OF_THEIR_OWN = ("attributes", "resources", "default_container_info")


def _not_a_map(variable: str, value: Any) -> str | None:
    if isinstance(inventory_map(value), dict):
        return None
    advice = 'in an inventory in INI form give it as JSON, for example {"rack": "r1"}'
    return f"{variable}: not a map of names and values; {advice}"


def _not_a_list(variable: str, value: Any) -> str | None:
    if not isinstance(inventory_list(value), str):
        return None
    return f"{variable}: not a list; give the items with commas between them"


def _not_text(variable: str, value: Any) -> str | None:
    return not_text(variable, inventory_map(value))


_ALONE = {
    "mesos_agent_flags": _not_a_map,
    "mesos_agent_attributes": _not_a_map,
    "mesos_agent_resources": _not_a_map,
    "mesos_agent_allow_incompatible": _not_a_list,
    "mesos_agent_gate_ignore_flags": _not_a_list,
    "mesos_shim_config": _not_text,
}
# Of all others only whether they have a value.
LOOKED_AT = (
    *_ALONE,
    "mesos_agent_default_container_info",
    "mesos_agent_default_container_info_flag",
    "mesos_agent_drain",
    "mesos_agent_master_url",
    "mesos_agent_service",
    "mesos_agent_url",
)


def _named_twice(variables: Mapping[str, Any]) -> list[str]:
    """Flags that are named by mesos_agent_flags and by the variable of their own."""
    flags = inventory_map(variables.get("mesos_agent_flags"))
    own = {name: inventory_map(variables.get("mesos_agent_" + name)) for name in _OF_THEIR_OWN}
    if not boolean(variables.get("mesos_agent_default_container_info_flag", False), strict=False):
        own.pop("default_container_info")
    both = [name for name, value in own.items() if value and isinstance(flags, dict) and name in flags]
    return [f"mesos_agent_flags names {name}, and so does mesos_agent_{name}: keep one of them" for name in both]


def _undrainable(variables: Mapping[str, Any]) -> list[str]:
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
    return [f"mesos_agent_drain is {drain}, and {lack}" for lack in lacks]


def problems(variables: Mapping[str, Any]) -> list[str]:
    """One line for each problem of {variable: value}; one that is not given is not looked at."""
    empty = _empty(variables)
    if empty:
        return empty  # which would be said once more by what it is not
    found = [check(name, variables[name]) for name, check in _ALONE.items() if name in variables]
    return [*filter(None, found)] + _named_twice(variables) + _undrainable(variables)


def _empty(variables: Mapping[str, Any]) -> list[str]:
    """Variables without a value, as YAML makes them of a name whose lines below it are commented out."""
    return [
        f"{name}: it is empty; give a value, or leave the variable out"
        for name, value in sorted(variables.items())
        if value is None and "default" in every_option().get(name, {})
    ]


def misspelt(names: Iterable[str]) -> list[str]:
    """One line for each name that is close to one of the roles' variables and is none.

    Ansible itself ignores a variable that nothing uses, so a misspelt one leaves the default in force.
    """
    known = {*filter(NAME.match, every_option()), *_RESULTS}
    by_end = {_end(name): name for name in sorted(known)}
    lines = []
    for name in sorted(set(names) - known):
        near = difflib.get_close_matches(_end(name).lower(), sorted(by_end), n=1, cutoff=_NEAR)
        lines += [f"{name}: no such variable; did you mean {by_end[found]}?" for found in near]
    return lines


def _end(name: str) -> str:
    """Without the role, which is as easily confused as misspelt."""
    return NAME.sub("", name, count=1)
