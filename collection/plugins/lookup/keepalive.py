# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose cable is pulled is unreachable within seconds, whatever connection to it is still open."""

from __future__ import annotations

DOCUMENTATION = r"""
name: keepalive
short_description: Options of ssh by which a host that has gone is noticed
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - A variable of a play goes before the inventory. This gives it what the inventory, the environment and C(ansible.cfg)
    say, and what notices a dead connection.
  - ssh takes the first value of an option, so what the operator gives in C(ssh_args), C(ssh_common_args) or
    C(ssh_extra_args) goes before ours.
options:
  _terms:
    description:
      - V(extra_args) for C(ansible_ssh_extra_args), with a message every 5 seconds and an end after 3 without answer.
      - V(control_path_dir) for C(ansible_control_path_dir), a directory of our own below the operator's. The master of
        a shared connection decides when it is dead, and one that another play has left open may never notice.
    choices: [extra_args, control_path_dir]
    required: true
"""

EXAMPLES = r"""
- name: Notice a host that has gone
  hosts: mesos_agents
  vars:
    ansible_ssh_extra_args: "{{ lookup('mesos.containerizer.keepalive', 'extra_args') }}"
    ansible_control_path_dir: "{{ lookup('mesos.containerizer.keepalive', 'control_path_dir') }}"
"""

RETURN = r"""
_raw:
  description: The variable's value.
  type: list
  elements: str
"""

import os

from ansible.plugins.lookup import LookupBase
from ansible_collections.mesos.containerizer.plugins.plugin_utils._connection_options import option

_OURS = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"


class LookupModule(LookupBase):
    """The lookup mesos.containerizer.keepalive."""

    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 (as Ansible calls it)
        if terms == ["extra_args"]:
            value, _is_set = option(variables, "ssh_extra_args", "ansible_ssh_extra_args")
            return [" ".join(filter(None, (value, _OURS)))]
        value, _is_set = option(variables, "control_path_dir", "ansible_control_path_dir")
        return [os.path.join(value, "mesos")]
