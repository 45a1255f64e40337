"""What fails before main: one line and the shim's own status, as any other error."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ..lib.shim import CHECKOUT, PYTHON, Shim, needs_linux

pytestmark = needs_linux


@pytest.fixture
def strange_libffi(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python's own libffi is hidden behind one that lacks all of its functions."""
    origin = subprocess.run(
        [PYTHON, "-ISc", "import _ctypes; print(_ctypes.__file__)"], capture_output=True, text=True, check=False
    ).stdout.strip()
    needed = subprocess.run(["ldd", origin], capture_output=True, text=True, check=False).stdout if origin else ""
    names = [line.split()[0] for line in needed.splitlines() if line.split()[0].startswith("libffi")]
    if not names:
        pytest.skip("this interpreter's _ctypes is not linked with a libffi of its own")
    library = str(tmp_path / names[0])
    subprocess.run(
        ["gcc", "-shared", "-x", "c", "-o", library, f"-Wl,-soname,{names[0]}", "/dev/null"], check=True, timeout=60
    )
    return {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}


def failed(done: subprocess.CompletedProcess[str], name: str) -> None:
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{name}: Python cannot load a part of itself: ")
    assert "libffi" in lines[0] or "_ctypes" in lines[0]
    assert "LD_LIBRARY_PATH is set; unset it" in lines[0]
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["run", "explain"])
def test_another_libffi(shim: Shim, sandbox: Path, strange_libffi: dict[str, str], command: str) -> None:
    words = [command, "--volume", "tmp:/tmp", "--", "/bin/echo", "ran"]
    done = shim.run(*words, cwd=sandbox, env=strange_libffi)
    assert done.returncode == 125
    failed(done, "mesos-shim")


def test_another_libffi_under_an_agent(shim: Shim, sandbox: Path, strange_libffi: dict[str, str]) -> None:
    done = subprocess.run(
        [shim.helper, "launch"],
        cwd=sandbox,
        env=strange_libffi,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    failed(done, "mesos-containerizer")


def test_another_libffi_without_the_bundle(sandbox: Path, strange_libffi: dict[str, str]) -> None:
    """As an installed wheel runs, and a release by another interpreter than the one that staged it."""
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from mesos_shim.main import main; main()"
    words = [PYTHON, "-ISBc", program, str(CHECKOUT / "shim"), "run", "--volume", "tmp:/tmp", "--", "/bin/echo", "ran"]
    done = subprocess.run(
        words, cwd=sandbox, env=strange_libffi, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 125
    failed(done, "mesos-shim")
