#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_drain
short_description: Drain an agent's host by its master's maintenance schedule
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Runs on the agent's host. The machine is named to the master as the agent names itself.
  - The master has one schedule for all machines, which is read, changed and written; let one host at a time do it
    (C(throttle) 1).
  - That it was this module who scheduled the machine is kept on the host, so that a run after one that was killed takes
    out what that one has put in, and leaves an operator's own maintenance alone.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.agent
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.shim
attributes:
  check_mode:
    description: Says what would be scheduled.
    support: full
  diff_mode:
    description: The schedule is not shown.
    support: none
options:
  state:
    description:
      - V(scheduled) puts the machine into the schedule, from now on, so that frameworks are asked to leave it.
      - V(empty) waits until the agent runs no container any more, and fails after O(timeout).
      - V(unscheduled) takes the machine out of the schedule, where it is known out of the window of O(state=scheduled)
        alone.
    type: str
    choices: [scheduled, empty, unscheduled]
    required: true
  master:
    description: Address of the leading master, for example C(http://10.0.0.1:5050).
    type: str
    required: true
  service:
    description: The agent's unit. Only what one of its processes answers is believed. It or O(url) must be given.
  url_username:
    description: Principal for the endpoints of agent and master.
  url_password:
    description: Secret for the endpoints of agent and master.
  prefix:
    description: Directory of the shim's installation, which keeps what O(state=scheduled) did.
  timeout:
    description: Seconds until the agent must be empty.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Ask the frameworks to leave this host
  mesos.containerizer.agent_drain:
    state: scheduled
    master: http://10.0.0.1:5050
    service: mesos-slave
  throttle: 1
"""

RETURN = r"""
machine:
  description: The machine as the master knows it.
  returned: success
  type: dict
  sample: {hostname: agent-1.example.com, ip: 10.0.0.11}
ours:
  description: Whether this module has put the machine into the schedule, now or in an earlier run, not somebody else.
  returned: O(state=scheduled)
  type: bool
  sample: true
containers:
  description: Ids of the containers that still run.
  returned: O(state=empty)
  type: list
  elements: str
  sample: []
"""

import json
import os
import time

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import (
    Api,
    ApiError,
    MasterError,
    access,
    agent,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import Service, ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import ENDPOINTS, PREFIX, SERVICE
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import Store
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def machine_of(state):
    """The MachineID that an agent registers with: its hostname, and the address in its pid, slave(1)@IP:PORT."""
    ip = (state.get("pid") or "").rpartition("@")[2].rpartition(":")[0].strip("[]")
    if not ip:
        raise ApiError("the agent does not say its address")
    return {"hostname": state.get("hostname") or "", "ip": ip}


def start_of(window):
    """When a window begins, in ns since 1970."""
    return int(((window.get("unavailability") or {}).get("start") or {}).get("nanoseconds") or 0)


def without(schedule, machine, start=None):
    """A schedule that does not name the machine, in windows of that start where one is given."""
    windows = []
    for window in schedule.get("windows") or []:
        listed = window.get("machine_ids") or []
        gone = start is None or start_of(window) == start
        left = [m for m in listed if not (gone and m.get("ip") == machine["ip"])]
        if left:
            windows.append(dict(window, machine_ids=left))
    return {"windows": windows} if windows else {}


def run(module):
    params = module.params
    service = Service(module.run_command, params["service"]) if params["service"] else None
    api = agent(params, service)
    machine = machine_of(api.state())
    if params["state"] == "empty":
        deadline = time.monotonic() + params["timeout"]
        while True:
            running = sorted(api.containers())
            if not running or module.check_mode:
                return {"changed": False, "machine": machine, "containers": running}
            if time.monotonic() > deadline:
                raise ApiError(
                    "after %d seconds these containers still run: %s" % (params["timeout"], ", ".join(running[:10]))
                )
            time.sleep(1)
    try:
        return change_schedule(module, Api(params["master"], access(params)), machine)
    except ApiError as error:
        raise MasterError(error) from error


def change_schedule(module, master, machine):
    """Puts the machine into the master's schedule, or takes it out."""
    params = module.params
    store = Store(os.path.normpath(params["prefix"]))
    schedule = master.get("/master/maintenance/schedule") or {}
    if params["state"] == "scheduled":
        return schedule_machine(module, master, store, schedule, machine)
    wanted = without(schedule, machine, store.drained())
    changed = wanted != schedule
    if not module.check_mode:
        if changed:
            master.post("/master/maintenance/schedule", json.dumps(wanted))
        store.note_drained(None)
    return {"changed": changed, "machine": machine}


def schedule_machine(module, master, store, schedule, machine):
    """Puts the machine into the schedule, unless it is there."""
    windows = schedule.get("windows") or []
    starts = [start_of(w) for w in windows if any(m.get("ip") == machine["ip"] for m in w.get("machine_ids") or [])]
    if starts:
        return {"changed": False, "machine": machine, "ours": store.drained() in starts}
    start = time.time_ns()
    window = {"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": start}}}
    if not module.check_mode:
        store.note_drained(start)  # before: of what is in the schedule nobody else would know whose it is
        master.post("/master/maintenance/schedule", json.dumps({"windows": windows + [window]}))
    return {"changed": True, "machine": machine, "ours": True}


def main():
    module = SecretiveModule(
        argument_spec={
            "state": {"type": "str", "choices": ["scheduled", "empty", "unscheduled"], "required": True},
            "master": {"type": "str", "required": True},
            **SERVICE,
            **ENDPOINTS,
            **PREFIX,
            "timeout": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (ApiError, ServiceError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, "agent_drain"))


if __name__ == "__main__":
    main()
