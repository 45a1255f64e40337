# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each host, for programs."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_result
short_description: What became of each host in a rollout, for programs
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - The content of the file that O(mesos.containerizer.mesos_agent#role:main:mesos_agent_rollout_result) names. The
    playbooks set the same without C(hosts) as the custom statistic C(mesos_rollout).
positional: hostvars, change
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
  change:
    description: The id of the change.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep what became of each host
  ansible.builtin.set_fact:
    result: "{{ groups.mesos_agents | mesos.containerizer.rollout_result(hostvars, 'CHG-17') }}"
"""

RETURN = r"""
_value:
  description:
    - C(change), how many hosts ended in each state as C(counts), and in C(failed) each failed host with its reason.
    - In C(hosts) each host with its C(state), C(why), C(seconds), C(changed), C(restarted), C(flags), and C(before) and
      C(after), each with C(generation) and C(release).
  type: dict
"""

from ansible_collections.mesos.containerizer.plugins.plugin_utils._rollout_records import (
    ended,
    reason,
    recorded,
    took,
)

_WELL = ("done", "unchanged", "would change", "not started")


def _place(where):
    where = where or {}
    return {"generation": where.get("generation"), "release": where.get("release")}


def _host(record):
    done = record or {}
    switched = done.get("switched") or {}
    seconds = took(done)
    return {
        "state": ended(record),
        "why": reason(done),
        "seconds": None if seconds is None else round(seconds, 1),
        "changed": bool(switched.get("changed")),
        "restarted": bool(switched.get("restarted")),
        "flags": [change["name"] for change in switched.get("changed_flags") or []],
        "before": _place(switched.get("before")),
        "after": _place(switched.get("after")),
    }


def rollout_result(names, hostvars, change):
    """{"change", "counts", "failed", "hosts"}."""
    hosts = {name: _host(recorded(hostvars, name)) for name in names}
    states = [host["state"] for host in hosts.values()]
    return {
        "change": change,
        "counts": {state: states.count(state) for state in sorted(set(states))},
        "failed": {name: host["why"] or host["state"] for name, host in hosts.items() if host["state"] not in _WELL},
        "hosts": hosts,
    }


class FilterModule:
    """The filter mesos.containerizer.rollout_result."""

    def filters(self):
        return {"rollout_result": rollout_result}
