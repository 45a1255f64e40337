# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback is about to do, and whether that is one change."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollback_plan
short_description: What a rollback is about to do
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Says where each host would be taken back to, and which change that takes back.
  - Hosts that are not in the same change are a problem, unless the operator has chosen what to take back. After a
    rollout of some hosts only, going back by one generation would take an older change back on all others.
positional: hostvars
options:
  _input:
    description: Names of the hosts, in the order in which they are taken.
    type: list
    elements: str
    required: true
  hostvars:
    description: C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Say what a rollback is about to do
  ansible.builtin.debug:
    msg: "{{ (ansible_play_hosts_all | mesos.containerizer.rollback_plan(hostvars)).lines }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: C(lines) for people, and in C(problem) why nothing can be done, or nothing.
  type: dict
"""

from ansible_collections.mesos.containerizer.plugins.plugin_utils._rollout_records import recorded
from ansible_collections.mesos.containerizer.plugins.plugin_utils._switch_words import what

_NAMES = 4  # so many are read at a glance


def rollback_plan(names, hostvars):
    """{"lines", "problem"}."""
    groups, changes = {}, {}
    for name in names:
        record = recorded(hostvars, name) or {}
        planned = record.get("planned")
        if planned is None:
            continue  # refused, or unreachable: the summary says so
        change = planned.get("change") if planned.get("changed") else None
        groups.setdefault((what(planned), change), []).append(name)
        if planned.get("changed") and not record.get("chosen"):
            changes.setdefault(planned.get("change"), []).append(name)
    lines = [
        "%s: %s%s" % (", ".join(hosts), text, ", takes back change %s" % change if change else "")
        for (text, change), hosts in groups.items()
    ]
    return {"lines": lines, "problem": _problem(changes) if len(changes) > 1 else ""}


def _problem(changes):
    found = ["%s (%s)" % (change or "a change without an id", _listed(hosts)) for change, hosts in changes.items()]
    named = next(change for change in changes if change)
    return (
        "the hosts are in different changes, %s; say which to take back, for example with "
        "-e mesos_agent_rollback_change=%s, or choose hosts with --limit" % (", ".join(found), named)
    )


def _listed(names):
    if len(names) > _NAMES:
        return "%s and %d more" % (", ".join(names[: _NAMES - 1]), len(names) - _NAMES + 1)
    return ", ".join(names)


class FilterModule:
    """The filter mesos.containerizer.rollback_plan."""

    def filters(self):
        return {"rollback_plan": rollback_plan}
