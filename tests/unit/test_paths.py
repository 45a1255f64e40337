"""Paths by component."""

from __future__ import annotations

import pytest

from mesos_shim.system import paths


@pytest.mark.parametrize(
    ("path", "expected"), [("/a/b", "/a/b"), ("/a//b/./c/", "/a/b/c"), ("/", "/"), ("///", "/"), ("/.", "/")]
)
def test_normal(path: str, expected: str) -> None:
    assert paths.normal(path) == expected


@pytest.mark.parametrize(
    ("path", "ancestor", "below"),
    [
        ("/tmp/a", "/tmp", True),
        ("/tmpfoo", "/tmp", False),
        ("/tmp", "/tmp", False),
        ("/tmp", "/tmp/a", False),
        ("/a", "/", True),
        ("/", "/", False),
    ],
)
def test_is_below(path: str, ancestor: str, below: bool) -> None:
    assert paths.is_below(path, ancestor) is below


def test_relative() -> None:
    assert paths.relative("/a/b/c", "/a") == ["b", "c"]
    assert paths.relative("/a/b", "/") == ["a", "b"]


@pytest.mark.parametrize("path", ["", "a\0", "..", "a/..", "../a", "a/../b", "x" * 256, "y/" * 2048])
def test_faults(path: str) -> None:
    assert paths.fault(path) is not None
    assert paths.fault_relative(path) is not None


@pytest.mark.parametrize("path", [".", "./", "././", ".//."])
def test_no_component_at_all(path: str) -> None:
    assert paths.fault_relative(path) == "is the sandbox itself"


@pytest.mark.parametrize("path", ["./..", "./a/../b", "a/./.."])
def test_two_dots_are_refused_beside_one(path: str) -> None:
    assert paths.fault_relative(path) == "has a '..' component"


@pytest.mark.parametrize("path", ["a", "a/b", "..a", "a..", "...", "x" * 255, "./a", "a/.", "./.private/tmp", "a/./b"])
def test_no_faults(path: str) -> None:
    assert paths.fault(path) is None
    assert paths.fault_relative(path) is None
