# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a rollout goes on."""

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_stopped
short_description: Which hosts stop a rollout
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - A refused host stops it, since nothing has changed anywhere yet, and so do hosts of a wave that nobody has
    confirmed, and more failed and unreachable hosts than may be.
  - However many may fail, nothing begins after hosts of which none has come through.
positional: hostvars, present, allowed, batch
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
  present:
    description: Those that have not left the play.
    type: list
    elements: str
    required: true
  allowed:
    description: How many hosts may fail or be unreachable.
    type: int
    default: 0
  batch:
    description: Those of the wave.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: See whether to go on
  ansible.builtin.set_fact:
    stopped_by: >-
      {{ ansible_play_hosts_all
         | mesos.containerizer.rollout_stopped(hostvars, ansible_play_hosts, 2, ansible_play_batch) }}
  run_once: true
"""

RETURN = r"""
_value:
  description: Their names; empty where the rollout goes on.
  type: list
  elements: str
"""

from ansible_collections.mesos.containerizer.plugins.plugin_utils._rollout_records import LOST, THROUGH, recorded


def rollout_stopped(names, hostvars, present, allowed=0, batch=()):
    """The hosts that stop a rollout before the next ones begin."""
    states = {name: (recorded(hostvars, name) or {}).get("state") for name in names}
    present, batch = set(present), set(batch)
    refused = [name for name, state in states.items() if state in ("refused", "not confirmed")]
    # Within its wave a host that has passed its gate waits for the others; after it, it has died while it did.
    lost = [
        name
        for name, state in states.items()
        if state in LOST or name not in present or (state == "passed" and name not in batch)
    ]
    if refused or len(lost) > int(allowed):  # before 2.19 a number that was calculated arrives as text
        return [name for name in names if name in set(refused + lost)]
    through = any(state in THROUGH or (state == "passed" and name in batch) for name, state in states.items())
    first = next((number for number, name in enumerate(names) if name in batch), 0)
    tried = [name for name in lost if states[name] in ("begun", "failed") or name in names[:first]]
    return [] if through else tried


class FilterModule:
    """The filter mesos.containerizer.rollout_stopped."""

    def filters(self):
        return {"rollout_stopped": rollout_stopped}
