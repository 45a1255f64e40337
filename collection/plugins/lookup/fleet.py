# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a play; and what its tasks need of Ansible, loaded once."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: The agents in the order of rollouts, as the hosts of a play
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - The pattern of the group C(mesos_agents), before them those of C(mesos_agents_canary) that are in it.
  - Ansible evaluates C(hosts) in its own process, and forks one for each task on each host, which loads every plugin
    again that its parent had not loaded. So the plugins of this collection's plays are loaded here, which halves the
    processor time of an unchanged host.
options:
  _terms:
    description: None.
"""

EXAMPLES = r"""
- name: Converge the agents
  hosts: "{{ query('mesos.containerizer.fleet') }}"
"""

RETURN = r"""
_raw:
  description: Patterns of hosts.
  type: list
  elements: str
"""

from ansible.plugins import loader
from ansible.plugins.lookup import LookupBase
from ansible_collections.mesos.containerizer.plugins.plugin_utils._role_options import every_option

_NEEDED = (
    # One of its filters or tests brings all of a collection.
    (loader.filter_loader, ("mesos.containerizer.inventory_map",)),
    (loader.test_loader, ("ansible.builtin.match",)),
    (
        loader.lookup_loader,
        (
            "mesos.containerizer.keepalive",
            "mesos.containerizer.pipelining",
            "mesos.containerizer.role_options",
            "mesos.containerizer.variable_problems",
        ),
    ),
    (
        loader.action_loader,
        (
            "ansible.builtin.normal",
            "ansible.builtin.set_fact",
            "ansible.builtin.validate_argument_spec",
            "mesos.containerizer.checked",
            "mesos.containerizer.shim_release",
        ),
    ),
    (loader.connection_loader, ("ansible.builtin.ssh",)),
    (loader.shell_loader, ("ansible.builtin.sh",)),
)


class LookupModule(LookupBase):
    """The lookup mesos.containerizer.fleet."""

    def run(self, terms, variables=None, **kwargs):  # noqa: ARG002 (as Ansible calls it)
        for plugins, names in _NEEDED:
            for name in names:
                plugins.get(name, class_only=True)
        every_option()
        canary = ["mesos_agents_canary"] if "mesos_agents_canary" in variables["groups"] else []
        return [*canary, "mesos_agents", "&mesos_agents"]
