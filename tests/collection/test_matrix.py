"""The quickstart on every supported ansible-core, each on a Python that it runs on."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Host, clone_to, tree

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


def runner(programs, clone):
    """Runs a command in a checkout with these programs; returns what it said."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MESOS_", "PYTHON"))}
    env.update(ANSIBLE_NOCOLOR="1", PATH=f"{programs}:{env['PATH']}")

    def run(*command, code=0):
        done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, timeout=100, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == code and "DEPRECATION" not in said, said
        return said

    return run


@pytest.mark.parametrize(("core", "python"), [MATRIX[0], MATRIX[-1]])
def test_site_and_what_it_refuses(public_dir, core, python):
    """Oldest and newest: foreseen, converged, nothing to do, a refusal by name, and a rollout that is refused."""
    programs = environment(core, python)
    run = runner(programs, clone_to(public_dir / "clone"))
    host = Host(public_dir / "host")
    inventory = public_dir / "inventory.json"
    inventory.write_text(json.dumps({"mesos_agents": {"hosts": {"host": host.variables}}}))
    play = (programs / "ansible-playbook", "-i", str(inventory))
    for arguments, changed in ((("--check", "--diff"), 2), ((), 2), ((), 0)):
        said = run(*play, "playbooks/site.yml", *arguments)
        assert f"changed={changed} " in said, said
    before = tree(host.root)
    said = run(*play, "playbooks/site.yml", "-e", '{"mesos_agent_flags": {"isolatoin": "sesame"}}', "-vvv", code=2)
    assert "flag isolatoin is unknown; did you mean isolation?" in said and "sesame" not in said
    said = run(*play, "playbooks/rollout.yml", "-e", "mesos_agent_gate_timeout=soon", code=2)
    assert "1 host: 1 refused" in said and "mesos_agent_gate_timeout" in said, said
    assert tree(host.root) == before


@pytest.mark.parametrize(("core", "python"), MATRIX)
def test_quickstart(public_dir, core, python):
    programs = environment(core, python)
    clone = clone_to(public_dir / "clone")
    run = runner(programs, clone)
    assert f"core {core}." in run(programs / "ansible", "--version")
    for arguments, changed in ((("--check",), 2), ((), 2), ((), 0)):
        said = run(programs / "ansible-playbook", "playbooks/quickstart.yml", *arguments)
        assert f"changed={changed} " in said, said
    launched = run(clone / ".demo/bin/mesos-shim", "run", "--rm", "--", "sh", "-c", "ls -A /tmp; echo launched")
    assert launched == "launched\n"
