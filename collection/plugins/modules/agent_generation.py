#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_generation
short_description: Take a host forward to a new generation
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - A generation is what makes an agent's host behave as it does, together; the agent's flags, the release of the shim,
    its configuration and the drop-in of the agent's unit. They are switched together and taken back together.
  - Every generation is kept in C(generations) below the prefix. Number 0 is the host as it was before the first one.
  - Makes O(flags), O(release), O(config) and the drop-in the host's, and restarts the agent where that is needed.
  - A generation is pending until M(mesos.containerizer.agent_generation_confirm) says that it is good. A run that was
    killed in between is seen by the next one, which finishes it, or M(mesos.containerizer.agent_generation_restore)
    takes it back.
  - An agent that would not recover from a change of its identity, such as C(attributes) or C(resources), comes back
    under a new id. For that C(meta/slaves/latest) in its work_dir is renamed; going back renames it back.
  - Until then the host is claimed for this run, and other runs refuse it.
  - Playbooks call it; see C(mesos.containerizer.rollout).
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.agent
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.agent.change
  - mesos.containerizer.agent.environment
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
  - mesos.containerizer.shim.tools
  - mesos.containerizer.shim.kept
attributes:
  diff_mode:
    description: Shows flags, configuration, release and drop-in before and after, secrets masked.
options:
  path:
    description: The flags directory.
    type: path
    required: true
  flags:
    description: All flags, as M(mesos.containerizer.agent_flags) takes them. What is not named is removed.
    type: dict
    default: {}
  release:
    description: Name of a staged release. Default leaves the current one.
    type: str
  config:
    description:
      - Configuration of the shim, as M(mesos.containerizer.shim_release) takes it. Default leaves it alone.
    type: dict
  default_container_info:
    description: The default ContainerInfo, in place of the one in O(config), where it is not empty.
    type: dict
    default: {}
  service:
    description: The agent's unit. Without one nothing is restarted.
  drop_in:
    description:
      - Whether the unit gets a drop-in with C(Delegate=yes), C(KillMode=process) and C(PrivateTmp=no), without which
        its executors do not survive a restart or do not see the host's C(/tmp).
      - If the agent is not root's, the drop-in also has a C(RuntimeDirectory=) for that user's records.
    type: bool
    default: true
  confirm:
    description: Whether a new generation counts as good at once.
    type: bool
    default: false
  allowed_losses:
    description:
      - How many containers may run on an agent that comes back under a new id, which ends them. With more nothing is
        changed.
    type: int
    default: 0
    version_added: 0.3.0
  change:
    description:
      - Id of the change that a new generation is part of, kept with it. By it
        M(mesos.containerizer.agent_generation_restore) knows the hosts that the change has touched. Default is an id of
        the run.
    type: str
    version_added: 0.3.0
  claimed:
    description:
      - Whether M(mesos.containerizer.shim_release) has claimed the host for this run. If it is no longer claimed, the
        switch is refused.
    type: bool
    default: false
    version_added: 0.3.0
seealso:
  - module: mesos.containerizer.agent_generation_confirm
  - module: mesos.containerizer.agent_generation_restore
  - module: mesos.containerizer.agent_gate
"""

EXAMPLES = r"""
- name: Switch flags, release and configuration together
  mesos.containerizer.agent_generation:
    path: /etc/mesos-slave
    flags:
      master: zk://10.0.0.1:2181/mesos
      work_dir: /var/lib/mesos
      launcher_dir: /opt/mesos-shim/launcher
    release: 0.1.0-5f2c9e0b7a41
    service: mesos-slave
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: success
  type: list
  elements: str
  sample: [unit, release, config, flags, restart]
generation:
  description: The host's generation now.
  returned: success
  type: int
  sample: 2
before:
  description: Generation and release before.
  returned: success
  type: dict
  sample: {generation: 1, release: 0.1.0-0d9be1aa4c07}
after:
  description: Generation and release now.
  returned: success
  type: dict
  sample: {generation: 2, release: 0.1.0-5f2c9e0b7a41}
pending:
  description: Whether the generation is to be confirmed.
  returned: success
  type: bool
  sample: true
restarted:
  description: Whether the agent was restarted.
  returned: success
  type: bool
  sample: true
changed_flags:
  description: As of M(mesos.containerizer.agent_flags).
  returned: success
  type: list
  elements: dict
  sample:
    - {name: gc_delay, before: 1weeks, after: 2days, effect: restart}
foreign_files:
  description: As of M(mesos.containerizer.agent_flags).
  returned: success
  type: list
  elements: str
  sample: [isolation.rpmnew]
closed_paths:
  description: What of the installation other users could not enter or read, because of a umask for example.
  returned: success
  type: list
  elements: str
  sample: [/etc/mesos-shim]
writable_paths:
  description: What of the installation others than its owner could write.
  returned: success
  type: list
  elements: str
  sample: [/etc/mesos-shim/config.json]
changed_config:
  description: Keys of the shim's configuration whose value changes; none where it could not be read, or was not there.
  returned: success
  type: list
  elements: str
  sample: [hide_work_dir]
restart_required:
  description: As of M(mesos.containerizer.agent_flags).
  returned: success
  type: bool
  sample: true
agent_id:
  description: The agent's id before the restart, where it answered.
  returned: success
  type: str
  sample: 20140806-013434-1527386378-5050-42-S1
same_agent:
  description: Whether the agent is to keep its id; it need not after an incompatible change.
  returned: success
  type: bool
  sample: true
containers:
  description: Containers that lived through the restart, by id, with their process.
  returned: success
  type: dict
  sample: {5b1bd9e2-0c29-4b9e-9a07-3cf4b1c63c5f: {pid: 4242, start_time: 99120}}
lost_containers:
  description: Ids of containers whose process ended during the restart.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import (
    CHANGE,
    CLAIM,
    ENDPOINTS,
    ENVIRONMENT,
    KEPT,
    PREFIX,
    SERVICE,
    TOOLS,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._generation_activate import Activation
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import answer


def main():
    module = SecretiveModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "flags": {"type": "dict", "default": {}},
            **CHANGE,
            **ENVIRONMENT,
            **PREFIX,
            **CLAIM,
            "release": {"type": "str"},
            "config": {"type": "dict"},
            "default_container_info": {"type": "dict", "default": {}},
            **TOOLS,
            **SERVICE,
            "drop_in": {"type": "bool", "default": True},
            **ENDPOINTS,
            "allowed_losses": {"type": "int", "default": 0},
            "confirm": {"type": "bool", "default": False},
            "change": {"type": "str"},
            "claimed": {"type": "bool", "default": False},
            **KEPT,
        },
        supports_check_mode=True,
    )
    answer(module, Activation)


if __name__ == "__main__":
    main()
