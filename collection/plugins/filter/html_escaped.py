# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes text of strangers harmless in a page: Jinja2's own autoescape has no effect in Ansible's templates."""

from __future__ import annotations

DOCUMENTATION = r"""
name: html_escaped
short_description: A structure whose every text is escaped for HTML
version_added: 0.2.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Escapes all strings in lists and maps, keys too, so that a template cannot forget one.
options:
  _input:
    description: Any value.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show text that comes from hosts
  ansible.builtin.debug:
    msg: "<p>{{ names | mesos.containerizer.html_escaped | join(' ') }}</p>"
"""

RETURN = r"""
_value:
  description: The same structure with escaped texts.
  type: raw
"""

from html import escape


def html_escaped(value):
    """`value` with every string in it escaped; numbers, booleans and None as they are."""
    if isinstance(value, str):
        return escape(str(value), quote=True)
    if isinstance(value, dict):
        return {html_escaped(key): html_escaped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [html_escaped(item) for item in value]
    return value


class FilterModule:
    """The filter mesos.containerizer.html_escaped."""

    def filters(self):
        return {"html_escaped": html_escaped}
