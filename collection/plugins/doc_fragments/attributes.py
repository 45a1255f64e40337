# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules say of check mode, diff mode and platforms."""

from __future__ import annotations


class ModuleDocFragment:
    """Every module extends C(attributes), and C(attributes.info_module) or C(attributes.changes) as fits."""

    DOCUMENTATION = r"""
attributes:
  platform:
    description: Where it runs.
    platforms: posix
    support: full
"""

    # A module that only reads.
    INFO_MODULE = r"""
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing.
    support: N/A
"""

    # A module that changes the host. It says itself what its diff shows.
    CHANGES = r"""
attributes:
  check_mode:
    description: Reports what would change and rejects what would be rejected, without changing anything.
    support: full
  diff_mode:
    support: full
"""
