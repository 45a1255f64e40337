#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: shim_release
short_description: Install a release of mesos-shim and its configuration
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Makes one release the current one of a host, from an archive on the controller. The host needs no network.
  - The archive travels only where the release is not there yet. Its digest is verified on the host, the release is
    unpacked beside the others, tests itself, and checks the new configuration before it becomes the current one. Every
    caller of the launch helper in the host's version of Mesos is played against it, for root and for an ordinary user.
  - Roles call it; see the role C(mesos.containerizer.mesos_shim).
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
  - mesos.containerizer.shim.tools
attributes:
  check_mode:
    description: Says what would change without sending or writing anything.
  diff_mode:
    description: Shows the configuration and the current release before and after.
  action:
    description: It has a half on the controller.
    support: full
options:
  config:
    description:
      - Configuration of the shim. Keys with V(null) are left out.
      - C(packaged_helper) is added where the host has a packaged C(mesos-containerizer).
    type: dict
    default: {}
  default_container_info:
    description: The default ContainerInfo, in place of the one in O(config), where it is not empty.
    type: dict
    default: {}
  state:
    description:
      - V(current) makes the release the one in use.
      - V(staged) puts it beside the others, where it checks O(config) and plans a launch by it, and switches nothing;
        M(mesos.containerizer.agent_generation) does that later.
    type: str
    choices: [current, staged]
    default: current
  keep_releases:
    description: How many releases stay on the host.
    type: int
    default: 2
  archive:
    description:
      - Path of an archive on the controller. Default is the archive in the collection, or the checkout around it.
    type: path
  archive_sha256:
    description: SHA-256 that O(archive) must have. Refused without O(archive).
    type: str
  psutil_wheel:
    description:
      - Path of psutil's abi3 wheel for Linux or macOS on the controller, packed into the release of a checkout for
        hosts of that platform.
      - Hosts of the controller's own platform get the psutil that is installed there unless the wheel is for them.
    type: path
  timers:
    description:
      - What M(mesos.containerizer.shim_timers) is to be given, as C(gc) and C(metrics_dir). With O(state=staged) it is
        said in RV(timers_differ) whether that module has anything to do, so that an unchanged host is not asked again.
    type: dict
    version_added: 0.3.0
  claim:
    description:
      - Whether to claim the host for this run first, with O(state=staged). Other runs refuse the host until
        M(mesos.containerizer.agent_generation) or what follows it has ended the claim.
      - In check mode nothing is claimed, and a host that another run has claimed is refused.
    type: bool
    default: false
    version_added: 0.3.0
  change:
    description: Id of the change for which the host is claimed. Default is an id of the run.
    type: str
    version_added: 0.3.0
  agent_versions:
    description:
      - Versions of the host's Mesos, whose every call of the launch helper the release must serve before it becomes the
        current one. Default is the version of the installed agent.
      - Where none is known, the calls of all versions are played.
    type: list
    elements: str
    default: []
  service:
    description:
      - The agent's unit, under whose settings the release must launch before it becomes the current one.
    type: str
  releases:
    description: Set by the controller's half; which release each platform gets.
    type: dict
"""

EXAMPLES = r"""
- name: Install the shim of this checkout
  mesos.containerizer.shim_release:
    config:
      isolation: [filesystem/shared, posix/cpu, posix/mem]
      default_container_info:
        type: MESOS
        volumes:
          - {host_path: tmp, container_path: /tmp, mode: RW}

- name: Install a release that was built elsewhere
  mesos.containerizer.shim_release:
    archive: releases/mesos-shim-0.1.0.tar.gz
    archive_sha256: 1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e
"""

RETURN = r"""
release:
  description: The release that is current now.
  returned: success
  type: str
  sample: 0.1.0-5f2c9e0b7a41
previous:
  description: The release that was current before; V(null) where there was none.
  returned: success
  type: str
  sample: 0.1.0-0d9be1aa4c07
actions:
  description: What was done, or would be done in check mode, in order.
  returned: success
  type: list
  elements: str
  sample: [stage, config, activate, prune]
damage:
  description: What of the release was not as it was staged, because of which it is staged again.
  returned: success
  type: list
  elements: str
  sample: [bin/mesos-containerizer is missing]
program:
  description: Path of C(mesos-shim).
  returned: success
  type: str
  sample: /opt/mesos-shim/bin/mesos-shim
