#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_preflight_info
short_description: Find out what stands against a change of an agent, without changing anything
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Finds the agent's flags directory and unit by the names that packages use, C(slave) or C(agent).
  - Checks every flag, the effect of every change on the agent's recovery, and what the agent itself would refuse.
  - Asks the agent, where it runs and a change of its flags needs a restart. One that does not answer is refused,
    because nobody could tell afterwards what the restart has cost.
  - Looks for what would defeat the shim; conflicting variables of the init wrapper, container paths that the host does
    not have, a build of the agent with launcher sealing, an isolation that does not work with the agent's version of
    Mesos, no interpreter that task users can execute, a full disk.
  - Warns of what does not hold with that version.
  - Fails with everything that it found.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.info_module
  - mesos.containerizer.agent
  - mesos.containerizer.agent.endpoints
  - mesos.containerizer.agent.change
  - mesos.containerizer.agent.environment
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
  - mesos.containerizer.shim.tools
options:
  path:
    description: The flags directory. Default is C(/etc/mesos-agent) or C(/etc/mesos-slave), whichever is in use.
    type: path
  flags:
    description: All flags, as M(mesos.containerizer.agent_flags) takes them.
    type: dict
    required: true
  default_container_info:
    description: The default ContainerInfo in the shim's configuration.
    type: dict
    default: {}
  shim_follows:
    description:
      - Whether the shim will be installed after this. Without, a flag C(launcher_dir) that names the launcher directory
        below O(prefix) is refused where that is not there, since an agent without its helpers does not start.
    type: bool
    default: true
  service:
    description:
      - The agent's unit, or an alias of it. It must be there and not be masked.
      - What systemd says of it counts, all drop-ins together. A unit whose executors would end with the agent, or in
        which no launch can succeed, is refused.
  drop_in:
    description: Whether the unit gets the drop-in of M(mesos.containerizer.agent_generation).
    type: bool
    default: true
  state_dir:
    description: Where the shim keeps its records, which the unit must be able to write.
    type: path
    default: /run/mesos-shim
  agent_user:
    description:
      - The user as whom the unit runs the agent, as the shim's configuration says it. Default is what systemd says.
      - It must be the one that systemd says, and its account must exist on the host.
    type: str
    version_added: 0.3.0
  free_bytes:
    description: What must be free where the shim is installed.
    type: int
    default: 33554432
  found_already:
    description: Problems that the caller has found, to be said together with these.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check a change
  mesos.containerizer.agent_preflight_info:
    service: mesos-slave
    flags:
      master: zk://10.0.0.1:2181/mesos
      work_dir: /var/lib/mesos
"""

RETURN = r"""
path:
  description: The flags directory.
  returned: success
  type: str
  sample: /etc/mesos-slave
# These three are as of agent_flags.
changed_flags: {description: The flags whose setting would change., returned: success, type: list, elements: dict}
restart_required: {description: Whether the agent would have to be restarted., returned: success, type: bool}
foreign_files: {description: What in the directory is no flag., returned: success, type: list, elements: str}
drained:
  description: Whether a rollout that was stopped has left the host in the master's maintenance schedule.
  returned: success
  type: bool
  sample: false
running:
  description: Whether the agent runs, where O(service) names its unit; an agent that does not cannot be drained.
  returned: success
  type: bool
  sample: true
new_identity:
  description: Whether the agent can come back from the change only under a new id, which ends its executors.
  returned: success
  type: bool
  sample: false
agent_versions:
  description:
    - Versions of Mesos on the host, the running agent's and the installed one's, which the next start brings.
    - Empty where neither says one.
  returned: success
  type: list
  elements: str
  sample: ["1.11"]
limits:
  description: What does not hold with these versions.
  returned: success
  type: list
  elements: str
  sample: []
problems:
  description: What stands against it, on failure.
  returned: always
  type: list
  elements: str
  sample: []
