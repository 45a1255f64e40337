# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containers use, for people."""

from __future__ import annotations

DOCUMENTATION = r"""
name: usage_lines
short_description: What containers use, one line each
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Makes lines of what M(mesos.containerizer.container_usage_info) returns.
options:
  _input:
    description: The containers.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what every container uses
  ansible.builtin.debug:
    msg: "{{ usage.containers | mesos.containerizer.usage_lines }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample:
    - "5b1bd9e2-0c29-4b9e-9a07-3cf4b1c63c5f  enforced  3 processes  cpu 13.2 s  memory 50.0 MB"
"""


def usage_lines(containers):
    """One line a container; what is not known is left out."""
    lines = []
    for item in containers:
        known = item.get("statistics") or {}
        parts = [item["container_id"], item.get("mode") or "unknown"]
        if "processes" in known:
            parts.append("%d processes" % known["processes"])
        if "cpus_user_time_secs" in known:
            parts.append("cpu %.1f s" % (known["cpus_user_time_secs"] + known.get("cpus_system_time_secs", 0)))
        if "mem_rss_bytes" in known:
            limit = " of %.1f" % (known["mem_limit_bytes"] / 1048576) if known.get("mem_limit_bytes") else ""
            parts.append("memory %.1f%s MB" % (known["mem_rss_bytes"] / 1048576, limit))
        lines.append("  ".join(parts))
    return lines or ["no container"]


class FilterModule:
    """The filter mesos.containerizer.usage_lines."""

    def filters(self):
        return {"usage_lines": usage_lines}
