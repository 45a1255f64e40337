# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host differs from its inventory, for people."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drift
short_description: Where a host differs from its inventory
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Makes lines of what the modules of this collection have found in check mode; none where the host is as it should be.
positional: preflight, staged, timers, gate
options:
  _input:
    description: What M(mesos.containerizer.agent_generation) returned.
    type: dict
    required: true
  preflight:
    description: What M(mesos.containerizer.agent_preflight_info) returned.
    type: dict
    required: true
  staged:
    description: What M(mesos.containerizer.shim_release) returned, called with C(state=staged).
    type: dict
    required: true
  timers:
    description: What M(mesos.containerizer.shim_timers) returned.
    type: dict
    required: true
  gate:
    description: What M(mesos.containerizer.agent_gate) returned, where the agent was asked.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Say what differs
  ansible.builtin.assert:
    that: drift | length == 0
    fail_msg: "{{ drift | join('; ') }}"
  vars:
    drift: "{{ switched | mesos.containerizer.drift(found, staged, timers) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["release 0.1.0-0d9be1aa4c07 instead of 0.2.0-5f2c9e0b7a41", flag gc_delay]
"""


def drift(switched, preflight, staged, timers, gate=None):
    """Everything that differs, the release first."""
    return [
        *_unfinished(switched, preflight, staged),
        *_installation(switched, staged),
        *_units(switched, timers),
        *_flags(switched),
        *((gate or {}).get("problems") or []),
    ]


def _unfinished(switched, preflight, staged):
    """What a rollout has still to do, or has left behind."""
    for wrong in staged["damage"]:
        yield "release %s: %s" % (staged["release"], wrong)
    if staged["changed"] and not staged["damage"]:
        yield "release %s is not staged" % staged["release"]
    if switched["pending"]:
        yield "an unfinished switch"
    if preflight["drained"]:
        yield "in maintenance because a rollout was stopped"


def _installation(switched, staged):
    if "release" in switched["actions"]:
        yield "release %s instead of %s" % (switched["before"]["release"] or "none", staged["release"])
    for path in switched["closed_paths"]:
        yield "%s is closed to other users" % path
    for path in switched["writable_paths"]:
        yield "%s can be written by others" % path
    if "config" in switched["actions"]:
        keys = ", ".join(switched["changed_config"])
        yield "configuration" + (": " + keys if keys else "")


def _units(switched, timers):
    if "unit" in switched["actions"]:
        yield "drop-in of the unit"
    for name in timers["units"]:
        yield "unit %s" % name
    for name in timers["started"]:
        if name not in timers["units"]:
            yield "%s is not running" % name
    if "enable" in switched["actions"]:
        yield "the unit is not enabled"


def _flags(switched):
    if "environment" in switched["actions"]:
        yield "variables of the init wrapper that double a flag"
    changed, unmanaged = switched["changed_flags"], switched["foreign_files"]
    for change in changed:
        yield "flag %s" % change["name"]
    for name in unmanaged:
        yield "unmanaged file %s" % name
    if "flags" in switched["actions"] and not changed and not unmanaged:
        yield "files of the flags directory: mode, owner or form"


class FilterModule:
    """The filter mesos.containerizer.drift."""

    def filters(self):
        return {"drift": drift}
