#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_claim_release
short_description: End the claim of a run on a host
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - From its staging until its agent has passed the gate, a host is claimed for the run of one playbook, and other runs
    refuse it. This ends the claim of this run on a host that it does not go on with.
  - It also ends the claim of a run that O(take_over) names. Any other claim is left alone.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
attributes:
  diff_mode:
    description: Nothing of what an agent or a launch reads changes.
    support: none
seealso:
  - module: mesos.containerizer.shim_release
  - module: mesos.containerizer.agent_generation
"""

EXAMPLES = r"""
- name: End the claim of a run whose controller is gone
  mesos.containerizer.agent_claim_release:
    take_over: [20261130T103022Z-5f2c]
"""

RETURN = r"""
released:
  description: Id of the run whose claim was ended, or would be in check mode; V(null) where there was none to end.
  returned: success
  type: str
  sample: 20261130T103022Z-5f2c
"""

import os

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import CLAIM, PREFIX
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import Store
from ansible_collections.mesos.containerizer.plugins.module_utils._run_claim import Claim, ClaimError, refuse
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def main():
    module = SecretiveModule(argument_spec={**PREFIX, **CLAIM}, supports_check_mode=True)
    prefix = os.path.normpath(module.params["prefix"])
    try:
        released = Claim(Store(prefix), module.params, module.check_mode).release()
    except ClaimError as error:
        refuse(module, error)
    except OSError as error:
        module.fail_json(msg=said(error, prefix, "mesos_shim_prefix"))
    module.exit_json(changed=released is not None, released=released)


if __name__ == "__main__":
    main()
