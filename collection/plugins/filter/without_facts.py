# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator has said of hosts, in templates."""

from __future__ import annotations

DOCUMENTATION = r"""
name: without_facts
short_description: The variables of all hosts without what hosts say of themselves
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Facts go before the inventory and before the defaults of roles, under any name. A value of one host that decides for
    other hosts, or on the controller, is read from C(hostvars) without them.
options:
  _input:
    description: C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Take the hosts in the waves of the inventory
  hosts: mesos_agents
  serial: "{{ (hostvars | mesos.containerizer.without_facts)[groups.mesos_agents[0]].mesos_agent_rollout_waves }}"
"""

RETURN = r"""
_value:
  description: C(hostvars) without facts.
  type: dict
"""

from ansible_collections.mesos.containerizer.plugins.plugin_utils._without_facts import without_facts


class FilterModule:
    """The filter mesos.containerizer.without_facts."""

    def filters(self):
        return {"without_facts": without_facts}
