# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of roles of this collection, as their argument specs describe them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_options
short_description: The variables of roles of this collection
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - The options of the entry C(main) in the argument specs of one role or more, in one map for
    M(ansible.builtin.validate_argument_spec). Of a variable that roles share, the first one's counts.
options:
  _terms:
    description: Names of roles of this collection.
    required: true
"""

EXAMPLES = r"""
- name: Validate the variables of both roles in one task
  ansible.builtin.validate_argument_spec:
    argument_spec: "{{ lookup('mesos.containerizer.role_options', 'mesos_agent', 'mesos_shim') }}"
"""

RETURN = r"""
_raw:
  description: The options, in a list of one.
  type: list
  elements: dict
"""

from ansible.plugins.lookup import LookupBase
from ansible_collections.mesos.containerizer.plugins.plugin_utils._role_options import entries


class LookupModule(LookupBase):
    """The lookup mesos.containerizer.role_options."""

    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 (as Ansible calls it)
        return [{name: option for role in reversed(terms) for name, option in entries(role)["main"]["options"].items()}]
