# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of modules that work on an installation of the shim; the arguments are in module_utils/_arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """C(shim) is the installation, C(shim.tools) what its releases run with, C(shim.kept) how much of it stays,
    C(shim.claim) which other run may be at work on it.
    """

    DOCUMENTATION = r"""
options:
  prefix:
    description: Directory of the shim's installation.
    type: path
    default: /opt/mesos-shim
"""

    TOOLS = r"""
options:
  helpers_dir:
    description:
      - Directory of the packaged Mesos helpers, which the launcher directory links to.
      - Default is C(/usr/libexec/mesos) or C(/usr/local/libexec/mesos), whichever exists.
    type: path
  python:
    description:
      - Interpreter of the shim's releases. Every task user must be able to execute it.
      - Default is the system's own, then the newest other one that is suitable.
    type: path
"""

    CLAIM = r"""
options:
  take_over:
    description:
      - Ids of runs whose claim on the host may be taken over, because somebody knows that they have ended.
      - The claim of a run that this controller knows to have ended is taken over without it.
    type: list
    elements: str
    default: []
    version_added: 0.3.0
  run:
    description: Set by the controller's half; which run of which playbook this is.
    type: dict
    version_added: 0.3.0
"""

    KEPT = r"""
options:
  keep:
    description: How many generations are kept, including the good one. The host's original state is kept as well.
    type: int
    default: 3
  keep_releases:
    description: How many releases are kept. A release that a generation needs or a process runs from is kept as well.
    type: int
    default: 2
"""
