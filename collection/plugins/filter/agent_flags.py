# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All flags of an agent, of the variables that name some."""

from __future__ import annotations

DOCUMENTATION = r"""
name: agent_flags
short_description: All flags of an agent
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - The flags that variables of their own name, and over them those of C(mesos_agent_flags).
  - An inventory in INI form may give each map as text. What is no map is left out, which
    P(mesos.containerizer.variable_problems#lookup) has said.
positional: launcher_dir, attributes, resources, default_container_info
options:
  _input:
    description: The value of C(mesos_agent_flags).
    type: raw
    required: true
  launcher_dir:
    description: The directory of the agent's helpers.
    type: path
    required: true
  attributes:
    description: The value of C(mesos_agent_attributes); empty for no such flag.
    type: raw
    required: true
  resources:
    description: The value of C(mesos_agent_resources); empty for no such flag.
    type: raw
    required: true
  default_container_info:
    description: The default ContainerInfo, where the agent is given it as a flag; else empty.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show all flags
  ansible.builtin.debug:
    msg: >-
      {{ mesos_agent_flags
         | mesos.containerizer.agent_flags('/opt/mesos-shim/launcher', mesos_agent_attributes, {}, {}) }}
"""

RETURN = r"""
_value:
  description: The flags.
  type: dict
  sample: {launcher_dir: /opt/mesos-shim/launcher, isolation: posix/cpu}
"""

from ansible_collections.mesos.containerizer.plugins.filter.inventory_map import inventory_map


def agent_flags(flags, launcher_dir, attributes, resources, default_container_info):
    """{flag: value}; the operator's own go before what the other variables say."""
    found = {"launcher_dir": launcher_dir}
    for name, value in (("attributes", attributes), ("resources", resources)):
        value = inventory_map(value)
        if value and isinstance(value, dict):
            found[name] = value
    if default_container_info:
        found["default_container_info"] = default_container_info
    own = inventory_map(flags)
    return {**found, **own} if isinstance(own, dict) else found


class FilterModule:
    """The filter mesos.containerizer.agent_flags."""

    def filters(self):
        return {"agent_flags": agent_flags}
