"""Fixtures of the tests of the collection."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.lib.collection import LocalFleet, run_module


@pytest.fixture
def flags(tmp_path):
    """Calls agent_flags on a directory of its own; `flags.path` is that directory."""

    def call(wanted, check=False, **args):
        return run_module("agent_flags", check, **{"path": str(call.path), "flags": wanted, **args})

    call.path = tmp_path / "etc" / "mesos-slave"
    return call


@pytest.fixture
def public_dir():
    """A directory that other users can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="mesos-collection-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def fleet(public_dir, clone):
    return LocalFleet(public_dir, clone)


@pytest.fixture
def host(fleet):
    return fleet.host("host")
