# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that YAML has made something else of than the text that was written."""

from __future__ import annotations

import json


def not_text(variable, value):
    """What is to be done about the first key in a map or list of this variable that is not text; None where all are."""
    key = _first(value)
    if key is None:
        return None
    advice = "quote it (YAML makes true or false of an unquoted on, off, yes or no)"
    return f"{variable}: the key {json.dumps(key[0], default=str)} is not text: {advice}"


def _first(value):
    """(key,) for the first key that is not text; None where all are."""
    if isinstance(value, dict):
        return next(((key,) for key in value if not isinstance(key, str)), None) or _first(list(value.values()))
    if isinstance(value, list):
        return next((key for key in map(_first, value) if key is not None), None)
    return None
