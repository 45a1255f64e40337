"""Fixtures of the tests on hosts."""

from .fixtures import hosts  # noqa: F401
