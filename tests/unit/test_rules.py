"""Small rules of the launch path that a whole launch reaches only by a race: each on real files."""

from __future__ import annotations

import os
import posix
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from mesos_shim import errors
from mesos_shim.agent import protobuf
from mesos_shim.launch import mount_view, rollback, sources
from mesos_shim.plan import facts
from mesos_shim.spec import config
from mesos_shim.spec.request import CALLER, FRAMEWORK, LaunchRequest
from mesos_shim.system import acl, files, legacy_mounts, syscalls, unmapped, walk
from mesos_shim.system.credentials import Identity

from ..lib.launching import ACCESS, acl_for
from ..lib.launching import acl as entries
from ..lib.shim import NOBODY, needs_linux, needs_root

pytestmark = [needs_linux]

USER = Identity(1000, 1000, [50], switch=True)
USER_OBJ, NAMED_USER, GROUP_OBJ, NAMED_GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODYS = 0xFFFFFFFF


def access(*items: tuple[int, int, int]) -> acl.Access:
    """An access list of (tag, bits, id)."""
    return acl.Access(entries(*items))


BASE = ((USER_OBJ, 7, NOBODYS), (OTHER, 0, NOBODYS))


@pytest.mark.parametrize(
    ("more", "writes"),
    [
        (((GROUP_OBJ, 0, NOBODYS), (MASK, 7, NOBODYS)), False),
        (((NAMED_USER, 7, 1000), (GROUP_OBJ, 0, NOBODYS), (MASK, 7, NOBODYS)), True),
        (((NAMED_USER, 7, 1000), (GROUP_OBJ, 0, NOBODYS), (MASK, 5, NOBODYS)), False),  # masked
        (((NAMED_USER, 5, 1000), (GROUP_OBJ, 7, NOBODYS), (MASK, 7, NOBODYS)), False),  # a user's entry decides
        (((NAMED_USER, 7, 1001), (GROUP_OBJ, 5, NOBODYS), (MASK, 7, NOBODYS)), False),
        (((NAMED_GROUP, 7, 50), (GROUP_OBJ, 0, NOBODYS), (MASK, 7, NOBODYS)), True),
        (((NAMED_GROUP, 7, 51), (GROUP_OBJ, 0, NOBODYS), (MASK, 7, NOBODYS)), False),
    ],
)
def test_who_may_write_by_an_access_list(more: tuple[tuple[int, int, int], ...], writes: bool) -> None:
    assert access(*BASE, *more).lets_write(USER, 0, 0) is writes


def test_owner_and_group_of_an_access_list() -> None:
    found = access((USER_OBJ, 5, NOBODYS), (GROUP_OBJ, 7, NOBODYS), (MASK, 7, NOBODYS), (OTHER, 7, NOBODYS))
    assert not found.lets_write(USER, 1000, 0)  # the owner's entry decides for him
    assert found.lets_write(USER, 0, 50)
    assert found.lets_write(Identity(0, 0, [], switch=False), 5, 5)


