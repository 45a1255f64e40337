# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A map that an inventory in INI form has as text. Ansible's own from_yaml would show the line, secrets in it too."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_map
short_description: A map, also where an inventory in INI form gives it as text
version_added: 0.2.0
author: The mesos-shim authors (@mesos-shim)
description:
  - An inventory in INI form gives a map as text as soon as JSON's true, false or null is in it.
  - A key that is named twice is refused, by its name alone; nothing else of the text is shown.
  - What YAML takes for a date is the text that was written. Before ansible-core 2.19 a map with a date in it would
    arrive as a text that is no map.
options:
  _input:
    description: The map, or its text in JSON or YAML.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show which flags there are
  ansible.builtin.debug:
    msg: "{{ mesos_agent_flags | mesos.containerizer.inventory_map | list }}"
"""

RETURN = r"""
_value:
  description: The map; what is none comes back as it is.
  type: raw
  sample: {isolation: posix/cpu}
"""

import datetime

import yaml
from ansible.errors import AnsibleFilterError


def _twice(node):
    """The first key that a map of these nodes names twice, or None."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _value in node.value if isinstance(key, yaml.ScalarNode)]
        here = [key for number, key in enumerate(keys) if key in keys[:number]]
        return here[0] if here else next(filter(None, (_twice(value) for _key, value in node.value)), None)
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_twice, node.value)), None)
    return None


def _without_dates(value):
    if isinstance(value, dict):
        return {key: _without_dates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return str(value) if isinstance(value, datetime.date) else value


def inventory_map(value):
    """The map of a text. Raises AnsibleFilterError for a text that names a key twice."""
    if not isinstance(value, str):
        return _without_dates(value)
    text = str.__str__(value)
    try:
        twice = _twice(yaml.compose(text, Loader=yaml.SafeLoader))
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return value
    if twice is not None:
        raise AnsibleFilterError("the key %s is named twice; keep one of them" % twice)
    return _without_dates(found) if isinstance(found, dict) else value


class FilterModule:
    """What Ansible looks for in a file of filters."""

    def filters(self):
        """The filter by its name."""
        return {"inventory_map": inventory_map}
