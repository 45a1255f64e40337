"""Fixtures of the tests of the recipes."""

from tests.hosts.fixtures import hosts  # noqa: F401
