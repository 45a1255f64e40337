# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the collection's roles, as their argument specs describe them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_ROLES = Path(__file__).resolve().parents[2] / "roles"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def entries(role: str) -> Mapping[str, Any]:
    """{entry: its description}, of one role."""
    text = (_ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=_LOADER)["argument_specs"]  # noqa: S506 (a safe one)


@cache
def every_option() -> Mapping[str, Any]:
    """{variable: its description}, of every entry of every role."""
    roles = sorted(path.name for path in _ROLES.iterdir())
    return {name: o for role in roles for entry in entries(role).values() for name, o in entry["options"].items()}
