# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout has recorded of its hosts, at the price of a look-up a host.

`hostvars` puts together all variables of a host whenever one of them is read: a millisecond, which a fleet asked of in
every host's task pays by the square of its size. What is recorded is a fact that was set, and nothing else is read.
"""

from __future__ import annotations

# A host that has begun and has recorded no end has died in the middle.
LOST = ("begun", "failed", "unreachable")
THROUGH = ("done", "unchanged", "would change")


def recorded(hostvars, name):
    """mesos_agent_rollout of a host; None: nobody has looked at it."""
    return hostvars._variable_manager._nonpersistent_fact_cache.get(name, {}).get("mesos_agent_rollout")
