#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_gate
short_description: Wait until an agent is well, or say why it is not
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Waits until the agent answers that it is well, runs with the flags that it was given, is registered with its master
    under the same id as before, and still has its containers.
  - Has the agent launch a probe (C(LAUNCH_CONTAINER) of its operator API, Mesos 1.5 and later), for root and for an
    ordinary user, or as the agent's own user if that is not root. The probe looks at what it sees of the default
    ContainerInfo's volumes, and makes in there the call of the launch helper by which C(mesos-executor) starts every
    command task.
  - Where no agent is asked, where the agent is older, or where it does not let us launch, which is a warning and in
    RV(probe_note), every caller of the launch helper in that version of Mesos is played instead, through the launcher
    directory. They are played by a transient unit with the settings that are in force for O(service).
  - Fails with everything that is still wrong after O(timeout); before that where waiting cannot help, because the agent
    came back under another id, ends again as soon as it has started, or refuses its flags. RV(problems) then has the
    last fatal line of its journal.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.agent
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.agent.well
  - mesos.containerizer.shim
attributes:
  check_mode:
    description: Changes nothing but for the probes' own short-lived sandboxes, which are left out in check mode.
    support: full
  diff_mode:
    description: Changes nothing.
    support: N/A
options:
  path:
    description: The flags directory. The agent must run with the flags that are there.
    type: path
    required: true
  ignore_flags:
    description: Flags whose effective value is not compared, because something between directory and agent sets it.
    type: list
    elements: str
    default: []
  service:
    description: The agent's unit. Without it, and without O(url), no agent is asked.
  agent_id:
    description: The id that the agent must have. Default is any.
    type: str
  containers:
    description: Containers that the agent must have unless they have ended by themselves.
    type: dict
    default: {}
  lost_containers:
    description: Containers that ended while the agent was restarted.
    type: list
    elements: str
    default: []
  allowed_losses:
    description: How many containers may have ended while the agent was restarted.
    type: int
    default: 0
  master:
    description:
      - Address of a master, for example C(http://10.0.0.1:5050), which is asked whether it has the agent.
      - Without it the agent's own word counts, that it has an id and sees a master; that is true somewhat earlier.
    type: str
  probe:
    description: Whether probes are launched.
    type: bool
    default: true
seealso:
  - module: mesos.containerizer.agent_generation
"""

EXAMPLES = r"""
- name: Wait for the agent
  mesos.containerizer.agent_gate:
    path: /etc/mesos-slave
    service: mesos-slave
"""

RETURN = r"""
agent_id:
  description: The agent's id.
  returned: where an agent was asked
  type: str
  sample: 20140806-013434-1527386378-5050-42-S1
version:
  description: The agent's version.
  returned: where an agent was asked
  type: str
  sample: 1.11.0
containers:
  description: How many containers it runs.
  returned: where an agent was asked
  type: int
  sample: 12
running:
  description: The containers that it runs, by id, with their process; 0 where the agent does not say it.
  returned: where an agent was asked
  type: dict
  sample: {5b1bd9e2-0c29-4b9e-9a07-3cf4b1c63c5f: {pid: 4242, start_time: 99120}}
probe:
  description:
    - V(agent) where the agent itself launched the probes, V(played) where its calls were played; V(none) where none was
      launched.
  returned: success
  type: str
  sample: agent
probe_note:
  description: Why the probes were played although an agent was there that could launch them.
  returned: where that is so
  type: str
  sample: "the agent does not let us launch a probe: http://127.0.0.1:5051/slave(1)/api/v1: Forbidden"
problems:
  description: What was still wrong at the end.
  returned: always
  type: list
  elements: str
  sample: []
waited:
  description: Seconds until everything was as it should.
  returned: always
  type: float
  sample: 3.4
"""

import json
import os
import time
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_launch as agent_launch,
    _agent_versions as agent_versions,
    _agents_user as agents_user,
    _flag_directory as flag_directory,
    _launch_callers as launch_callers,
    _probe_container as probe_container,
    _probe_context as probe_context,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import ApiError, agent
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_health import wait
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import Service, ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import ENDPOINTS, PREFIX, SERVICE, WELL
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_change import known_flags
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import effective
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import NoPython, choose
from ansible_collections.mesos.containerizer.plugins.module_utils._problems import look as look_for_problems
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_configuration import config_path, expected


class Probed(NamedTuple):
    """What probes found, how they were launched, and why not by the agent although it could."""

    problems: list
    how: str
    note: str | None = None


def configured(prefix):
    """What the shim's configuration gives a container without a ContainerInfo, and the agent's user if not root."""
    try:
        with open(config_path(prefix), encoding="utf-8") as stream:
            text = stream.read()
    except FileNotFoundError:
        return [], None
    return expected(json.loads(text)), agents_user.configured(text)


def probe(module, settings, version, api):
    """Launches the probes: by the agent where it can and lets us, else as the agent would, from its unit."""
    params = module.params
    try:
        wanted, user = configured(params["prefix"])
    except agents_user.NoAccount as error:
        return Probed([str(error)], "none")
    launcher = effective(settings.get("launcher_dir")) or os.path.join(params["prefix"], "launcher")
    helper = os.path.join(launcher, "mesos-containerizer")
    note = None
    try:
        if api is not None and version is not None and version >= agent_launch.SINCE:
            try:
                agent_launch.run(api, helper, version, wanted, api.flags().get("work_dir"), user)
                return Probed([], "agent")
            except agent_launch.NotAllowed as error:
                note = (
                    "the agent does not allow the probe launch, so its calls were only simulated: %s; allow "
                    "mesos_agent_url_username to launch, wait for, kill and remove standalone containers" % error
                )
        known = [version] if version is not None else agent_versions.installed()
        call = {"helper": helper, "versions": known, "volumes": wanted, "work_dir": effective(settings.get("work_dir"))}
        python = choose(None) if params["service"] else None
        probe_context.run(module.run_command, python, params["service"], call)
    except ApiError as error:
        return Probed(["the agent does not answer: %s" % error], "agent")
    except (NoPython, ServiceError, probe_container.ProbeError) as error:
        return Probed([str(error)], "played" if note else "agent", note)
    return Probed([], "played", note)


def run(module):
    params = module.params
    params["prefix"] = os.path.normpath(params["prefix"])
    begun = time.monotonic()
    found = flag_directory.read(os.path.normpath(params["path"]), dict(FLAGS, **known_flags(module)[0])).flags
    settings = {name: items[-1] for name, items in found.items()}
    facts, problems, api = {}, [], None
    if len(params["lost_containers"]) > params["allowed_losses"]:
        problems.append(
            "containers ended while the agent was restarted: %s; does the unit keep KillMode=process?"
            % ", ".join(params["lost_containers"])
        )
    if params["service"] or params["url"]:
        service = Service(module.run_command, params["service"]) if params["service"] else None
        api = agent(params, service)
        seen = wait(params, settings, api, service)
        facts, problems = seen.facts, problems + seen.problems
        api = None if seen.problems else api  # one that is not well launches nothing
    result = {"probe": "none"}
    if params["probe"] and not module.check_mode:
        probed = probe(module, settings, launch_callers.version(facts.get("version")), api)
        result["probe"] = probed.how
        problems += probed.problems
        if probed.note:
            module.warn(probed.note)
            result["probe_note"] = probed.note
    return dict(facts, changed=False, problems=problems, waited=round(time.monotonic() - begun, 1), **result)


def main():
    module = SecretiveModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "ignore_flags": {"type": "list", "elements": "str", "default": []},
            **SERVICE,
            **ENDPOINTS,
            "agent_id": {"type": "str"},
            "containers": {"type": "dict", "default": {}},
            "lost_containers": {"type": "list", "elements": "str", "default": []},
            "allowed_losses": {"type": "int", "default": 0},
            "master": {"type": "str"},
            "probe": {"type": "bool", "default": True},
            **PREFIX,
            **WELL,
        },
        supports_check_mode=True,
    )
    result = look_for_problems(module, run, "agent_gate")
    if result["problems"]:
        module.fail_json(msg="; ".join(result["problems"]), **{k: v for k, v in result.items() if k != "changed"})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
