#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: shim_uninstall
short_description: Take the shim away, and a host back to what it was before
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Takes the host back to what it was before its first generation; flags, configuration and the agent's unit.
  - The drop-in that keeps executors alive stays in force until the agent has been restarted and is well again. If that
    takes more than O(timeout) seconds, it is a failure, and the shim stays installed.
  - Removes releases, launcher directory, timers and generations. What else lies below O(prefix) stays.
extends_documentation_fragment:
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.agent.well
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
  - mesos.containerizer.shim.tools
attributes:
  diff_mode:
    description: RV(actions) names the parts that change.
    support: none
options:
  force:
    description:
      - Whether it goes on although containers that the shim started still run, or although it is not known what the
        host was before, because its generations were lost.
    type: bool
    default: false
seealso:
  - module: mesos.containerizer.agent_generation
"""

EXAMPLES = r"""
- name: Leave the host as it was
  mesos.containerizer.shim_uninstall:
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [unit, release, config, flags, timers, remove]
restarted:
  description: Whether the agent was restarted.
  returned: when something was done
  type: bool
  sample: true
lost_containers:
  description: Ids of containers whose process ended during the restart.
  returned: when something was done
  type: list
  elements: str
  sample: []
before:
  description: Generation and release before.
  returned: success
  type: dict
  sample: {generation: 2, release: 0.1.0-5f2c9e0b7a41}
after:
  description: Generation and release now, which are none.
  returned: success
  type: dict
  sample: {generation: null, release: null}
"""

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import (
    CLAIM,
    ENDPOINTS,
    PREFIX,
    TOOLS,
    WELL,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import answer
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_uninstall import Uninstallation


def main():
    module = SecretiveModule(
        argument_spec={
            **PREFIX,
            **CLAIM,
            **TOOLS,
            **ENDPOINTS,
            **WELL,
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    answer(module, Uninstallation)


if __name__ == "__main__":
    main()
