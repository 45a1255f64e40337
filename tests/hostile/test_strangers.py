"""What strangers own stops none of root's tools (threat 30): one bad entry ends no pass over others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesos_shim.commands import gc
from mesos_shim.commands.sweep import Sweep
from mesos_shim.system import cgroups, paths
from mesos_shim.usage import sample, statistics

from ..lib.containers import Starter
from ..lib.shim import Shim, needs_root

pytestmark = needs_root

SUPERSCRIPT = "c@\N{SUPERSCRIPT TWO}-1"


@pytest.mark.parametrize(
    "text", ["\N{SUPERSCRIPT TWO}", "1\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT THREE}", "", "-1", "1 "]
)
def test_a_number_is_ascii_digits(text: str) -> None:
    assert not paths.is_number(text)
    assert cgroups.maker(f"c@{text}-1") is None
    assert cgroups.maker(f"c@1-{text}") is None


def test_a_name_of_other_digits_ends_no_pass(start: Starter, shim: Shim, tmp_path: Path) -> None:
    """Whoever may make cgroups may call one so; str.isdigit() takes it for a number, and int() does not."""
    start().end()
    try:
        mount = gc._cgroup_mounts()[0]
        group = Path(mount) / "mesos-shim" / SUPERSCRIPT
        group.mkdir(parents=True)
    except (IndexError, OSError):
        pytest.skip("needs a cgroup hierarchy to write")
    try:
        done = shim.run("gc")
        assert "internal error" not in done.stderr
        assert "cleared record of c1" in done.stdout
        assert group.is_dir()
    finally:
        group.rmdir()


def test_one_container_that_cannot_be_cleared_does_not_keep_the_others(
    start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        start(name=name).end()
    real = gc._ended

    def ended(directory: int, entry: object, sweep: Sweep) -> None:
        if entry.container_id == "b":
            raise RuntimeError("on a bad day")
        real(directory, entry, sweep)

    monkeypatch.setattr(gc, "_ended", ended)
    directory = os.open(shim.state_dir / "containers", os.O_RDONLY)
    sweep = Sweep(dry=False)
    gc._records(str(shim.state_dir), directory, sweep)
    os.close(directory)
    assert (sweep.cleared, sweep.failed) == (2, 1)
    assert "container b: internal error, please report it: RuntimeError: on a bad day" in capsys.readouterr().err
    assert os.listdir(shim.state_dir / "containers") == ["b.json"]


def test_one_container_that_cannot_be_counted_does_not_keep_the_others(
    start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        start(name=name)
    real = statistics.of

    def of(entry: object, *words: object) -> object:
        if entry.container_id == "a":
            raise ValueError("on a bad day")
        return real(entry, *words)

    monkeypatch.setattr(statistics, "of", of)
    found = sample.take(str(shim.state_dir))
    assert [item.entry.container_id for item in found.used] == ["b"]
    assert any(text.startswith("a: not counted: ") for text in found.warnings)


def test_more_groups_than_can_be_looked_at_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user with a hierarchy delegated to them may make as many as they like; the host's own come first."""
    monkeypatch.setattr(gc, "_MAX_GROUPS", 5)
    (tmp_path / "mesos-shim").mkdir()
    (tmp_path / "user/mesos-shim").mkdir(parents=True)
    for number in range(10):
        (tmp_path / f"user/{number}").mkdir()
    sweep = Sweep(dry=True)
    assert gc._our_directories(str(tmp_path), sweep) == [f"{tmp_path}/mesos-shim"]
    assert sweep.failed == 1
    assert "more than 5: not all of them are looked at" in capsys.readouterr().err


@pytest.mark.parametrize("look", [cgroups.tree, cgroups.empty])
def test_a_containers_groups_have_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, look: object) -> None:
    monkeypatch.setattr(cgroups, "MAX_GROUPS", 5)
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}/cgroup.procs").touch()
    (tmp_path / "cgroup.procs").touch()
    found = look(str(tmp_path))
    assert found is False or len(found) == 5
