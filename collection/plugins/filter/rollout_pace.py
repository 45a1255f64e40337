# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a rollout goes, and what it may lose, by the variables of one host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_pace
short_description: How fast a rollout goes, and what it may lose
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - The variables that hold for a whole rollout, those of the first host, as numbers. Each may be text, as a survey or
    an inventory in INI form gives it.
options:
  _input:
    description: The variables of the first host, without facts.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Read how fast the rollout goes
  ansible.builtin.set_fact:
    pace: >-
      {{ (hostvars | mesos.containerizer.without_facts)[groups.mesos_agents[0]] | mesos.containerizer.rollout_pace }}
  run_once: true
"""

RETURN = r"""
_value:
  description:
    - C(max_failures), C(in_flight), C(bake), C(confirm), the path of the result as C(result) and the change's id as
      C(change), and in C(problems) what is wrong with them and the waves.
  type: dict
"""

import json
import os
import re
import secrets
import time

from ansible_collections.mesos.containerizer.plugins.filter.inventory_list import inventory_list

_NUMBERS = {
    "max_failures": "how many hosts may fail or be unreachable",
    "in_flight": "how many hosts may be between switch and gate, 0 for a whole wave",
    "bake": "seconds between two waves",
}
_WAVE = re.compile(r"[1-9][0-9]*%?")
_CHANGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _new_change():
    """A name that no other change has, and by which changes sort in their order."""
    return time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + secrets.token_hex(2)


def _sizes(waves):
    """The sizes of waves as texts, none where it is no list of them."""
    found = inventory_list(waves)
    return [str(size) for size in (found if isinstance(found, (list, tuple)) else [found])]


def _unwritable(path):
    """Why the result cannot be written there, on the controller; empty where it can."""
    directory = os.path.dirname(path)
    if not os.path.isabs(path) or os.path.isdir(path):
        return "give the absolute path of a file"
    if not os.path.isdir(directory):
        return "the controller has no directory %s; make it" % directory
    return "" if os.access(directory, os.W_OK) else "the controller cannot write to %s" % directory


def _shown(value):
    return json.dumps(value, default=str)  # YAML knows dates, JSON does not


def rollout_pace(variables):
    """{"max_failures", "in_flight", "bake", "confirm", "change", "result", "problems"}."""
    pace, problems = {}, []
    for key, meaning in _NUMBERS.items():
        value = variables.get("mesos_agent_rollout_" + key, 0)
        text = "" if isinstance(value, bool) else str(value).strip()
        if not (text.isascii() and text.isdigit()):
            problems.append("mesos_agent_rollout_%s is %s: give a number, %s" % (key, _shown(value), meaning))
        pace[key] = int(text) if text.isascii() and text.isdigit() else 0
    confirm = variables.get("mesos_agent_rollout_confirm", False)
    pace["confirm"] = _TRUTH.get(str(confirm).strip().lower())
    if pace["confirm"] is None:
        problems.append("mesos_agent_rollout_confirm is %s: give true or false" % _shown(confirm))
    waves = variables.get("mesos_agent_rollout_waves", [1, "25%", "100%"])
    sizes = _sizes(waves)
    if not sizes or not all(map(_WAVE.fullmatch, sizes)):
        problems.append(
            "mesos_agent_rollout_waves is %s: give a list of numbers and percentages of hosts, for example "
            '[1, "25%%", "100%%"], also in an inventory in INI form' % _shown(waves)
        )
    change = str(variables.get("mesos_agent_rollout_change") or _new_change())
    if not _CHANGE.fullmatch(change):
        problems.append(
            "mesos_agent_rollout_change is %s: give at most 64 letters, digits and ._-" % json.dumps(change[:100])
        )
    if isinstance(inventory_list(variables.get("mesos_agent_rollback_change")), str):
        problems.append(
            "mesos_agent_rollback_change is %s: give the ids of changes with commas between them"
            % json.dumps(variables["mesos_agent_rollback_change"][:100])
        )
    result = str(variables.get("mesos_agent_rollout_result") or "").strip()
    why = _unwritable(result) if result else ""
    if why:
        problems.append("mesos_agent_rollout_result is %s: %s" % (json.dumps(result), why))
    return dict(pace, change=change, result=result, problems=problems)


class FilterModule:
    """The filter mesos.containerizer.rollout_pace."""

    def filters(self):
        return {"rollout_pace": rollout_pace}
