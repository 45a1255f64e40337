"""The versions of ansible-core that the collection supports, each in an environment of its own."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .collection import neutral_environment

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesos-shim-tests/ansible-core"
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

# ansible-core -> Python: the oldest and the newest that are supported, and between them each Python once.
MATRIX = [("2.18", "3.11"), ("2.19", "3.13"), ("2.20", "3.12"), ("2.21", "3.13")]


def environment(core: str, python: str) -> Path:
    """A virtual environment with that ansible-core, made once."""
    interpreter = next(PYENV.glob(f"{python}.*/bin/python{python}"), None) or shutil.which(f"python{python}")
    if interpreter is None:
        pytest.skip(f"no Python {python} here (looked in pyenv and on PATH)")
    ready = CACHE / f"{core}-py{python}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready / "complete").exists():
            shutil.rmtree(ready, ignore_errors=True)
            subprocess.run([interpreter, "-m", "venv", ready], check=True)
            install: list[str | Path] = [ready / "bin/pip", "install", "-q", "--disable-pip-version-check"]
            done = subprocess.run(
                [*install, f"ansible-core=={core}.*", "psutil>=7"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"no ansible-core {core} for Python {python}: {done.stderr.strip()[-200:]}")
            (ready / "complete").touch()
    return ready / "bin"


def runner(programs: Path, clone: Path, **more: str) -> Callable[..., str]:
    """Runs a command in a checkout with these programs; returns what it said."""
    env = neutral_environment("PYTHON")
    env.update(ANSIBLE_NOCOLOR="1", PATH=f"{programs}:{env['PATH']}", **more)

    def run(*command: str | Path, code: int = 0) -> str:
        done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=300, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == code and "DEPRECATION" not in said, said
        return said

    return run
