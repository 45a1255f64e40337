# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of a survey."""

from __future__ import annotations

DOCUMENTATION = r"""
name: inventory_list
short_description: The list that a survey has given as text
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - A survey gives a list as text. Its items are separated by commas or line breaks, or it is a list of YAML or JSON in
    brackets. Nothing is an empty list, and anything else stays as it is.
options:
  _input:
    description: The list, or its text.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Flags that may change
  ansible.builtin.set_fact:
    flags: "{{ 'isolation, ip' | mesos.containerizer.inventory_list }}"
"""

RETURN = r"""
_value:
  description: The list.
  type: raw
"""

import re

import yaml


def inventory_list(value):
    """The list of a text, of nothing an empty one; what is in brackets and no list stays what it is."""
    if not isinstance(value, str):
        return [] if value is None else value
    text = str.__str__(value).strip()
    if not text.startswith("["):
        return [item.strip() for item in re.split(r"[,\n]", text) if item.strip()]
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return value
    return found if isinstance(found, list) and not any(isinstance(item, (list, dict)) for item in found) else value


class FilterModule:
    """What Ansible looks for in a file of filters."""

    def filters(self):
        """The filter by its name."""
        return {"inventory_list": inventory_list}
