#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: container_usage_info
short_description: What every container on a host uses
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Returns what C(mesos-shim usage) knows of the containers that it launched on the host.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.info_module
options:
  program:
    description: Path of C(mesos-shim) on the host.
    type: path
    default: /opt/mesos-shim/bin/mesos-shim
  container_ids:
    description: Only these containers. Default is all.
    type: list
    elements: str
    default: []
  agent_containers:
    description:
      - Containers that the agent runs, by id, with their process, as M(mesos.containerizer.agent_gate) returns them in
        RV(mesos.containerizer.agent_gate#module:running). Those that the shim does not know are in RV(without_shim).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Ask what all containers use
  mesos.containerizer.container_usage_info:
  register: usage

- name: Fail where containers run without their isolation
  ansible.builtin.assert:
    that: usage.containers | rejectattr('mode', 'eq', 'enforced') | length == 0
"""

RETURN = r"""
containers:
  description: One item a container; statistics are those of Mesos's ResourceStatistics.
  returned: success
  type: list
  elements: dict
  sample:
    - container_id: 5b1bd9e2-0c29-4b9e-9a07-3cf4b1c63c5f
      executor_id: thermos-1
      framework_id: 20140806-013434-1527386378-5050-42-0000
      pid: 4242
      mode: enforced
      isolation: [filesystem/shared, posix/cpu, posix/mem]
      volumes: [{container_path: /tmp, host_path: tmp, mode: RW}]
      statistics:
        timestamp: 1767225600.25
        processes: 3
        threads: 9
        cpus_user_time_secs: 12.5
        cpus_system_time_secs: 0.75
        mem_rss_bytes: 52428800
without_shim:
  description: Ids of O(agent_containers) that still run and that the shim did not start.
  returned: success
  type: list
  elements: str
  sample: []
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import alive


def without_shim(of_agent, containers):
    """Ids of the agent's containers that run and are none of the shim's; without a process nobody can tell."""
    # An agent of 0.21 names them by their executors.
    known = {item.get(name) for item in containers for name in ("container_id", "executor_id")}
    running = alive({name: item for name, item in of_agent.items() if item.get("pid")})
    return sorted(set(running) - known)


def main():
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "default": "/opt/mesos-shim/bin/mesos-shim"},
            "container_ids": {"type": "list", "elements": "str", "default": []},
            "agent_containers": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    program = module.params["program"]
    # "--": an id that starts with a dash is an id.
    command = [program, "usage", "--format", "json"] + (["--"] + module.params["container_ids"])
    try:
        code, out, err = module.run_command(command, handle_exceptions=False)
    except OSError as error:
        module.fail_json(msg="program %s cannot be run: %s; is the shim installed?" % (program, error.strerror))
    if code != 0:
        module.fail_json(msg="%s usage ended with %d: %s" % (program, code, (err or out).strip()))
    try:
        containers = json.loads(out)
    except ValueError as error:
        module.fail_json(msg="%s usage printed no JSON: %s" % (program, error))
    others = without_shim(module.params["agent_containers"], containers)
    module.exit_json(changed=False, containers=containers, without_shim=others)


if __name__ == "__main__":
    main()
