"""Fixtures of the tests of the fleet report."""

from tests.hosts.fixtures import hosts  # noqa: F401
