#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: shim_host_info
short_description: What a host has of the shim, and what it can enforce
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Returns the release in use, the change that has brought it, what C(mesos-shim doctor) finds, and the host's CPUs and
    memory.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.info_module
  - mesos.containerizer.shim
"""

EXAMPLES = r"""
- name: Ask what the host can enforce
  mesos.containerizer.shim_host_info:
  register: host
"""

RETURN = r"""
release:
  description: The release in use; V(null) where there is none.
  returned: success
  type: str
  sample: 0.2.0-5f2c9e0b7a41
generation:
  description: The host's generation; V(null) where there is none, or where this user may not read it.
  returned: success
  type: int
  sample: 2
change:
  description: Id of the change that has made this generation; V(null) where it is part of none, or not readable.
  returned: success
  type: str
  sample: 20261130T103022Z-5f2c
cpus:
  description: CPUs of the host; V(null) where it does not say.
  returned: success
  type: int
  sample: 8
memory:
  description: Bytes of memory of the host; V(null) where it does not say.
  returned: success
  type: int
  sample: 17179869184
findings:
  description: What C(mesos-shim doctor) finds; nothing where no release is in use.
  returned: success
  type: list
  elements: dict
  sample:
    - {check: kernel, state: ok, message: Linux 6.1, remedy: ""}
doctor_error:
  description: Why the doctor said nothing, where it should have.
  returned: success
  type: str
  sample: ""
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import PREFIX
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import Store
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def setting(name):
    """A number of sysconf(3), None where this system has none."""
    try:
        value = os.sysconf(name)
    except (ValueError, OSError):
        return None
    return value if value > 0 else None


def memory():
    """Bytes of physical memory, None where it is not known."""
    pages, size = setting("SC_PHYS_PAGES"), setting("SC_PAGE_SIZE")
    return pages * size if pages and size else None


def in_use(prefix):
    """The name of the release in use, None where there is none."""
    try:
        return os.path.basename(os.readlink(os.path.join(prefix, "current")))
    except FileNotFoundError:
        return None


def here(prefix):
    """(number, change) of the host's generation."""
    try:
        store = Store(prefix)
        number = store.state["good"]
        return number, (store.about(number) or {}).get("change") if number is not None else None
    except (OSError, ValueError):
        return None, None


def doctor(run_command, prefix):
    """(what the doctor finds, why that is not known)"""
    program = os.path.join(prefix, "bin", "mesos-shim")
    try:
        code, out, err = run_command([program, "doctor", "--json"], handle_exceptions=False)
    except OSError as error:
        return [], "%s cannot be run: %s" % (program, error.strerror)
    try:
        found = json.loads(out)
    except ValueError:
        return [], " ".join((err or out).split()) or "%s doctor ended with %d and said nothing" % (program, code)
    return found, "" if code in (0, 1) else "%s doctor ended with %d: %s" % (program, code, " ".join(err.split()))


def main():
    module = AnsibleModule(argument_spec=dict(PREFIX), supports_check_mode=True)
    prefix = os.path.normpath(module.params["prefix"])
    try:
        release = in_use(prefix)
    except OSError as error:
        module.fail_json(msg=said(error, prefix))
    findings, error = doctor(module.run_command, prefix) if release else ([], "")
    generation, change = here(prefix)
    module.exit_json(
        changed=False,
        generation=generation,
        change=change,
        release=release,
        cpus=setting("SC_NPROCESSORS_ONLN"),
        memory=memory(),
        findings=findings,
        doctor_error=error,
    )


if __name__ == "__main__":
    main()
