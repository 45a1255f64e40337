# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For every module that has no half of its own on the controller; meta/runtime.yml sends them here."""

from __future__ import annotations

from ansible_collections.mesos.containerizer.plugins.plugin_utils._checked_action import CheckedAction


class ActionModule(CheckedAction):
    """The module, and no other words of its host."""
