"""The steps of a launch: each is described."""

from __future__ import annotations

import re

from mesos_shim.launch import explained

from ..lib.shim import CHECKOUT

_STEP = re.compile(r"\bStep\(\s*\"(\w+)\"")


def test_every_step_has_a_description_and_every_description_a_step() -> None:
    sources = [path.read_text() for path in (CHECKOUT / "shim/mesos_shim").rglob("*.py")]
    assert {name for text in sources for name in _STEP.findall(text)} == set(explained.DESCRIPTIONS)
