"""Removing a tree: whatever lies in it, however deep it is, whoever changes it meanwhile, and nothing beyond it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesos_shim.system import remove_tree

from ..lib import fuse
from ..lib.shim import CHECKOUT, NOBODY, PYTHON, SOAK, needs_root


def remove(path: Path, inode: tuple[int, int] | None = None) -> str | None:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return remove_tree.remove(fd, path.name, inode)
    finally:
        os.close(fd)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "top"
    path.mkdir()
    return path


def test_everything_that_can_lie_there(top: Path) -> None:
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/file").write_text("x")
    (top / "a/read-only").write_text("x")
    (top / "a/read-only").chmod(0)
    os.mkfifo(top / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(top)
        server.bind("socket")
        os.chdir("/")
    (top / "link").symlink_to("a")
    (top / "dangling").symlink_to("nowhere")
    os.link(top / "a/file", top / "hard")
    (top / "shut").mkdir(mode=0)
    (top / ("n" * 255)).touch()
    os.close(os.open(bytes(top) + b"/\xff\n\x1b", os.O_CREAT))
    assert remove(top) is None
    assert not top.exists()


def test_a_link_is_removed_and_not_followed(top: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (top / "link").symlink_to(tmp_path / "precious")
    (top / "up").symlink_to("..")
    assert remove(top) is None
    assert (tmp_path / "precious/file").exists()


def test_the_name_itself_may_not_be_a_link(top: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("top")
    (top / "file").touch()
    assert remove(tmp_path / "link") is not None
    assert (top / "file").exists()


def test_another_directory_of_that_name_stays(top: Path) -> None:
    (top / "file").touch()
    assert remove(top, (0, 0)) == "'top' is another directory by now"
    assert (top / "file").exists()
    status = top.stat()
    assert remove(top, (status.st_dev, status.st_ino)) is None


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    assert remove(tmp_path / "never") is None


DEPTH = 6000 if SOAK else 2500  # deeper than Python recurses (1000), longer than PATH_MAX (4096)


def deepen(top: Path, depth: int) -> None:
    """A chain of directories, each with a file."""
    fd = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("dd", dir_fd=fd)
        child = os.open("dd", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(os.open("file", os.O_CREAT, dir_fd=fd))
    os.close(fd)


@pytest.fixture
def top_in_memory() -> Iterator[Path]:
    """On a disk every rmdir(2) of a deep tree takes the kernel milliseconds."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as parent:
        path = Path(parent, "top")
        path.mkdir()
        yield path


def test_a_deep_tree(top_in_memory: Path) -> None:
    top = top_in_memory
    deepen(top, DEPTH)
    before = len(os.listdir("/proc/self/fd"))
    assert remove(top) is None
    assert not top.exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_wide_tree(top: Path) -> None:
    for index in range(400):
        (top / f"d{index}").mkdir()
        (top / f"d{index}/f").touch()
    assert remove(top) is None
    assert not top.exists()


def test_few_descriptors_however_deep(top: Path) -> None:
    """A process may have a handful of them: a tree must not need one a level."""
    deepen(top, 60)
    script = f"""
import os, resource, sys
sys.path.insert(0, {str(Path(remove_tree.__file__).parents[2])!r})
from mesos_shim.system import remove_tree
fd = os.open({str(top.parent)!r}, os.O_RDONLY)
resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))
print(remove_tree.remove(fd, "top"))
"""
    done = subprocess.run([PYTHON, "-ISBc", script], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


@needs_root
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "file"])
def test_a_mount_is_not_entered(top: Path, tmp_path: Path, kind: str) -> None:
    """A bind mount of the same file system has the same device number: only the mount tells."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()
    (top / "a/mount").mkdir(parents=True)
    (top / "a/place").touch()
    (top / "other").mkdir()
    mount = {
        "tmpfs": "mount -t tmpfs none top/a/mount && touch top/a/mount/file",
        "bind": "mount --bind precious top/a/mount",
        "file": "mount --bind precious/file top/a/place",
    }[kind]
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(remove_tree.__file__).parents[2])!r})
from mesos_shim.system import remove_tree
print(remove_tree.remove(os.open(".", os.O_RDONLY), "top"))
"""
    (tmp_path / "script").write_text(script)
    command = f"{mount} && {PYTHON} -ISB script && ls top/a/mount precious"
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", command]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    problem, *listed = done.stdout.splitlines()
    assert ("a mount" in problem) if kind != "file" else ("busy" in problem)
    assert "file" in listed
    assert (tmp_path / "precious/file").exists()
    assert not (top / "other").exists()  # what can be removed is