launcher_dir:
  description: Path for the agent's flag C(launcher_dir).
  returned: success
  type: str
  sample: /opt/mesos-shim/launcher
config_path:
  description: Path of the configuration.
  returned: success
  type: str
  sample: /etc/mesos-shim/config.json
claimed:
  description: Whether the host is claimed for this run now.
  returned: with O(claim)
  type: bool
  sample: true
timers_differ:
  description: Whether the timers are not as O(timers) says.
  returned: where O(timers) is given, and O(state=staged)
  type: bool
  sample: false
python:
  description: Interpreter that the release runs with.
  returned: success
  type: str
  sample: /usr/bin/python3
"""

import os
import platform
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_versions as agent_versions,
    _shim_timers as shim_timers,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import CLAIM, PREFIX, SERVICE, TOOLS
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import Store
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import NoPython, choose
from ansible_collections.mesos.containerizer.plugins.module_utils._run_claim import Claim, ClaimError, refuse
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import (
    Installation,
    InstallError,
    configuration,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_timers import TimerError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def _timers_differ(module, timers):
    """Whether the module shim_timers, which is asked only then, would change something."""
    gc, metrics_dir = module.boolean(timers.get("gc", True)), timers.get("metrics_dir")
    prefix = os.path.normpath(module.params["prefix"])
    found = shim_timers.requested(module.run_command, prefix, gc, metrics_dir or None)
    return bool(found and any(found))


def _claim(module):
    return Claim(Store(os.path.normpath(module.params["prefix"])), module.params, module.check_mode)


def _stage(module, installation, *what):
    """What staging returns, None where it needs the archive first."""
    result = installation.stage(*what)
    if result is not None and module.params["timers"] is not None:
        result["timers_differ"] = _timers_differ(module, module.params["timers"])
    return result


def _stage_claimed(module, installation, *what):
    """The same, the host claimed before. One that is not staged is not claimed, either."""
    claim, result = _claim(module), None
    claim.take(patient=True)
    try:
        result = _stage(module, installation, *what)
    finally:
        if result is None:
            claim.release()
    return result and dict(result, claimed=not module.check_mode, took_over=claim.took_over)


def main():
    module = AnsibleModule(
        argument_spec={
            **PREFIX,
            **CLAIM,
            "config": {"type": "dict", "default": {}},
            "default_container_info": {"type": "dict", "default": {}},
            "state": {"type": "str", "choices": ["current", "staged"], "default": "current"},
            "keep_releases": {"type": "int", "default": 2},
            **TOOLS,
            "archive": {"type": "path"},
            "archive_sha256": {"type": "str"},
            "psutil_wheel": {"type": "path"},
            "timers": {"type": "dict"},
            "claim": {"type": "bool", "default": False},
            "change": {"type": "str"},
            "agent_versions": {"type": "list", "elements": "str", "default": []},
            **SERVICE,
            "releases": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not params["releases"]:
        module.fail_json(msg="call mesos.containerizer.shim_release as a task, because its action plugin did not run")
    if params["keep_releases"] < 1:
        module.fail_json(msg="keep_releases: %d is too few, give 1 or more" % params["keep_releases"])
    where = "%s-%s" % (sys.platform, platform.machine())
    where = where if where in params["releases"] else "any"
    os.umask(0o022)  # what is installed is for every user of the host
    try:
        installation = Installation(
            module.run_command,
            module.check_mode,
            os.path.normpath(params["prefix"]),
            choose(params["python"]),
            params["helpers_dir"],
            bool(params["default_container_info"]),
            agent_versions.parsed(params["agent_versions"]) or agent_versions.installed(),
            params["service"],
        )
        release, archive = params["releases"][where], params["archive"]
        config = configuration(params["config"], params["default_container_info"])
        if params["state"] == "staged":
            stage = _stage_claimed if params["claim"] else _stage
            result = stage(module, installation, release, archive, config)
        else:
            _claim(module).check()
            result = installation.converge(release, archive, config, params["keep_releases"])
    except ClaimError as error:
        refuse(module, error)
    except (InstallError, NoPython, ServiceError, TimerError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, params["prefix"], "mesos_shim_prefix"))
    for warning in installation.warnings:
        module.warn(warning)
    module.exit_json(**({"changed": False, "archive_needed": where} if result is None else result))


if __name__ == "__main__":
    main()