def test_strangers_of_an_access_list() -> None:
    assert acl.Access(acl_for(1234, 7)).strangers_write((0,))
    assert not acl.Access(acl_for(1234, 5)).strangers_write((0,))
    assert not acl.Access(acl_for(1234, 7)).strangers_write((0, 1234))
    assert not acl.Access(b"").strangers_write((0,))
    assert struct.calcsize("<HHI") == acl._ENTRY


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A directory, and a link to it."""
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    return tmp_path / "link"


@pytest.mark.parametrize("opener", [mount_view._open_path, legacy_mounts.open_without_links])
def test_no_link_on_a_way_that_had_none(link: Path, opener: object) -> None:
    """Even one that leads to the very same directory: between here and there it could be anything."""
    os.close(opener(str(link.parent / "real/inner"), walk.OPEN_STEP))
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        opener(str(link / "inner"), walk.OPEN_STEP)


@pytest.mark.parametrize("old", [False, True])
def test_a_step_takes_no_link(link: Path, monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    def absent(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    if old:
        monkeypatch.setattr(syscalls, "openat2", absent)
    parent = os.open(link.parent, os.O_RDONLY)
    try:
        # With O_PATH and without O_DIRECTORY, openat2 opens the link itself; no caller asks for that.
        more = [syscalls.O_PATH] if old else []
        for flags in (syscalls.O_PATH | os.O_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY, *more):
            with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
                walk.step(parent, "link", flags)
        os.close(walk.step(parent, "real", syscalls.O_PATH | os.O_DIRECTORY))
    finally:
        os.close(parent)


def test_emptiness_is_judged_by_one_entry(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert sources.is_empty(fd)
        (tmp_path / "x").touch()
        assert not sources.is_empty(fd)
        assert os.listdir(fd) == ["x"]
    finally:
        os.close(fd)


def test_undo_leaves_what_is_not_ours(tmp_path: Path) -> None:
    """A directory that has got something in it, a file that was written, a name that is another thing by now."""
    fd = os.open(tmp_path, os.O_RDONLY)
    for name in ("empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full/x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "written").write_text("x")
    (tmp_path / "link").symlink_to("full")
    names = ("empty", "full", "file", "written", "link", "gone")
    notes: list[tuple[object, ...]] = [("made", os.dup(fd), name) for name in names]
    rollback.roll_back(notes)
    assert notes == []
    assert sorted(os.listdir(fd)) == ["full", "link", "written"]
    os.close(fd)


@needs_root
def test_undo_gives_back_what_was_taken(tmp_path: Path) -> None:
    his = tmp_path / "his"
    his.mkdir()
    os.chown(his, NOBODY, NOBODY)
    his.chmod(0o750)
    os.setxattr(his, ACCESS, acl_for(1234, 7))
    before = (his.stat().st_mode, his.stat().st_uid, os.getxattr(his, ACCESS))
    fd = os.open(his, os.O_RDONLY)
    made = SimpleNamespace(notes=[])
    sources._note_metadata(fd, made)
    os.fchown(fd, 0, 0)
    os.fchmod(fd, 0o1777)
    os.removexattr(fd, ACCESS)
    os.setxattr(fd, "trusted.mesos_shim", b"/tmp")
    rollback.roll_back(made.notes)
    assert (his.stat().st_mode, his.stat().st_uid, os.getxattr(his, ACCESS)) == before
    assert "trusted.mesos_shim" not in os.listxattr(his)
    os.close(fd)


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x09abc", b"\x0dabc", b"\x0a", b"\x08\x80", b"\x0b", b"\x00\x01"])
def test_protobuf_that_ends_too_early(data: bytes) -> None:
    with pytest.raises(errors.ShimError, match=r"^data: protobuf "):
        protobuf.fields(data, "data")


@pytest.mark.parametrize("pattern", ["/", "//", "/.", "relative", "/a/*/b", "/a/..", "", 7])
def test_patterns_that_nothing_can_pass(pattern: object) -> None:
    assert len(config.parse({"pass_through": [pattern]}, "config")[1]) == 1
    assert config.parse({"pass_through": ["/tmp/a*"]}, "config")[1] == []


def test_one_line_keeps_the_end() -> None:
    text = "start\n" + "x" * 100_000 + ": the reason"
    line = errors.one_line(text)
    assert line.startswith("start\\n")
    assert line.endswith(": the reason")
    assert len(line) < 3000


def test_the_kernels_numbers() -> None:
    """The constant written out for systems whose Python lacks it is that of the module that has it."""
    assert syscalls.O_PATH == os.O_PATH


@needs_root
def test_what_stands_for_root_is_not_trusted_for_a_framework(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a user namespace without root a stranger's link looks like root's; a framework may not be led by one."""
    stranger = 23456
    monkeypatch.setattr(unmapped, "stands_for_root", lambda uid: uid == stranger)
    place = tmp_path / "strangers"
    place.mkdir()
    (place / "link").symlink_to("/usr")
    for path in (place, place / "link"):
        os.chown(path, stranger, stranger, follow_symlinks=False)
    volume = SimpleNamespace(host_path=str(place / "link"), json_path="volume '/opt'")
    request = LaunchRequest()
    request.origin = CALLER
    assert facts._source(volume, request, files.trusted_uids(), []).path == "/usr"
    request.origin = FRAMEWORK
    with pytest.raises(errors.ShimError, match="symbolic link that uid 23456 could have made"):
        facts._source(volume, request, files.trusted_uids(), [])


@needs_root
def test_another_launch_may_dress_the_same_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first step shows for a moment between our last one and our look; a file system that lies is still told."""
    real = posix.fchmod
    times = iter([True])

    def fchmod(fd: int, mode: int) -> None:
        real(fd, 0o700 if mode != 0o700 and next(times, False) else mode)

    monkeypatch.setattr(posix, "fchmod", fchmod)
    fd = os.open(tmp_path, os.O_RDONLY)
    sources._apply_metadata(fd, None, SimpleNamespace(warnings=[]))
    assert tmp_path.stat().st_mode & 0o7777 == 0o755
    monkeypatch.setattr(posix, "fchmod", lambda fd, mode: real(fd, 0o700))
    with pytest.raises(errors.ShimError, match="does not keep owner and mode of a directory"):
        sources._apply_metadata(fd, None, SimpleNamespace(warnings=[]))
    os.close(fd)
