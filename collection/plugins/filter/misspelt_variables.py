# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that look like ones of the roles, and are none."""

from __future__ import annotations

DOCUMENTATION = r"""
name: misspelt_variables
short_description: Variables that look like ones of this collection's roles
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Makes lines of the names that are no variable of the roles and close to one. Ansible itself ignores a variable that
    nothing uses, so a misspelt one leaves the default in force.
options:
  _input:
    description: Names of variables that begin with C(mesos_agent_) or C(mesos_shim_).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Check the names of variables
  ansible.builtin.assert:
    that: misspelt | length == 0
    fail_msg: "{{ misspelt | join('; ') }}"
  vars:
    misspelt: >-
      {{ lookup('ansible.builtin.varnames', '^mesos_(agent|shim)_', wantlist=True)
         | mesos.containerizer.misspelt_variables }}
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
  sample: ["mesos_agent_flag: no such variable; did you mean mesos_agent_flags?"]
"""

import difflib
import functools
import re
from pathlib import Path

_ROLES = Path(__file__).resolve().parents[2] / "roles"
_NAME = re.compile(r"\bmesos_(?:agent|shim)_(\w+)")
# What roles leave for each other and for playbooks.
_RESULTS = {"mesos_agent_rollout", "mesos_agent_drift", "mesos_agent_usage", "mesos_shim_staged"}
_NEAR = 0.8  # of 1: an operator may well have a mesos_agent_port of their own


@functools.lru_cache(maxsize=None)
def _known():
    """The names of all variables of the roles."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(_ROLES.glob("*/meta/argument_specs.yml"))]
    return frozenset(match.group() for text in texts for match in _NAME.finditer(text)) | _RESULTS


def misspelt_variables(names):
    """One line for each name that is close to one of the roles' variables and is none."""
    by_end = {_NAME.match(name).group(1): name for name in sorted(_known())}
    lines = []
    for name in sorted(set(names) - _known()):
        end = _NAME.match(name)
        near = difflib.get_close_matches(end.group(1).lower(), sorted(by_end), n=1, cutoff=_NEAR) if end else []
        lines += ["%s: no such variable; did you mean %s?" % (name, by_end[found]) for found in near]
    return lines


class FilterModule:
    """The filter mesos.containerizer.misspelt_variables."""

    def filters(self):
        return {"misspelt_variables": misspelt_variables}
