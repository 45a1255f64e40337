"""Launches at once: in one sandbox, interrupted ones, and more volumes than descriptors."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ..lib.launching import info, launch, refused, said, tree, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def place(open_tmp: Path) -> Path:
    """What the volumes cover."""
    path = open_tmp / "place"
    path.mkdir()
    path.chmod(0o1777)
    return path


def test_many_at_once_in_one_sandbox(shim: Shim, open_tmp: Path, place: Path) -> None:
    """Each finds what another is just making: all run, all see the same directory."""
    for number in range(10):
        sandbox = open_tmp / f"sandbox{number}"
        sandbox.mkdir()
        words = [str(shim.program), "run", "--container-info", info(volume("a/b/c", place)), "--", "/bin/sh", "-c"]
        started = [
            subprocess.Popen([*words, f"touch {place}/{n}"], cwd=sandbox, stderr=subprocess.PIPE, text=True)
            for n in range(8)
        ]
        errors = [process.communicate(timeout=60)[1] for process in started]
        assert errors == [""] * 8
        assert sorted(os.listdir(sandbox / "a/b/c")) == [str(n) for n in range(8)]
        assert (sandbox / "a/b/c").stat().st_mode & 0o7777 == 0o1777


def test_as_many_volumes_as_there_may_be(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    volumes = []
    for number in range(128):
        (open_tmp / f"places/{number}").mkdir(parents=True)
        volumes.append(volume(f"a/{number}", open_tmp / f"places/{number}"))
    text = open_tmp / "info.json"
    text.write_text(info(*volumes))
    words = f"{shim.program} run --container-info @{text} -- /bin/sh -c"
    script = f"ulimit -Sn 1024; exec {words} 'for n in {open_tmp}/places/*; do touch $n/x; done'"
    assert (
        said(subprocess.run(["/bin/sh", "-c", script], cwd=sandbox, capture_output=True, text=True, check=False)) == ""
    )
    assert len(list(sandbox.glob("a/*/x"))) == 128


def test_too_few_descriptors_are_said(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """Wherever they run out: one line, and nothing is left."""
    for number in range(6):
        (open_tmp / f"places/{number}").mkdir(parents=True)
    volumes = [volume(f"a/{number}", open_tmp / f"places/{number}") for number in range(6)]
    (open_tmp / "info.json").write_text(info(*volumes))
    before = tree(sandbox)
    seen = set()
    for limit in range(8, 60):
        script = f"ulimit -n {limit}; exec {shim.program} run --container-info @{open_tmp}/info.json -- /bin/echo ran"
        done = subprocess.run(["/bin/sh", "-c", script], cwd=sandbox, capture_output=True, text=True, check=False)
        if done.stdout == "ran\n":
            break
        seen.add(refused(done, "Too many open files"))
        assert tree(sandbox) == before
    assert len(seen) > 5
    assert limit < 59


def test_an_interrupt_takes_everything_back(shim: Shim, sandbox: Path, place: Path) -> None:
    """Control-C in the middle of a launch."""
    words = [str(shim.program), "run", "--container-info", info(volume("a/b", place)), "--", "/bin/echo", "started"]
    for call in ("mkdirat", "fchmod", "move_mount", "fchdir"):
        inject = [
            "strace",
            "-qqq",
            "-o",
            os.devnull,
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=SIGINT:when=1",
        ]
        done = subprocess.run([*inject, *words], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
        assert os.listdir(sandbox) == []


def test_another_user_in_the_same_sandbox(shim: Shim, sandbox: Path, place: Path) -> None:
    said(launch(shim, sandbox, [volume("made", place)], f"touch {place}/roots"))
    os.chown(sandbox, NOBODY, NOBODY)
    done = launch(
        shim, sandbox, [volume("made", place)], f"touch {place}/his; ls {place}", options=("--user", "nobody")
    )
    assert said(done).split() == ["his", "roots"]
