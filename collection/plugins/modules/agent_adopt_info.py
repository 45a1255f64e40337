#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_adopt_info
short_description: Read a host as variables of the roles that would change nothing on it
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Reads the agent's flags directory, its unit with all drop-ins, the files of variables beside it, and the shim where
    one is installed.
  - Says what of that the variables of the roles P(mesos.containerizer.mesos_agent#role) and
    P(mesos.containerizer.mesos_shim#role) can say, and names the rest.
  - What a rollout with these variables would do is found out by the code that does it.
  - A value that holds a secret is never returned. The path of a file with a secret is.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.info_module
  - mesos.containerizer.shim
  - mesos.containerizer.shim.tools
options:
  path:
    description: The flags directory. Default is C(/etc/mesos-agent) or C(/etc/mesos-slave), whichever is in use.
    type: path
  service:
    description: The agent's unit. Default is C(mesos-slave) or C(mesos-agent), where the host has one of them.
    type: str
  environment_files:
    description: Files of variables that the init wrapper reads.
    type: list
    elements: path
    default: [/etc/default/mesos, /etc/default/mesos-slave, /etc/default/mesos-agent]
seealso:
  - module: mesos.containerizer.agent_flags_info
"""

EXAMPLES = r"""
- name: Read what the roles' variables would have to be
  mesos.containerizer.agent_adopt_info:
  register: adopted
"""

RETURN = r"""
path:
  description: The flags directory.
  returned: success
  type: str
  sample: /etc/mesos-slave
variables:
  description: Variables of the roles and their values.
  returned: success
  type: dict
  sample:
    mesos_agent_flags: {launcher_dir: null, switch_user: true, work_dir: /var/lib/mesos}
    mesos_agent_attributes: {rack: r12}
    mesos_agent_service: mesos-slave
    mesos_agent_drop_in: false
open:
  description: Variables, or keys of them, that somebody else must fill in, and why; a secret for example.
  returned: success
  type: list
  elements: dict
  contains:
    variable: {description: The variable., type: str}
    key: {description: The key; V(null) for the whole variable., type: str}
    why: {description: Why it is left open., type: str}
  sample:
    - {variable: mesos_agent_flags, key: master, why: "flag master: its value holds a secret"}
notes:
  description:
    - What no variable can say and stays as it is; what a rollout removes, and what it writes anew without a difference
      for the agent.
  returned: success
  type: list
  elements: str
  sample: ["/etc/default/mesos-slave sets MASTER, of which the init wrapper makes the flag master; it stays there"]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _flag_adoption as flag_adoption,
    _flag_directory as flag_directory,
    _host_adoption as host_adoption,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import ENVIRONMENT, PREFIX, SERVICE, TOOLS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import NoPython
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import InstallError


def run(module):
    params = module.params
    params["prefix"] = os.path.normpath(params["prefix"])
    path = os.path.normpath(flag_directory.find(params["path"]))
    flags = flag_adoption.FlagAdoption(module, path)
    variables, left_open, notes = dict(flags.variables, mesos_agent_flags_dir=path), flags.open, list(flags.notes)
    for look in (host_adoption.of_environment, host_adoption.of_unit, host_adoption.of_shim):
        found = look(module, flags.state.flags)
        variables.update(found.variables)
        left_open += found.open
        notes += found.notes
    return {"changed": False, "path": path, "variables": variables, "open": left_open, "notes": notes}


def unreadable(error, path):
    """What to say of a file that cannot be read; below a directory's descriptor it has no more than its name."""
    name = os.fsdecode(error.filename) if error.filename else ""
    advice = "; read it as root (ansible_become)" if isinstance(error, PermissionError) else ""
    return "%s: %s%s" % (os.path.join(path, name), error.strerror or error, advice)


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            **SERVICE,
            **PREFIX,
            **TOOLS,
            "environment_files": ENVIRONMENT["environment_files"],
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (FlagError, InstallError, NoPython, ServiceError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=unreadable(error, module.params["path"] or ""))


if __name__ == "__main__":
    main()
