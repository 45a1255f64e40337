"""A path below an automount that is not mounted yet is there, as it is for the kernel (autofs, systemd.automount)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..lib.autofs import Automount, needs_autofs
from ..lib.launching import launch, refused, said, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = [needs_root, needs_autofs]

Maker = Callable[..., Automount]


@pytest.fixture
def automount(open_tmp: Path) -> Iterator[Maker]:
    """Make an automount point."""
    made: list[Automount] = []

    def make(**keywords: bool) -> Automount:
        path = open_tmp / "auto"
        path.mkdir()
        made.append(Automount(path, **keywords))
        return made[-1]

    yield make
    for point in made:
        point.close()


@pytest.fixture
def place(open_tmp: Path) -> Path:
    """What a volume covers."""
    path = open_tmp / "place"
    path.mkdir()
    return path


@pytest.mark.parametrize("below", ["project", ""])
def test_a_source(shim: Shim, sandbox: Path, place: Path, automount: Maker, below: str) -> None:
    """Below it, or the automount point itself; again once it has been idle."""
    point = automount()
    for _ in range(2):
        assert not point.mounted()
        done = launch(shim, sandbox, [volume(point.path / below, place, "RO")], f"find {place} -name data")
        assert said(done) == str(place / ("data" if below else "project/data"))
        assert point.mounted()
        point.expire()


def test_a_link_to_it_and_a_file_in_it(shim: Shim, sandbox: Path, place: Path, automount: Maker) -> None:
    """Neither is a directory: they are found all the same."""
    point = automount()
    link = place.parent / "link"
    link.symlink_to(point.path)
    file = place.parent / "file"
    file.touch()
    done = launch(shim, sandbox, [volume(link / "project/data", file, "RO")], f"stat -c %F {file}")
    assert said(done) == "regular empty file"
    assert point.mounted()


def test_a_sandbox(shim: Shim, place: Path, automount: Maker) -> None:
    point = automount()
    path = point.path / "project"
    words = ("run", "--sandbox", path, "--volume", f"made:{place}", "--", "/bin/sh", "-c")
    assert said(shim.run(*words, "pwd; ls")) == f"{path}\ndata\nmade"
    point.expire()
    assert said(shim.run("run", "--sandbox", path, "--", "pwd")) == str(path)


def test_a_target(shim: Shim, sandbox: Path, automount: Maker) -> None:
    point = automount()
    target = point.path / "project"
    assert said(launch(shim, sandbox, [volume("mine", target)], f"touch {target}/x; ls {target}")) == "x"
    assert (sandbox / "mine/x").exists()
    assert [entry.name for entry in target.iterdir()] == ["data"]


def test_a_source_of_another_users_launch(shim: Shim, sandbox: Path, place: Path, automount: Maker) -> None:
    """Walked with that user's rights."""
    point = automount()
    source = volume(point.path / "project", place, "RO")
    done = launch(shim, sandbox, [source], f"ls {place}; id -u", options=("--user", "nobody"))
    assert said(done) == f"data\n{NOBODY}"


def test_one_that_cannot_be_mounted(shim: Shim, sandbox: Path, place: Path, automount: Maker) -> None:
    point = automount(answers=False)
    told = refused(launch(shim, sandbox, [volume(point.path / "project", place)], "true"), "volumes[0].host_path")
    assert f"{str(point.path)!r} does not exist" in told
