# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each host, for people."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_summary
short_description: What became of each host in a rollout
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - What hosts were taken from, what to, how long it took, and why they stopped. Hosts of which the same is to be said
    share a line, so a reason is there once.
positional: hostvars, left_out, change
options:
  _input:
    description: Names of the hosts, in the order in which they were to be taken.
    type: list
    elements: str
    required: true
  hostvars:
    description: C(hostvars).
    type: dict
    required: true
  left_out:
    description: How many hosts of the group are left out on purpose.
    type: int
    default: 0
  change:
    description: The id of the change, which is said where a host was changed.
    type: str
"""

EXAMPLES = r"""
- name: Say what became of each host
  ansible.builtin.debug:
    msg: "{{ groups.mesos_agents | mesos.containerizer.rollout_summary(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample:
    - "agent-1  done         1 (0.1.0-0d9be1aa4c07) -> 2 (0.1.0-5f2c9e0b7a41), flags: gc_delay, restarted  4.2 s"
"""

from ansible_collections.mesos.containerizer.plugins.plugin_utils._rollout_records import (
    ended,
    reason,
    recorded,
    took,
)
from ansible_collections.mesos.containerizer.plugins.plugin_utils._switch_words import what as what_was_done

_WIDEST = 40


def _took(seconds):
    """How long hosts took: one time, or from the shortest to the longest."""
    if not seconds:
        return ""
    shortest, longest = "%.1f" % min(seconds), "%.1f" % max(seconds)
    return shortest + " s" if shortest == longest else "%s to %s s" % (shortest, longest)


def _groups(names, hostvars):
    """{(state, what was done, why): {host: seconds or None}}, in the order in which hosts are taken."""
    groups = {}
    for name in names:
        record = recorded(hostvars, name)
        done = record or {}
        groups.setdefault((ended(record), what_was_done(done.get("switched")), reason(done)), {})[name] = took(done)
    return groups


def rollout_summary(names, hostvars, left_out=0, change=None):
    """What became of all hosts, each with the others of its kind, and how many of each kind."""
    groups, counts = _groups(names, hostvars), {}
    for kind, hosts in groups.items():
        counts[kind[0]] = counts.get(kind[0], 0) + len(hosts)
    rows = [
        (", ".join(hosts), state, what, _took([s for s in hosts.values() if s is not None]), why)
        for (state, what, why), hosts in groups.items()
    ]
    # A column as wide as the names of a whole wave would push all else out of sight.
    widths = [max([len(row[column]) for row in rows if len(row[column]) <= _WIDEST] or [0]) for column in range(3)]
    lines = []
    for hosts, state, what, time, why in rows:
        line = "%s  %s  %s  %s" % (hosts.ljust(widths[0]), state.ljust(widths[1]), what.ljust(widths[2]), time)
        lines.append(line.rstrip() + (": " + why if why else ""))
    total = "1 host" if len(names) == 1 else "%d hosts" % len(names)
    left_out = int(left_out)  # before 2.19 a number that was calculated arrives as text
    rest = ", and %d of the group that --limit leaves out" % left_out if left_out else ""
    # Only a switch is pending at some time: what a rollback does belongs to no new change.
    made = [
        done for done in (recorded(hostvars, name) or {} for name in names) if "pending" in done.get("switched", {})
    ]
    if change and any(done["state"] == "done" for done in made):
        lines.append("change %s; rollback with mesos_agent_rollback_change=%s takes it back" % (change, change))
    return lines + ["%s: %s%s" % (total, ", ".join("%d %s" % (counts[s], s) for s in sorted(counts)), rest)]


class FilterModule:
    """The filter mesos.containerizer.rollout_summary."""

    def filters(self):
        return {"rollout_summary": rollout_summary}
