"""disk/du on trees that are wide, deep and changed meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesos_shim.isolators import disk_du
from mesos_shim.usage import sample

from ..conftest import Shim, needs_root
from ..containers import Starter


def du(path: Path) -> int:
    return int(subprocess.run(["du", "-s", "-B1", path], stdout=-1, check=True).stdout.split()[0])


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_wide_and_a_deep_tree_take_few_descriptors(tmp_path: Path, few_descriptors: None) -> None:
    for number in range(300):
        (tmp_path / f"wide/{number}").mkdir(parents=True)
        (tmp_path / f"wide/{number}/file").write_bytes(b"x" * 5000)
    (tmp_path / "/".join(["deep"] * 300)).mkdir(parents=True)
    assert disk_du.used(str(tmp_path)) == du(tmp_path)


def test_without_descriptors_there_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum of what could be opened would say that the sandbox is small."""
    (tmp_path / "a").mkdir()
    real = os.open

    def exhausted(name: str, *arguments: object, **keywords: object) -> int:
        if name == "a":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(name, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        disk_du.used(str(tmp_path))


def test_a_directory_that_is_moved_away_meanwhile_costs_the_way_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"top/{name}/inner").mkdir(parents=True)
    top = tmp_path / "top"
    expected = du(top)
    real = os.listdir
    moved = []

    def listdir(fd: int) -> list[str]:
        if not moved and os.readlink(f"/proc/self/fd/{fd}").endswith("/inner"):
            moved.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
            moved[0].rename(tmp_path / "elsewhere")
        return real(fd)

    monkeypatch.setattr(os, "listdir", listdir)
    assert disk_du.used(str(top)) == expected
    assert moved


@needs_root
def test_the_disk_is_walked_when_the_counters_are_free_again(
    start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    start("--isolation", "filesystem/shared,disk/du")

    def used(path: str, pin: object) -> int:
        assert pin == (path, (os.stat(path).st_dev, os.stat(path).st_ino))
        with (shim.state_dir / "usage.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return 4096

    monkeypatch.setattr(disk_du, "used", used)
    (item,) = sample.take(str(shim.state_dir)).used
    assert item.statistics["disk_used_bytes"] == 4096
