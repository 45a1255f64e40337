"""Fixtures of the tests of the recipes."""

from tests.docs.commands import following  # noqa: F401
from tests.hosts.fixtures import hosts  # noqa: F401
