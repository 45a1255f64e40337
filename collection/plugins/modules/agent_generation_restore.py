#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_generation_restore
short_description: Take a host back to an earlier generation
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Takes the host back, from a pending generation to the last good one, else to the one before; flags, release,
    configuration and drop-in together, then the agent.
  - The flags directory and the unit are those that the generation was recorded with.
  - A drop-in that keeps executors alive stays in force until the agent has been restarted and is well again. If that
    takes more than O(timeout) seconds, it is a failure, the drop-in stays, and the restoration can be run again.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.agent.well
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
  - mesos.containerizer.shim.tools
attributes:
  diff_mode:
    description: RV(actions) names the parts that change.
    support: none
options:
  generation:
    description: The generation to go to.
    type: int
  reason:
    description: Why; kept with the generations that are left.
    type: str
  pending_only:
    description: Whether a host is left alone that has no pending generation.
    type: bool
    default: false
  once:
    description:
      - Whether a host is left alone that was taken back already, by the operator or after a failed gate, and has had no
        new generation since. So a rollback that was stopped can be run again.
      - Not where O(generation) is given.
    type: bool
    default: false
  changes:
    description:
      - Ids of changes. A host whose generation is part of none of them is left alone. Default is any change.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  plan:
    description:
      - Whether only to say what would be done, and to claim the host for it, so that no other run changes it meanwhile.
        The restoration, or M(mesos.containerizer.agent_claim_release), ends the claim.
    type: bool
    default: false
    version_added: 0.3.0
  required:
    description: Whether it is a failure that there is nothing to go back to.
    type: bool
    default: true
seealso:
  - module: mesos.containerizer.agent_generation
  - module: mesos.containerizer.agent_gate
"""

EXAMPLES = r"""
- name: Take flags, release and configuration back together
  mesos.containerizer.agent_generation_restore:
    reason: the gate failed
"""

RETURN = r"""
already:
  description: With O(once), from which generation the host was taken back before, and why; V(null) where it was not.
  returned: success
  type: str
  sample: "from generation 3: rolled back by the operator"
change:
  description: Id of the change that the host was part of; V(null) where it was part of none.
  returned: success
  type: str
  sample: 20261130T103022Z-5f2c
drained:
  description: Whether a rollout that was stopped has left the host in the master's maintenance schedule.
  returned: success
  type: bool
  sample: false
flags_path:
  description: The flags directory that was restored.
  returned: where there was something to go back to
  type: str
  sample: /etc/mesos-slave
service:
  description: The unit that was restored.
  returned: where there was something to go back to
  type: str
  sample: mesos-slave
# What follows is as of agent_generation.
actions: {description: What was done or would be done in check mode., returned: success, type: list, elements: str}
generation: {description: The host's generation now., returned: success, type: int}
before: {description: Generation and release before., returned: success, type: dict}
after: {description: Generation and release now., returned: success, type: dict}
restarted: {description: Whether the agent was restarted., returned: success, type: bool}
agent_id: {description: The agent's id before the restart., returned: success, type: str}
same_agent: {description: Whether the agent is to keep its id., returned: success, type: bool}
containers: {description: Containers that lived through the restart., returned: success, type: dict}
lost_containers: {description: Containers that did not., returned: success, type: list, elements: str}
"""

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import (
    CLAIM,
    ENDPOINTS,
    PREFIX,
    TOOLS,
    WELL,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._generation_restore import Restoration
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import answer


def main():
    module = SecretiveModule(
        argument_spec={
            **PREFIX,
            **CLAIM,
            **TOOLS,
            **ENDPOINTS,
            **WELL,
            "generation": {"type": "int"},
            "reason": {"type": "str"},
            "pending_only": {"type": "bool", "default": False},
            "once": {"type": "bool", "default": False},
            "changes": {"type": "list", "elements": "str", "default": []},
            "plan": {"type": "bool", "default": False},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    answer(module, Restoration)


if __name__ == "__main__":
    main()
