# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is asked by one connection a task, where somebody has said so, or nobody has said otherwise."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pipelining
short_description: Pipelining unless the operator has said otherwise
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - A variable of a play goes before the inventory. This gives it what the inventory says of C(ansible_pipelining), else
    what the environment and C(ansible.cfg) say, else true.
options:
  _terms:
    description: None.
"""

EXAMPLES = r"""
- name: Ask by one connection a task instead of five
  hosts: mesos_agents
  vars:
    ansible_pipelining: "{{ lookup('mesos.containerizer.pipelining') }}"
"""

RETURN = r"""
_raw:
  description: Whether.
  type: list
  elements: bool
"""

from ansible.plugins.lookup import LookupBase
from ansible_collections.mesos.containerizer.plugins.plugin_utils._connection_options import option


class LookupModule(LookupBase):
    """The lookup mesos.containerizer.pipelining."""

    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 (as Ansible calls it)
        value, is_set = option(variables, "pipelining", "ansible_pipelining")
        return [value if is_set else True]