@needs_root
def test_an_ordinary_user_opens_what_he_has_shut(open_tmp: Path) -> None:
    top = open_tmp / "top"
    (top / "shut/inner").mkdir(parents=True)
    (top / "shut/inner/file").touch()
    for path in (open_tmp, top, top / "shut", top / "shut/inner"):
        os.chown(path, NOBODY, NOBODY)
    (top / "shut/inner").chmod(0o100)
    (top / "shut").chmod(0)
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(remove_tree.__file__).parents[2])!r})
from mesos_shim.system import remove_tree
print(remove_tree.remove(os.open({str(open_tmp)!r}, os.O_RDONLY), "top"))
"""
    lib = Path(remove_tree.__file__).parents[2]
    if not os.access(lib, os.X_OK) or any(not parent.stat().st_mode & 1 for parent in lib.parents):
        pytest.skip(f"the checkout {lib} is not for other users")
    words = [PYTHON, "-ISBc", script]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, user=NOBODY, group=NOBODY, extra_groups=[]
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert not top.exists()


ROUNDS = 400 if SOAK else 25


def test_a_tree_that_is_moved_about_meanwhile(top: Path, tmp_path: Path) -> None:
    """Somebody renames directories in and out of the tree: what lies outside is never touched."""
    outside = tmp_path / "outside"
    (outside / "deep/er").mkdir(parents=True)
    (outside / "deep/er/precious").touch()
    stop = threading.Event()

    def play() -> None:
        while not stop.is_set():
            for source, target in (("top/a/b", "moved"), ("moved", "top/a/b"), ("outside/deep", "top/x")):
                try:
                    if source == "outside/deep":
                        os.symlink(outside / "deep", tmp_path / "top/a/swap")
                        os.rename(tmp_path / "top/a/swap", tmp_path / "top/a/b/swap")
                    else:
                        os.rename(tmp_path / source, tmp_path / target)
                except OSError:
                    continue

    player = threading.Thread(target=play)
    player.start()
    try:
        for _ in range(ROUNDS):
            with contextlib.suppress(OSError):  # renamed under our own feet
                (top / "a/b/c/d").mkdir(parents=True, exist_ok=True)
                for index in range(5):
                    (top / f"a/f{index}").touch()
            remove(top)
            assert (outside / "deep/er/precious").exists()
    finally:
        stop.set()
        player.join()


def test_the_way_up_is_not_believed_blindly(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a directory is being emptied it is moved elsewhere: `..` now leads to where nothing is ours."""
    (top / "a/b").mkdir(parents=True)
    (tmp_path / "elsewhere/b").mkdir(parents=True)
    (tmp_path / "elsewhere/precious").touch()
    real = remove_tree._Removal.visit
    moved = []

    def visit(removal: remove_tree._Removal) -> list[str]:
        if (top / "a/b").exists() and os.path.samestat(os.fstat(removal.fd), os.stat(top / "a/b")):
            (tmp_path / "elsewhere/b").rmdir()
            os.rename(top / "a/b", tmp_path / "elsewhere/b")
            moved.append(removal.fd)
        return real(removal)

    monkeypatch.setattr(remove_tree._Removal, "visit", visit)
    problem = remove(top)
    assert moved
    assert problem is not None and "moved away" in problem
    assert (tmp_path / "elsewhere/precious").exists()
    assert (tmp_path / "elsewhere/b").exists()
    assert list(top.iterdir()) == []  # what is still in its place goes all the same


GROWING = """
import os, sys
os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    try:
        {step}
    except OSError:
        pass
"""
STEPS = {
    "deeper": "os.mkdir('d'); os.chdir('d')",
    "wider": "os.close(os.open(str(time.monotonic_ns()), os.O_CREAT))",
}


@pytest.mark.parametrize("bound", ["MAX_ENTRIES", "MAX_SECONDS", "MAX_DEPTH"])
def test_each_bound_ends_the_walk_and_says_so(top: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    (top / "a/b/c/d").mkdir(parents=True)
    for number in range(20):
        (top / f"a/b/{number}").touch()
    monkeypatch.setattr(remove_tree, bound, {"MAX_ENTRIES": 5, "MAX_SECONDS": -1.0, "MAX_DEPTH": 2}[bound])
    problem = remove(top)
    assert problem is not None
    assert "stopped" in problem
    assert "the rest stays" in problem
    monkeypatch.undo()
    assert remove(top) is None
    assert not top.exists()


@pytest.mark.parametrize("step", STEPS)
def test_a_tree_that_grows_ahead_ends_the_walk(top: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(remove_tree, "MAX_SECONDS", 1.0)
    script = "import time\n" + GROWING.format(step=STEPS[step])
    grower = subprocess.Popen([PYTHON, "-c", script, str(top)], stdout=subprocess.PIPE)
    done: list[str | None] = []
    try:
        assert grower.stdout.readline() == b"ready\n"
        walk = threading.Thread(target=lambda: done.append(remove(top)), daemon=True)
        walk.start()
        walk.join(60)
        assert len(done) == 1  # whatever it could remove
    finally:
        grower.kill()
        grower.wait()
        grower.stdout.close()
    monkeypatch.undo()
    assert remove(top) is None


def test_no_descriptor_is_left_or_closed_twice_where_it_is_enough(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the top, at each entry: a number that was closed already may be another file's by then."""
    (top / "a/b/c").mkdir(parents=True)
    (top / "a/b/file").touch()
    before = set(os.listdir("/proc/self/fd"))
    for most in range(4):
        monkeypatch.setattr(remove_tree, "MAX_ENTRIES", most)
        assert "stopped after" in str(remove(top))
        assert set(os.listdir("/proc/self/fd")) == before
    monkeypatch.undo()
    assert remove(top) is None


@needs_root
@fuse.needs_fuse
@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["directory", "file"])
def test_a_mount_that_never_answers_is_not_asked(top: Path, make: Callable[[Path], None]) -> None:
    (top / "in").mkdir()
    make(top / "in/mounted")
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from mesos_shim.system import remove_tree\n"
        "print(remove_tree.remove(os.open(sys.argv[2], os.O_RDONLY), 'top'))"
    )
    words = [PYTHON, "-c", script, str(CHECKOUT / "shim"), str(top.parent)]
    command = [*fuse.over(top / "in/mounted"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert "in/mounted" in done.stdout, done
    assert done.returncode == 0
    assert (top / "in/mounted").exists()
