#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_flags_info
short_description: Read the flags directory of a Mesos agent
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Reads back what M(mesos.containerizer.agent_flags) writes, as the agent's init wrapper would read it.
  - Secrets are masked.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.info_module
options:
  path:
    description: The flags directory. A symbolic link is refused.
    type: path
    required: true
seealso:
  - module: mesos.containerizer.agent_flags
"""

EXAMPLES = r"""
- name: Read the agent's flags
  mesos.containerizer.agent_flags_info:
    path: /etc/mesos-slave
  register: agent
"""

RETURN = r"""
exists:
  description: Whether the directory is there.
  returned: always
  type: bool
  sample: true
flags:
  description: Flag names and values; booleans as such, directories as maps, everything else as text.
  returned: always
  type: dict
  sample:
    attributes: {rack: r12, zone: b}
    default_container_info: '{"type":"MESOS","volumes":[{"container_path":"/tmp","host_path":"tmp","mode":"RW"}]}'
    master: "zk://mesos:********@10.0.0.1:2181/mesos"
    switch_user: true
contradictions:
  description: Flags that are there in more than one form, which stops the agent.
  returned: always
  type: list
  elements: str
  sample: [quiet]
foreign_files:
  description: Names, relative to O(path), of what is no flag.
  returned: always
  type: list
  elements: str
  sample: [isolation.rpmnew]
"""

import os

from ansible_collections.mesos.containerizer.plugins.module_utils import _flag_directory as flag_directory
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import (
    SecretiveModule,
    masked,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS, WRAPPER_FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def main():
    module = SecretiveModule(argument_spec={"path": {"type": "path", "required": True}}, supports_check_mode=True)
    try:
        state = flag_directory.read(os.path.normpath(module.params["path"]), dict(FLAGS, **WRAPPER_FLAGS))
    except FlagError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, module.params["path"]))
    module.exit_json(
        changed=False,
        exists=state.exists,
        flags={name: masked(name, settings[-1].value) for name, settings in state.flags.items()},
        contradictions=sorted(name for name, settings in state.flags.items() if len(settings) > 1),
        foreign_files=[flag_directory.printable(name) for name in state.unmanaged],
    )


if __name__ == "__main__":
    main()