"""

import contextlib
import mmap
import os
import sys

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_baseline as agent_baseline,
    _agent_environment as agent_environment,
    _agent_limits as agent_limits,
    _agent_refusals as agent_refusals,
    _agent_unit as agent_unit,
    _agent_versions as agent_versions,
    _agents_user as agents_user,
    _flag_directory as flag_directory,
    _other_installation as other_installation,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import agent
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import (
    UNITS,
    Service,
    full_name,
    sealed_launcher,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import (
    CHANGE,
    CLAIM,
    ENDPOINTS,
    ENVIRONMENT,
    PREFIX,
    SERVICE,
    TOOLS,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_change import FlagChange
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_effects import new_identity
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError, effective
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import Store
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import NoPython, choose
from ansible_collections.mesos.containerizer.plugins.module_utils._problems import look
from ansible_collections.mesos.containerizer.plugins.module_utils._run_claim import Claim, ClaimError, refuse
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import ROOM

SAME_USER = (
    "the unit %s runs its agent as %s, and so do all its tasks, which can change the agent's files; agent_user in "
    "mesos_shim_config says that this is meant"
)
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/usr/lib/mesos", "/opt/mesosphere/lib")
_WRAPPER = "/usr/bin/mesos-init-wrapper"
_FLAGS_BYTES = 1 << 20  # more than flags ever take
_SEALING = b"Failed to clone a sealed file"  # what only such a build can say, src/slave/containerizer/mesos


def no_unit(service, run_command):
    """What to say of a unit that is not there; packages name it by the older or by the newer word."""
    others = [name for name in UNITS if full_name(name) != service.unit and Service(run_command, name).known()]
    if others:
        return "there is no unit %s; this host's agent is %s; set mesos_agent_service to it" % (
            service.unit,
            others[0],
        )
    return "there is no unit %s; leave mesos_agent_service empty to manage no unit" % service.unit


def sealed_build():
    """The library of an installed agent that was built with launcher sealing, or None."""
    for directory in _LIBRARIES:
        with contextlib.suppress(OSError):
            for name in os.listdir(directory):
                if not (name.startswith("libmesos") and ".so" in name):
                    continue
                path = os.path.join(directory, name)
                with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    if content.find(_SEALING) >= 0:
                        return path
    return None


def sealing(pid):
    """Why no script can be this agent's launch helper, or None."""
    advice = "a script cannot be its launch helper; use a build without ENABLE_LAUNCHER_SEALING"
    if sealed_launcher(pid):
        return "the running agent seals its launch helper in memory: " + advice
    library = sealed_build() if not pid else None
    return "%s was built with launcher sealing: %s" % (library, advice) if library else None


def records_of(params, found, user):
    """{where the records of the agent's containers will lie: why that must be writable}, unless systemd makes it."""
    place = params["state_dir"]
    if user is not None:
        if params["drop_in"] or agents_user.STATE_DIR % user.pw_uid in agent_unit.own_directories(found):
            return {}
        place = "/var/tmp"  # noqa: S108 (the shim checks whose it is)
    return {place: "so ps and usage would not see the agent's containers"}


def of_unit(params, service, found, user):
    """(problems, warnings) of what systemd says of the unit, which is `found`."""
    wrong = agent_unit.unmanageable(service.unit, found)
    if wrong:
        return [wrong], []
    warnings = []
    if params["drop_in"]:
        problems = agent_unit.will_overrule(service.unit, found)
        if found.get("PrivateTmp") == "yes":
            warnings.append(
                "%s has PrivateTmp=yes, which the drop-in resets, so its executors' /tmp is lost at the restart"
                % service.unit
            )
    else:
        # A host that is empty by then loses nothing; the switch knows, and refuses where it is not.
        problems = []
        warnings += filter(None, [agent_unit.deadly(service.unit, found)])
    programs = [os.path.realpath(params["prefix"])]
    with contextlib.suppress(NoPython):
        programs.append(os.path.realpath(choose(params["python"])))
    places = records_of(params, found, user)
    if user is not None and "/var/tmp" in places and found.get("PrivateTmp", "no") != "no":  # noqa: S108
        problems.append(
            "the unit %s has PrivateTmp=%s: ps and usage would not see the agent's containers, whose records lie in a "
            "/var/tmp of its own; give it RuntimeDirectory=%s and RuntimeDirectoryPreserve=yes, or PrivateTmp=no"
            % (service.unit, found["PrivateTmp"], os.path.basename(agents_user.STATE_DIR % user.pw_uid))
        )
    problems += agent_unit.hardened(service.unit, found, programs, places, user)
    return problems, warnings


def find_agent(module):
    """(account and gid of an agent that is not root's, its unit, problems, warnings); None for what there is not."""
    params, run_command = module.params, module.run_command
    named, service, found = params["agent_user"], None, {}
    if params["service"]:
        service = Service(run_command, params["service"])
        if not service.known():
            return None, None, None, [no_unit(service, run_command)], []
        service = service.resolved()
        found = service.show(agent_unit.PROPERTIES)
    problems, user, gid = [], None, None
    try:
        user = agents_user.account(named)
        if not named:
            with contextlib.suppress(agents_user.NoAccount):  # of_unit says it
                user = agents_user.account(agents_user.of_unit(found))
        gid = agents_user.group(user, found)
    except agents_user.NoAccount as error:
        problems.append(str(error))
    if service is None:
        return user, gid, None, problems, []
    wrong, warnings = of_unit(params, service, found, user)
    if user and not named:
        warnings.append(SAME_USER % (service.unit, user.pw_name))
    return user, gid, service, problems + (wrong if user or not problems else []), warnings


def no_launcher(prefix, settings):
    """Why the flag launcher_dir is none, where no shim is installed; None where it is fine."""
    configured = effective(settings.get("launcher_dir"))
    ours = os.path.join(os.path.normpath(prefix), "launcher")
    if configured is None or os.path.normpath(configured) != ours or os.path.isdir(ours):
        return None
    return (
        "flag launcher_dir: %s does not exist; install the shim first (role mesos_shim, or playbook site), or give "
        "mesos_agent_flags a launcher_dir, null for the packaged one" % ours
    )


