#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_generation_confirm
short_description: Say that a host's pending generation is good
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - What M(mesos.containerizer.agent_generation) has switched to is no longer pending, and is what a later failure goes
    back to. Old generations and the releases that only they needed are removed.
  - Playbooks call it after M(mesos.containerizer.agent_gate).
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.shim
  - mesos.containerizer.shim.claim
  - mesos.containerizer.shim.tools
  - mesos.containerizer.shim.kept
attributes:
  diff_mode:
    description: Nothing of what an agent or a launch reads changes.
    support: none
seealso:
  - module: mesos.containerizer.agent_generation
"""

EXAMPLES = r"""
- name: Confirm the generation
  mesos.containerizer.agent_generation_confirm:
"""

RETURN = r"""
generation:
  description: The host's generation, which is good now.
  returned: success
  type: int
  sample: 2
"""

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import SecretiveModule
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import CLAIM, KEPT, PREFIX, TOOLS
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import PENDING_RESTORE
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import GenerationError, Host, answer


class Confirmation(Host):
    """The pending generation is good."""

    def run(self):
        self.claim.check()
        number = self.store.state["pending"]
        result = {"changed": number is not None, "generation": number or self.store.state["good"]}
        if number is None or self.check_mode:
            self.claim.release()
            return result
        if number == PENDING_RESTORE or self.store.about(number) is None:
            raise GenerationError(
                "generation %s was started but not finished; run the rollout again, or roll back" % number
            )
        with self.store.lock():
            self.claim.check()
            self.confirm_pending()
        self.claim.release()
        return result


def main():
    module = SecretiveModule(argument_spec={**PREFIX, **CLAIM, **TOOLS, **KEPT}, supports_check_mode=True)
    answer(module, Confirmation)


if __name__ == "__main__":
    main()
