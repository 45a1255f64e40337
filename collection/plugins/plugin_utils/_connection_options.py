# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator has said of an option of Ansible's ssh connection, for variables of plays that would hide it."""

from __future__ import annotations

from ansible import constants as C
from ansible.plugins.loader import connection_loader
from ansible_collections.mesos.containerizer.plugins.plugin_utils._without_facts import without_facts

_said: dict[str, object] = {}  # of one host: a worker has no other


def option(variables, name, variable):
    """(value, whether it was given): the inventory's, else that of environment and ansible.cfg, else the default."""
    host = variables["inventory_hostname"]
    if host not in _said:
        _said.clear()
        _said[host] = without_facts(variables["hostvars"])[host]
    if variable in _said[host]:
        return _said[host][variable], True
    connection_loader.get("ansible.builtin.ssh", class_only=True)  # its options are known from then on
    value, origin = C.config.get_config_value_and_origin(
        name, plugin_type="connection", plugin_name="ssh", variables={}
    )
    return value, origin != "default"
