#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_flags
short_description: Own the flags directory of a Mesos agent
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Writes all flags of a Mesos agent into the directory that its init wrapper reads, usually C(/etc/mesos-slave)
    or C(/etc/mesos-agent), in one call whatever their number.
  - The wrapper makes an argument of every regular file there that is not hidden, so a backup or a package
    manager's C(.rpmnew) breaks the agent. Such files are named and, unless O(purge=false), removed.
  - A symbolic link counts as what it leads to, as it does to the wrapper. What is written is a file, and where the link
    led to nothing changes.
  - C(logger) is the wrapper's own; V(false) writes C(?no-logger), with which the agent's output does not go through
    C(logger).
  - A new directory is made complete beside the old one and takes its place by one rename. A killed run leaves
    either all of the old flags or all of the new ones.
  - Every flag must be known, by a table of releases 0.21.2 and 1.11.0 or, where an agent is installed on the host,
    by what its C(--help) names. Values are checked by their kind.
  - C(attributes) and C(resources) are checked by Mesos' own grammar, that of 1.11.0.
  - C(credential), C(http_credentials) and C(jwt_secret_key) take the path of a file, which this module does not write.
    The secret itself is refused, since the agent logs its flags.
  - Secrets are masked wherever a value is shown, and so are parameters of C(modules) whose names look like one.
  - So is every value of a flag that the table does not have, for nobody knows whether it is one.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
attributes:
  diff_mode:
    description: Shows the flags before and after, secrets masked.
options:
  path:
    description:
      - The flags directory, an absolute path. Missing parents are created. A symbolic link or a mount point is refused.
    type: path
    required: true
  flags:
    description:
      - Flag names and their values.
      - A boolean becomes C(?flag) or C(?no-flag).
      - A map given to C(attributes) or C(resources) becomes a directory with one file a key, a string one file.
      - Any other map or list becomes canonical JSON.
      - Values that are one line for the agent are refused with a line break.
      - With V(null) the flag is absent, and so are C(attributes) and C(resources) with a map without a key.
      - An empty text is refused.
      - Every flag takes C(file:///PATH), and the agent then takes what is in that file as its value.
    type: dict
    required: true
  purge:
    description: Whether flags that are not in O(flags), and files that are no flags, are removed.
    type: bool
    default: true
  mode:
    description:
      - Permissions of the files, octal. Directories get the matching execute bits.
      - Files that hold a secret are never accessible to others, whatever this says.
    type: raw
    default: '0644'
  owner:
    description: Owner of the directory and its files, a name or a number. Default is what the directory has.
    type: str
  group:
    description: Group of the directory and its files, a name or a number. Default is what the directory has.
    type: str
  allow_incompatible:
    description:
      - Flags that may change although an agent that already ran would refuse to start with the change, lose its
        running executors, or although nobody knows what the change does.
      - A name that is no flag is refused.
    type: list
    elements: str
    default: []
  validator:
    description:
      - Path of C(mesos-shim) on the host. It checks the flag C(default_container_info).
      - Without it, that flag is checked to be a JSON object and no more.
    type: path
seealso:
  - module: mesos.containerizer.agent_flags_info
"""

EXAMPLES = r"""
- name: Own the agent's flags
  mesos.containerizer.agent_flags:
    path: /etc/mesos-slave
    flags:
      master: zk://10.0.0.1:2181,10.0.0.2:2181/mesos
      work_dir: /var/lib/mesos
      isolation: posix/cpu,posix/mem
      switch_user: true
      executor_registration_timeout: 5mins
      attributes:
        rack: r12
        zone: b
    validator: /opt/mesos-shim/bin/mesos-shim

- name: Change what the agent would not recover from, knowingly
  mesos.containerizer.agent_flags:
    path: /etc/mesos-slave
    flags:
      resources:
        cpus: 8
        ports: "[31000-31999]"
    purge: false
    allow_incompatible:
      - resources
"""

RETURN = r"""
changed_flags:
  description: The flags whose setting changes, secrets masked.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The flag.
      type: str
    before:
      description: What it was; a boolean, text, or a map of text. V(null) where it was absent.
      type: raw
    after:
      description: What it is now. V(null) where it is absent.
      type: raw
    effect:
      description:
        - V(none) if the agent sees no difference, V(restart) if the agent must be restarted to see it, V(incompatible)
          if it may not recover from that restart.
      type: str
  sample:
    - {name: attributes, before: {rack: r11}, after: {rack: r12, zone: b}, effect: incompatible}
    - {name: master, before: null, after: "zk://mesos:********@10.0.0.1:2181/mesos", effect: restart}
    - {name: switch_user, before: false, after: true, effect: restart}
restart_required:
  description: Whether the agent must be restarted for the change to take effect.
  returned: always
  type: bool
  sample: true
foreign_files:
  description: Names, relative to O(path), of what lay in the directory and is no flag.
  returned: always
  type: list
  elements: str
  sample: [".isolation.swp", "attributes/rack.rpmnew", "isolation.4711.2026-01-01@10:00:00~"]
"""

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_change import FlagChange, IncompatibleError
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def main():
    module = SecretiveModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "flags": {"type": "dict", "required": True},
            "purge": {"type": "bool", "default": True},
            "mode": {"type": "raw", "default": "0644"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "allow_incompatible": {"type": "list", "elements": "str", "default": []},
            "validator": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        change = FlagChange(module)
        change.refuse()
        if change.drift and not module.check_mode:
            change.make()
        module.exit_json(**change.result())
    except IncompatibleError as error:
        module.fail_json(msg=str(error), changed_flags=error.changed)
    except FlagError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, module.params["path"]))


if __name__ == "__main__":
    main()
