"""The collection as it is given away: one tarball, installed without a network, used without a checkout."""

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.lib.collection import neutral_environment
from tests.lib.shim import CHECKOUT

BIN = CHECKOUT / ".venv/bin"


@pytest.fixture(scope="module")
def tarball(tmp_path_factory):
    command = [CHECKOUT / ".ci/build-collection", tmp_path_factory.mktemp("dist")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def run(cwd, *command):
    """A program of .venv in an environment that knows no checkout."""
    env = neutral_environment("PYTHON")
    env.update(ANSIBLE_NOCOLOR="1", ANSIBLE_COLLECTIONS_PATH=str(cwd / "collections"))
    env.pop("PWD", None)  # of a shell; what systemd, cron or Python starts has none, or another one's
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=cwd, env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tarball_holds_what_users_need_and_nothing_else(tarball):
    with tarfile.open(tarball) as tar:
        names = set(tar.getnames())
        info = json.load(tar.extractfile("MANIFEST.json"))["collection_info"]
    assert (info["namespace"], info["name"]) == ("mesos", "containerizer")
    assert info["version"] in tarball.name
    assert {"files/mesos-shim.tar.gz", "playbooks/site.yml", "roles/mesos_shim/README.md", "README.md"} <= names
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc") or n.startswith((".ansible/", ".git/"))]


def test_quickstart_from_an_offline_install(tarball, public_dir):
    run(public_dir, "ansible-galaxy", "collection", "install", "--offline", "-p", "collections", str(tarball))
    run(public_dir, "ansible-galaxy", "collection", "verify", "--offline", "-p", "collections", "mesos.containerizer")
    demo = public_dir / ".demo"
    for changed in (2, 0):
        said = run(public_dir, "ansible-playbook", "mesos.containerizer.quickstart")
        assert f"changed={changed} " in said, said
    assert (demo / "etc/mesos-slave/launcher_dir").read_text() == f"{demo}/launcher\n"
    # With the platform's own archive where it has one, so usage has its psutil.
    command = [demo / "bin/mesos-shim", "run", "--rm", "--", "sh", "-c", "ls -A /tmp; touch /tmp/x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with tarfile.open(tarball) as tar:
        if f"files/mesos-shim-linux-{os.uname().machine}.tar.gz" in tar.getnames():
            assert (demo / "current/lib/psutil").is_dir()
