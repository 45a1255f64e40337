"""One exchange of names after each single call of a launch: every moment between a check and a use, in turn (threat 3).

What the racers of test_races.py hit by chance is hit here at every place, once: what was judged is what is used, or the
launch is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ..lib.launching import info, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = [needs_root, pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")]

CANARY = "root's own secret"
# Calls before the execve in which a launch does its work; the interpreter's start comes before.
WINDOW = 115


@pytest.fixture(scope="session")
def swapper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The compiled tracer."""
    path = tmp_path_factory.mktemp("swapper") / "swapper"
    subprocess.run(
        ["gcc", "-O2", "-Wall", "-Werror", "-o", str(path), str(Path(__file__).with_name("swapper.c"))], check=True
    )
    return path


class Scene:
    """A fresh host: the user's home, root's directories with the canary, and which names are exchanged."""

    def __init__(self, kind: str) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="mesos-shim-test-", dir="/var/tmp"))
        self.root.chmod(0o755)
        self.home = self._his("home")
        self.sandbox = self._his("home/sandbox")
        self.roots = self.root / "home/roots"  # in his directory, so that he can give it any name there
        self.roots.mkdir()
        (self.roots / "canary").write_text(CANARY)
        (self.roots / "data").mkdir()
        (self.roots / "data/canary").write_text(CANARY)
        (self.roots / "data/deeper").mkdir()
        self.target = self.root / "target"
        self.target.mkdir()
        self.options: list[str] = []
        self.volumes, self.pair = getattr(self, f"_{kind}")()

    def _his(self, name: str) -> Path:
        path = self.root / name
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
        return path

    def _absolute(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self._his("home/data")
        return [volume(self.home / "data", self.target)], (self.home / "data", self.roots)

    def _absolute_parent(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self._his("home/dir")
        self._his("home/dir/data")
        return [volume(self.home / "dir/data", self.target)], (self.home / "dir", self.roots)

    def _absolute_link(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self._his("home/data")
        (self.home / "link").symlink_to("roots")
        return [volume(self.home / "data", self.target)], (self.home / "data", self.home / "link")

    def _relative(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self._his("home/sandbox/tmp")
        (self.sandbox / "link").symlink_to("../roots")
        return [volume("tmp", self.target)], (self.sandbox / "tmp", self.sandbox / "link")

    def _relative_deeper(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self._his("home/sandbox/a")
        (self.sandbox / "link").symlink_to("../roots")
        return [volume("a/data/deeper", self.target)], (self.sandbox / "a", self.sandbox / "link")

    def _sandbox(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self.options = ["--sandbox", str(self.sandbox)]
        return [volume("tmp", self.target)], (self.sandbox, self.roots)

    def _target(self) -> tuple[list[dict[str, object]], tuple[Path, Path]]:
        self._his("home/target")
        return [volume("tmp", self.home / "target")], (self.home / "target", self.roots)

    def words(self, shim: Shim) -> list[str]:
        """The launch; as root, so that nothing but the shim protects the canary."""
        show = f"cat {self.target}/canary canary {self.target}/*/canary 2>/dev/null; "
        seen = " || ".join(f"test -e {path}/canary" for path in (self.roots, *self.pair))
        show += f"{seen} || echo COVERED"
        words = [str(shim.program), "run", *self.options, "--container-info", info(*self.volumes)]
        return [*words, "--", "/bin/sh", "-c", show]

    def roots_state(self) -> list[tuple[object, ...]]:
        """Everything about root's directory, by whichever name it has now."""
        place = next(
            path for path in (self.roots, *self.pair) if (path / "data/canary").exists() and not path.is_symlink()
        )
        found = []
        for path in (place, *sorted(place.rglob("*"))):
            status = path.lstat()
            found.append(
                (str(path.relative_to(place)), status.st_mode, status.st_uid, status.st_gid, os.listxattr(path))
            )
        return found


def play(shim: Shim, swapper: Path, kind: str, number: int) -> str | None:
    """One launch with an exchange after call `number`; what was wrong, or None."""
    scene = Scene(kind)
    try:
        before = scene.roots_state()
        words = [str(swapper), str(number), *map(str, scene.pair), *scene.words(shim)]
        done = subprocess.run(words, cwd=scene.sandbox, capture_output=True, text=True, check=False, timeout=30)
        problems = []
        if CANARY in done.stdout:
            problems.append("the canary was shown")
        if "COVERED" in done.stdout:
            problems.append("mounted over root's directory")
        if scene.roots_state() != before:
            problems.append(f"root's directory changed: {before} {scene.roots_state()}")
        if done.returncode not in (0, 125) or (done.returncode and done.stderr.count("\n") != 1):
            problems.append(f"exit {done.returncode}")
        if "internal error" in done.stderr or "Traceback" in done.stderr:
            problems.append("no message for people")
        return f"{kind} after call {number}: {'; '.join(problems)}: {done.stderr}" if problems else None
    finally:
        shutil.rmtree(scene.root, ignore_errors=True)


def length(shim: Shim, swapper: Path, kind: str) -> int:
    """How many calls a launch of `kind` makes before its command."""
    scene = Scene(kind)
    count = scene.root / "count"
    try:
        words = [str(swapper), "0", str(count), "/", *scene.words(shim)]
        done = subprocess.run(words, cwd=scene.sandbox, capture_output=True, text=True, check=False, timeout=30)
        assert "internal error" not in done.stderr
        return int(count.read_text())
    finally:
        shutil.rmtree(scene.root, ignore_errors=True)


KINDS = ("absolute", "absolute_parent", "absolute_link", "relative", "relative_deeper", "sandbox", "target")


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchange_after_every_call(shim: Shim, swapper: Path, kind: str) -> None:
    last = length(shim, swapper, kind)
    with ThreadPoolExecutor(2) as pool:
        numbers = range(last - WINDOW, last + 1)
        wrong = [problem for problem in pool.map(lambda number: play(shim, swapper, kind, number), numbers) if problem]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(numbers)}", *wrong])
