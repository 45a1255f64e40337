#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_generation
short_description: Take a host from one generation to another
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - A generation is what makes an agent's host behave as it does, together; the agent's flags, the release of the shim,
    its configuration and the drop-in of the agent's unit. They are switched together and taken back together.
  - Every generation is kept in C(generations) below the prefix. Number 0 is the host as it was before the first one.
  - A generation is pending until it is confirmed. A run that was killed in between is seen by the next one, which
    finishes it or takes it back.
  - Playbooks call it; see C(mesos.containerizer.rollout).
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.agent
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.agent.change
  - mesos.containerizer.shim
  - mesos.containerizer.shim.tools
attributes:
  diff_mode:
    description: Shows flags, configuration, release and drop-in before and after, secrets masked.
options:
  state:
    description:
      - V(active) makes O(flags), O(release), O(config) and the drop-in the host's, and restarts the agent where
        that is needed.
      - V(confirmed) says that the pending generation is good, and removes old ones.
      - V(restored) takes the host back, from a pending generation to the last good one, else to the one before.
      - V(absent) takes the host back to what it was before the first generation, and the shim away.
    type: str
    choices: [active, confirmed, restored, absent]
    default: active
  path:
    description: The flags directory. Required for O(state=active); other states know it.
    type: path
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
    type: bool
    default: true
  confirm:
    description: Whether a new generation counts as good at once.
    type: bool
    default: false
  generation:
    description: The generation that O(state=restored) goes to.
    type: int
  reason:
    description: Why O(state=restored) is asked for; kept with the generations that are left.
    type: str
  pending_only:
    description: Whether O(state=restored) leaves a host alone that has no pending generation.
    type: bool
    default: false
  once:
    description:
      - Whether O(state=restored) leaves a host alone that was taken back already, by the operator or after a failed
        gate, and has had no new generation since. So a rollback that was stopped can be run again.
      - Not where O(generation) is given.
    type: bool
    default: false
  required:
    description: Whether O(state=restored) fails where there is nothing to go back to.
    type: bool
    default: true
  keep:
    description: How many generations stay, the good one among them. The host as it was before is kept besides.
    type: int
    default: 3
  keep_releases:
    description: How many releases stay. Those that a generation needs, or a process runs from, are kept besides.
    type: int
    default: 2
  force:
    description: Whether O(state=absent) goes on although containers that the shim started still run.
    type: bool
    default: false
seealso:
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

- name: Take them back together
  mesos.containerizer.agent_generation:
    state: restored
    reason: the gate failed
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  returned: O(state=active), O(state=restored) or O(state=absent)
  type: list
  elements: str
  sample: [unit, release, config, flags, restart]
generation:
  description: The host's generation now.
  returned: all but O(state=absent)
  type: int
  sample: 2
before:
  description: Generation and release before.
  returned: all but O(state=confirmed)
  type: dict
  sample: {generation: 1, release: 0.1.0-0d9be1aa4c07}
after:
  description: Generation and release now.
  returned: all but O(state=confirmed)
  type: dict
  sample: {generation: 2, release: 0.1.0-5f2c9e0b7a41}
pending:
  description: Whether the generation is to be confirmed.
  returned: O(state=active)
  type: bool
  sample: true
restarted:
  description: Whether the agent was restarted.
  returned: O(state=active) or O(state=restored)
  type: bool
  sample: true
changed_flags:
  description: As of M(mesos.containerizer.agent_flags).
  returned: O(state=active)
  type: list
  elements: dict
  sample:
    - {name: gc_delay, before: 1weeks, after: 2days, effect: restart}
foreign_files:
  description: As of M(mesos.containerizer.agent_flags).
  returned: O(state=active)
  type: list
  elements: str
  sample: [isolation.rpmnew]
closed_paths:
  description: What of the installation other users could not enter or read, because of a umask for example.
  returned: O(state=active)
  type: list
  elements: str
  sample: [/etc/mesos-shim]
restart_required:
  description: As of M(mesos.containerizer.agent_flags).
  returned: O(state=active)
  type: bool
  sample: true
agent_id:
  description: The agent's id before the restart, where it answered.
  returned: O(state=active) or O(state=restored)
  type: str
  sample: 20140806-013434-1527386378-5050-42-S1
same_agent:
  description: Whether the agent is to keep its id; it need not after an incompatible change.
  returned: O(state=active) or O(state=restored)
  type: bool
  sample: true
containers:
  description: Containers that lived through the restart, by id, with their process.
  returned: O(state=active) or O(state=restored)
  type: dict
  sample: {5b1bd9e2-0c29-4b9e-9a07-3cf4b1c63c5f: {pid: 4242, start_time: 99120}}
lost_containers:
  description: Ids of containers whose process ended during the restart.
  returned: O(state=active) or O(state=restored)
  type: list
  elements: str
  sample: []
drained:
  description: Whether a rollout that was stopped has left the host in the master's maintenance schedule.
  returned: O(state=restored)
  type: bool
  sample: false
already:
  description: With O(once), from which generation the host was taken back before, and why; V(null) where it was not.
  returned: O(state=restored)
  type: str
  sample: "from generation 3: rolled back by the operator"
flags_path:
  description: The flags directory that was restored.
  returned: O(state=restored) where there was something to go back to
  type: str
  sample: /etc/mesos-slave
service:
  description: The unit that was restored.
  returned: O(state=restored) where there was something to go back to
  type: str
  sample: mesos-slave
"""

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import (
    CHANGE,
    ENDPOINTS,
    PREFIX,
    SERVICE,
    TOOLS,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import GenerationError, Host
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import NoPython
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import InstallError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def main():
    module = SecretiveModule(
        argument_spec={
            "state": {"type": "str", "choices": ["active", "confirmed", "restored", "absent"], "default": "active"},
            "path": {"type": "path"},
            "flags": {"type": "dict", "default": {}},
            **CHANGE,
            **PREFIX,
            "release": {"type": "str"},
            "config": {"type": "dict"},
            "default_container_info": {"type": "dict", "default": {}},
            **TOOLS,
            **SERVICE,
            "drop_in": {"type": "bool", "default": True},
            **ENDPOINTS,
            "confirm": {"type": "bool", "default": False},
            "generation": {"type": "int"},
            "reason": {"type": "str"},
            "pending_only": {"type": "bool", "default": False},
            "once": {"type": "bool", "default": False},
            "required": {"type": "bool", "default": True},
            "keep": {"type": "int", "default": 3},
            "keep_releases": {"type": "int", "default": 2},
            "force": {"type": "bool", "default": False},
        },
        required_if=[("state", "active", ["path"])],
        supports_check_mode=True,
    )
    try:
        host = Host(module)
        act = {"active": host.activate, "confirmed": host.confirm, "restored": host.restore, "absent": host.remove}
        result = act[module.params["state"]]()
    except (FlagError, GenerationError, InstallError, NoPython, ServiceError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, module.params["prefix"], "mesos_shim_prefix"))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
