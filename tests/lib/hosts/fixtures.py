"""The fixture `hosts`, which tests/conftest.py has for every folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import machines


@pytest.fixture(scope="session")
def hosts() -> Iterator[Callable[..., machines.Fleet]]:
    """`hosts(n, suite)` starts fresh hosts (see machines.start); what a test has left up ends with the session.

    Where this machine cannot have them the test is skipped, with the reason.
    """
    machines.reap()
    fleets: list[machines.Fleet] = []

    def start(
        n: int = 1,
        suite: str = machines.DEFAULT_SUITE,
        *,
        names: dict[str, str] | None = None,
        layer: Path | None = None,
    ) -> machines.Fleet:
        try:
            fleet = machines.start(n, suite, names=names, layer=layer)
        except machines.Unavailable as reason:
            pytest.skip(str(reason))
        fleets.append(fleet)
        return fleet

    yield start
    for fleet in fleets:
        fleet.down()
