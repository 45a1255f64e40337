"""Fixtures of the tests of the documents."""

from tests.hosts.fixtures import hosts  # noqa: F401