def too_full(variable, path, wanted):
    """Why there is no room at the path that a variable says, or None."""
    there = path = os.path.abspath(path)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    found = os.statvfs(there)
    free = found.f_bavail * found.f_frsize
    if free < wanted:
        lack = "%d kB free, %d kB are needed" % (free >> 10, wanted >> 10)
    elif found.f_files and not found.f_favail:
        lack = "no free inodes"
    else:
        return None
    return "%s %s: the file system of %s has %s: %s" % (variable, path, there, lack, ROOM)


def silent(params, service):
    """Why the agent that runs here may not be restarted: it does not answer. Empty where it does, or need not."""
    try:
        if service is not None:
            agent_baseline.look(agent(params, service), service, lambda api: api.state())
    except agent_baseline.MuteError as error:
        return [str(error)]
    return []


def another_agent(params, store, service):
    """Why this installation's agent is another one than the unit and the flags are of."""
    moved = store.another_directory(params["path"])
    taken = other_installation.refusal(os.path.normpath(params["prefix"]), service and service.unit, params["path"])
    return [problem for problem in (moved, taken) if problem]


def environment_here(params, settings):
    """(problems, warnings) of the init wrapper's variables."""
    files, taken_over = params["environment_files"], {}
    if params["take_over_environment"]:
        taken_over = agent_environment.takeover(files, settings).variables
    return agent_refusals.of_environment(files, settings, taken_over)


def run(module):
    params = module.params
    params["path"] = flag_directory.find(params["path"])
    problems, result, versions, limits, another = list(params["found_already"]), {}, [], [], False
    store = Store(os.path.normpath(params["prefix"]))
    user, gid, service, wrong, warnings = find_agent(module)
    pid = service.status()["pid"] if service else 0
    problems += wrong
    if params["validator"] and not os.path.exists(params["validator"]):
        params["validator"] = None  # checked by the release once it is staged
    problems += another_agent(params, store, service)
    try:
        change = FlagChange(module, gid)
        result = change.result()
        another = new_identity(change.changed_flags)
        problems += change.problems
        problems += agent_refusals.of_flags(change.after)
        versions = agent_versions.running(params, service) + agent_versions.installed()
        isolation = effective(change.after.get("isolation"))
        problems += agent_limits.refusals(versions, isolation)
        problems += agent_limits.values(versions, change.after)
        limits = agent_limits.warnings(versions, isolation)
        limits += agent_limits.of_user(user, effective(change.after.get("switch_user")))
        # A run that was killed has left the agent to the next one, which knows what it was before.
        if change.restart_required and store.state["pending"] is None and not params["compare"]:
            problems += silent(params, service)
        missing = None if params["shim_follows"] else no_launcher(params["prefix"], change.after)
        problems += [missing] if missing else []
        problems += agent_refusals.of_files(change.after)
        problems += agent_refusals.of_wrapper(_WRAPPER, change.after)
        environment, warned = environment_here(params, change.after)
        problems += environment
        warnings += warned
    except FlagError as error:
        problems.append(str(error))
    problems += agent_refusals.missing_paths(params["default_container_info"])
    try:
        choose(params["python"])
    except NoPython as error:
        problems.append(str(error))
    if sys.platform.startswith("linux"):
        full = [
            too_full("mesos_shim_prefix", params["prefix"], params["free_bytes"]),
            too_full("mesos_agent_flags_dir", params["path"], _FLAGS_BYTES),
        ]
        problems += [found for found in [sealing(pid)] + full if found]
    for warning in warnings + limits:
        module.warn(warning)
    return dict(
        result,
        changed=False,
        path=params["path"],
        drained=store.drained() is not None,
        running=pid > 0 or not params["service"],
        new_identity=another,
        agent_versions=agent_versions.text(versions),
        limits=limits,
        problems=problems,
        diff={},
    )


def unclaimed(module):
    """What `run` returns. Raises ClaimError where another run is at work, which changes what would be found."""
    if not module.params["compare"]:
        Claim(Store(os.path.normpath(module.params["prefix"])), module.params, check_mode=True).check()
    return run(module)


def main():
    module = SecretiveModule(
        argument_spec={
            "path": {"type": "path"},
            "flags": {"type": "dict", "required": True},
            **CHANGE,
            "default_container_info": {"type": "dict", "default": {}},
            **PREFIX,
            **CLAIM,
            "shim_follows": {"type": "bool", "default": True},
            **TOOLS,
            **SERVICE,
            "drop_in": {"type": "bool", "default": True},
            "state_dir": {"type": "path", "default": "/run/mesos-shim"},
            "agent_user": {"type": "str"},
            **ENDPOINTS,
            **ENVIRONMENT,
            "free_bytes": {"type": "int", "default": 33554432},
            "found_already": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        result = look(module, unclaimed, "agent_preflight_info")
    except ClaimError as error:
        refuse(module, error, problems=[str(error)])
    if result["problems"]:
        module.fail_json(msg="; ".join(result["problems"]), problems=result["problems"])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
