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
from mesos_shim.system import other_syscalls, walk
from mesos_shim.usage import sample

from ..lib import fuse
from ..lib.containers import Starter
from ..lib.shim import CHECKOUT, PYTHON, Shim, needs_root


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
    real = walk.step

    def exhausted(fd: int, name: str, flags: int) -> int:
        if name == "a":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(fd, name, flags)

    monkeypatch.setattr(walk, "step", exhausted)
    with pytest.raises(OSError, match="Too many open files"):
        disk_du.used(str(tmp_path))


def test_a_directory_that_is_moved_away_meanwhile_costs_the_way_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"top/{name}/inner").mkdir(parents=True)
    top = tmp_path / "top"
    expected = du(top)
    real = os.scandir
    moved = []

    def scandir(fd: int) -> Iterator[os.DirEntry[str]]:
        if not moved and os.readlink(f"/proc/self/fd/{fd}").endswith("/inner"):
            moved.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
            moved[0].rename(tmp_path / "elsewhere")
        return real(fd)

    monkeypatch.setattr(os, "scandir", scandir)
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


@pytest.mark.parametrize("bound", ["MAX_ENTRIES", "MAX_SECONDS", "MAX_DEPTH"])
def test_beyond_a_bound_there_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Whoever makes files faster than they are counted does not keep everybody's figures."""
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    monkeypatch.setattr(disk_du, bound, {"MAX_ENTRIES": 2, "MAX_SECONDS": -1.0, "MAX_DEPTH": 2}[bound])
    with pytest.raises(OSError, match="stopped "):
        disk_du.used(str(tmp_path))


def test_without_statx_the_figure_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(b"x" * 50000)
    os.link(tmp_path / "a/file", tmp_path / "again")
    before = disk_du.used(str(tmp_path))
    monkeypatch.setattr(other_syscalls, "_statx", other_syscalls.absent)
    assert disk_du.used(str(tmp_path)) == before == du(tmp_path)


USED = """
import sys
sys.path.insert(0, sys.argv[1])
from mesos_shim.isolators import disk_du
print(disk_du.used(sys.argv[2]))
"""


@needs_root
@fuse.needs_fuse
@pytest.mark.parametrize("where", ["directory", "file", "."])
def test_a_mount_that_never_answers_is_not_asked(open_tmp: Path, where: str) -> None:
    sandbox = open_tmp / "sandbox"
    (sandbox / "directory").mkdir(parents=True)
    (sandbox / "file").touch()
    command = [*fuse.over(sandbox / where), PYTHON, "-c", USED, str(CHECKOUT / "shim"), str(sandbox)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done
    assert (done.stdout == "None\n") == (where == ".")


def test_no_link_on_the_way_is_followed(tmp_path: Path) -> None:
    """A user may put one in the place of a directory above the sandbox, to have another's measured."""
    (tmp_path / "real/sandbox").mkdir(parents=True)
    (tmp_path / "way").symlink_to("real")
    assert disk_du.used(str(tmp_path / "way/sandbox")) is None
    assert disk_du.used(str(tmp_path / "real/sandbox")) is not None


# Two pairs of hard links, of the same inode numbers in both layers; then what is mounted in the overlay.
OVERLAY = """
set -e
cd "$1"
mkdir lower upper
for layer in lower upper; do
  mount -t tmpfs layer $layer
  mkdir $layer/files
  head -c 2000000 /dev/zero >$layer/files/$layer
  ln $layer/files/$layer $layer/files/again-$layer
done
mv upper/files/again-upper upper
mv upper/files/upper upper/other
rmdir upper/files
mkdir upper/tree upper/work
mv upper/other upper/again-upper upper/tree
mkdir -p merged lower/mounted
touch lower/bound
mount -t overlay -o xino=off,lowerdir=lower,upperdir=upper/tree,workdir=upper/work overlay merged
mount -t tmpfs inner merged/mounted
head -c 4000000 /dev/zero >merged/mounted/big
mount --bind merged/mounted/big merged/bound
shift
exec "$@"
"""


@needs_root
@pytest.mark.parametrize("kernel", ["", "other_syscalls.STATX_MNT_ID = 0"], ids=["5.8", "before 5.8"])
def test_an_overlay_has_files_of_several_devices(open_tmp: Path, kernel: str) -> None:
    """Of what is mounted in it nothing counts, be it a directory or a file."""
    program = USED.replace("print", f"from mesos_shim.system import other_syscalls\n{kernel}\nprint")
    if kernel:  # then a file of a layer cannot be told from one that is mounted
        program = f"import os; os.system('umount {open_tmp}/merged/bound')\n" + program
    script = ["unshare", "-m", "/bin/sh", "-c", OVERLAY, "sh", str(open_tmp)]
    command = [*script, PYTHON, "-c", program, str(CHECKOUT / "shim"), str(open_tmp / "merged")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "unknown filesystem type" in done.stderr:
        pytest.skip("this kernel has no overlayfs")
    assert done.returncode == 0, done.stderr
    assert 4_000_000 <= int(done.stdout) < 4_200_000
