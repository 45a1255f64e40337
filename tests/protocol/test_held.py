"""What the agent holds, decoded: from files that a real 1.11 agent wrote, and from hostile bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesos_shim.agent import checkpoint, protobuf
from mesos_shim.errors import ShimError
from mesos_shim.spec import container_info

from ..lib import wire
from ..lib.shim import NOBODY

CAPTURES = Path(__file__).with_name("captures")


def config(name: str) -> checkpoint.Held:
    """The captured ContainerConfig `name`."""
    path = CAPTURES / f"{name}.config"
    message = checkpoint.read_message(str(path))
    assert message is not None
    return checkpoint.container_config(message, path.name)


def test_frameworks_container_info_of_a_real_agent() -> None:
    """The framework asked for these two read-only volumes when the capture was made."""
    found = config("shared-framework-own")
    assert found.executor_id == "ex-shared-own"
    assert found.container_class is None
    info = container_info.parse_or_refuse(found.container_info, "ContainerInfo")
    assert [(v.container_path, v.host_path, v.read_only) for v in info.volumes] == [
        ("/srv", "data", True),
        ("/mnt", "/usr/share", True),
    ]
    assert found.directory is not None
    assert found.directory.endswith("/runs/de93b671-669f-4b63-8ff2-6eff0d707455")


def test_nested_container_does_not_take_its_parents_container_info() -> None:
    """Field 8 of a DEBUG container is its parent's ExecutorInfo, ContainerInfo included: it is not its own."""
    debug = config("shared-debug")
    assert debug.container_class == checkpoint.DEBUG
    assert debug.container_info is None
    nested = config("shared-nested-own")
    assert nested.container_class != checkpoint.DEBUG
    assert nested.container_info is not None


def test_every_form_of_a_volume() -> None:
    """Sources of Mesos 1.x by their field numbers in mesos.proto."""
    sandbox = wire.data(1, "/a") + wire.number(3, 1)
    sandbox += wire.data(5, wire.number(1, 2) + wire.data(3, wire.number(1, 1) + wire.data(2, "x/y")))
    host = wire.data(1, "/b") + wire.number(3, 2)
    propagation = wire.data(2, wire.number(1, 1))
    host += wire.data(5, wire.number(1, 4) + wire.data(5, wire.data(1, "/srv/b") + propagation))
    value = checkpoint.container_info(wire.container_info(sandbox, host), "test")
    info = container_info.parse_or_refuse(value, "ContainerInfo")
    assert [(v.container_path, v.host_path, v.read_only, v.propagation) for v in info.volumes] == [
        ("/a", "x/y", False, False),
        ("/b", "/srv/b", True, True),
    ]


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (wire.container_info(wire.volume("/a", "a"), kind=1), "DOCKER"),
        (wire.container_info() + wire.data(5, wire.data(1, b"image")), "mesos"),
        (wire.container_info(wire.volume("/a", "a") + wire.data(4, b"i")), "image"),
        (wire.container_info(wire.volume("/a", "a", mode=7)), "enum value 7"),
        (wire.container_info(wire.volume("/a", "a") + wire.number(9, 1)), "field 9"),
        (wire.container_info() + wire.number(77, 1), "field 77"),
        (wire.container_info(wire.volume("/a", "..")), "'..'"),
        (wire.container_info(wire.data(1, "/a") + wire.number(3, 1) + wire.data(5, wire.number(1, 3))), "SECRET"),
    ],
)
def test_what_is_not_ours_is_refused_by_name(message: bytes, named: str) -> None:
    """Nothing that a message holds is honoured or dropped in silence."""
    with pytest.raises(ShimError, match=named.replace(".", r"\.")):
        container_info.parse_or_refuse(checkpoint.container_info(message, "test"), "ContainerInfo")


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",  # a length is missing
        b"\x0a\x05ab",  # it ends beyond the end
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a length of 2^64 - 1
        b"\x08" + b"\x80" * 20,  # a number without an end
        b"\x0b\x0c",  # groups
        b"\x00\x01",  # field number 0
        b"\x0f",  # wire type 7
        b"\x08\x01" * (protobuf.MAX_FIELDS + 1),
    ],
)
def test_broken_messages_are_refused(message: bytes) -> None:
    """Every one is refused with its place, none with another exception."""
    with pytest.raises(ShimError, match="protobuf"):
        protobuf.fields(message, "test")


def test_a_file_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    """A checkpoint that was cut off is damaged, not empty."""
    path = tmp_path / "config"
    path.write_bytes(wire.checkpoint(wire.data(3, "/sandbox"))[:-3])
    with pytest.raises(ShimError, match="its own length"):
        checkpoint.read_message(str(path))
    path.write_bytes(b"\x01")
    with pytest.raises(ShimError, match="its own length"):
        checkpoint.read_message(str(path))
    path.unlink()
    assert checkpoint.read_message(str(path)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user's file")
def test_another_users_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """What it says decides whose volumes are whose."""
    path = tmp_path / "config"
    path.write_bytes(wire.checkpoint(wire.data(3, "/sandbox")))
    assert checkpoint.read_message(str(path)) is not None
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(ShimError, match="does not belong to the agent"):
        checkpoint.read_message(str(path))


def test_a_link_or_a_fifo_in_its_place_is_refused(tmp_path: Path) -> None:
    """The file must be the agent's own."""
    path = tmp_path / "config"
    path.symlink_to("/etc/hostname")
    with pytest.raises(ShimError):
        checkpoint.read_message(str(path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ShimError):
        checkpoint.read_message(str(path))
