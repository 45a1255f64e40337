"""The quickstart on every supported ansible-core, each on a Python that it runs on."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import clone_to

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesos-shim-tests/ansible-core"
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
# ansible-core -> Python: the oldest and the newest that are supported, and between them each Python once.
MATRIX = [("2.18", "3.11"), ("2.19", "3.13"), ("2.20", "3.12"), ("2.21", "3.13")]

pytestmark = pytest.mark.timeout(400)


def environment(core, python):
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
            install = [ready / "bin/pip", "install", "-q", "--disable-pip-version-check"]
            done = subprocess.run(
                [*install, f"ansible-core=={core}.*", "psutil>=7"], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"no ansible-core {core} for Python {python}: {done.stderr.strip()[-200:]}")
            (ready / "complete").touch()
    return ready / "bin"


@pytest.mark.parametrize(("core", "python"), MATRIX)
def test_quickstart(public_dir, core, python):
    programs = environment(core, python)
    clone = clone_to(public_dir / "clone")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MESOS_", "PYTHON"))}
    env.update(ANSIBLE_NOCOLOR="1", PATH=f"{programs}:{env['PATH']}")

    def run(*command):
        done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert f"core {core}." in run(programs / "ansible", "--version")
    for arguments, changed in ((("--check",), 2), ((), 2), ((), 0)):
        said = run(programs / "ansible-playbook", "playbooks/quickstart.yml", *arguments)
        assert f"changed={changed} " in said, said
        assert "DEPRECATION" not in said, said
    launched = run(clone / ".demo/bin/mesos-shim", "run", "--rm", "--", "sh", "-c", "ls -A /tmp; echo launched")
    assert launched == "launched\n"
