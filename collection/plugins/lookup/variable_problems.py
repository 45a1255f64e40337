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
  - Finds names that are close to a variable of this collection's roles and are none, variables without a value, what is
    no map or no list, and what contradicts itself. Values are as an inventory gives them, which in INI form is text.
options:
  _terms:
    description: None.
"""

EXAMPLES = r"""
- name: Check the variables
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('; ') }}"
  vars:
    problems: "{{ query('mesos.containerizer.variable_problems') }}"
"""

RETURN = r"""
_raw:
  description: A line for each problem.
  type: list
  elements: str
  sample: ["mesos_agent_flag: no such variable; did you mean mesos_agent_flags?"]
"""

from ansible.plugins.lookup import LookupBase
from ansible_collections.mesos.containerizer.plugins.plugin_utils._variable_problems import (
    LOOKED_AT,
    NAME,
    misspelt,
    problems,
)


class LookupModule(LookupBase):
    """The lookup mesos.containerizer.variable_problems."""

    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 (as Ansible calls it)
        ours = {name: value for name, value in variables.items() if NAME.match(name)}
        values = {name: self._templar.template(ours[name]) for name in LOOKED_AT if ours.get(name) is not None}
        return misspelt(ours) + problems({**dict.fromkeys(n for n, v in ours.items() if v is None), **values})
