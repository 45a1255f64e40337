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


def ended(record):
    """How a host ended, by what the rollout has recorded of it; None: nobody has looked at it."""
    if record is None:
        return "not looked at"
    state = record.get("state") or "not started"
    return "died" if state in ("begun", "passed") else state


def took(record):
    """Seconds, or None."""
    return record["ended"] - record["began"] if record.get("ended") and record.get("began") else None


def reason(record):
    """Why, in one line."""
    return " ".join(str(record.get("why") or "").split())
