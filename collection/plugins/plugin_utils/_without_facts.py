# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of hosts as the operator has given them, without what the hosts say of themselves.

Ansible puts a host's facts before the inventory and before the defaults of roles, whatever their names. So a value that
decides on the controller, or for other hosts, is read by this.
"""

from __future__ import annotations

from ansible.vars.hostvars import HostVars


class _NoFacts:
    """In the place of the cache of facts."""

    def get(self, _host, _default=None):
        return {}


def without_facts(hostvars):
    """`hostvars` once more, of the same inventory, in which no host has a fact."""
    known = hostvars._variable_manager
    quiet = object.__new__(type(known))  # copy.copy would leave half of it behind: it is made to be pickled
    quiet.__dict__.update(known.__dict__, _fact_cache=_NoFacts())
    return HostVars(hostvars._inventory, quiet, hostvars._loader)


def variables(hostvars, host, task):
    """{variable: value as it is written} for a task on a host, likewise."""
    quiet = without_facts(hostvars)
    return quiet._variable_manager.get_vars(play=task.get_play(), host=quiet._inventory.get_host(host), task=task)
