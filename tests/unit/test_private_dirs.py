"""Directories in a base, made without a launch: nothing that is there already is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesos_shim.errors import ShimError
from mesos_shim.launch import private_directories
from mesos_shim.launch.state import LaunchState
from mesos_shim.plan import model
from mesos_shim.system.walk import Resolved

from ..lib.plans import USER, launch_of, resolved


@pytest.fixture
def mount(tmp_path: Path) -> model.Mount:
    """A private directory over tmp_path itself, in a base there."""
    base = tmp_path / "base"
    base.mkdir()
    mount = model.Mount(model.BIND, "private_directories '/tmp'", resolved("/"))
    fd = os.open(base, os.O_RDONLY)
    mount.base = Resolved(str(base), fd, os.fstat(fd), [], None)
    mount.source_parts = ["c1@1-1"]
    return mount


def begun() -> LaunchState:
    return launch_of(model.Draft("c1", resolved("/srv/sandbox"), USER))


def make(mount: model.Mount, state: LaunchState) -> int:
    assert mount.base is not None
    return private_directories.make(mount.base.fd, mount, state)


def test_a_name_that_is_taken_is_refused(mount: model.Mount, tmp_path: Path) -> None:
    (tmp_path / "base/c1@1-1").mkdir()
    with pytest.raises(ShimError, match="already exists, although only this launch has that name"):
        make(mount, begun())
    (tmp_path / "base/c1@1-1").rmdir()
    (tmp_path / "base/c1@1-1").symlink_to(tmp_path)
    with pytest.raises(ShimError, match="already exists"):
        make(mount, begun())


def test_a_second_mount_of_the_launch_takes_the_first_ones(mount: model.Mount, tmp_path: Path) -> None:
    """Unless it is another by now."""
    state = begun()
    one, other = os.fstat(make(mount, state)), os.fstat(make(mount, state))
    assert one.st_ino == other.st_ino
    assert len(state.private) == 1
    (tmp_path / "base/c1@1-1").rename(tmp_path / "base/moved")
    (tmp_path / "base/c1@1-1").mkdir()
    with pytest.raises(ShimError, match="was replaced while the launch was being prepared"):
        make(mount, state)
