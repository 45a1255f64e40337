# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where to where a host was taken, or is to be, for people."""

from __future__ import annotations

import re


def _place(where, unnumbered):
    where = where or {}
    number = where.get("generation")
    return "%s (%s)" % (unnumbered if number is None else number, where.get("release") or "no shim")


def _version(where):
    """The version of a place's release, to be compared; empty where there is none."""
    version = str((where or {}).get("release") or "").rpartition("-")[0]
    # 0.10 comes after 0.9, and a development version before the release of its number.
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.findall(r"[0-9]+|[a-z]+", version)]


def _downgrade(switched):
    before, after = _version(switched.get("before")), _version(switched.get("after"))
    if not before or not after:
        return ""
    end = [(1, -1, "")]  # before any further number, after any further word
    return ", a downgrade" if after + end < before + end else ""


def what(switched):
    """What a module that switches a host has returned."""
    if not switched or not switched.get("changed"):
        return "nothing to do" if switched else ""
    # In check mode what is to come has no number yet.
    text = "%s -> %s" % (_place(switched.get("before"), "none"), _place(switched.get("after"), "new"))
    flags = ", ".join(change["name"] for change in switched.get("changed_flags") or [])
    text += _downgrade(switched)
    text += (", flags: " + flags if flags else "") + (", restarted" if switched.get("restarted") else "")
    # A killed run may have written the flags, or restarted the agent: no more is to be done, so no more is said.
    return text + (", which an interrupted run had started" if "resume" in (switched.get("actions") or []) else "")
