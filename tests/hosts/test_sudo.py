"""Hosts whose sudo wants a terminal and hands on a umask of 077, as hardened ones do."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lib.collection import neutral_environment, tree

pytestmark = pytest.mark.hosts
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"

SUDOERS = """\
deploy ALL=(ALL) NOPASSWD: ALL
Defaults requiretty
Defaults umask=0077, umask_override
"""


def test_a_user_of_sudo_that_wants_a_terminal_needs_pipelining_off(hosts, clone, tmp_path):
    with hosts(1) as fleet:
        host = fleet["host-1"]
        host.ssh(
            "cat > /etc/sudoers.d/deploy && chmod 440 /etc/sudoers.d/deploy && visudo --check --quiet", input=SUDOERS
        )
        before = tree(host.root / "etc"), tree(host.root / "opt")

        def play(name, **variables):
            inventory = fleet.inventory(
                tmp_path / "hosts.json",
                ansible_user="deploy",
                ansible_become=True,
                mesos_agent_flags={"work_dir": "/var/lib/mesos"},
                **variables,
            )
            env = neutral_environment()
            command = [PLAYBOOK, f"playbooks/{name}.yml", "-i", inventory]
            done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

        code, said = play("site")
        assert code != 0 and "must have a tty to run sudo" in said, said
        assert (tree(host.root / "etc"), tree(host.root / "opt")) == before
        for name in ("site", "verify"):
            code, said = play(name, ansible_pipelining=False)
            assert code == 0, said
        for path, mode in {
            "etc/mesos-shim": 0o755,
            "etc/mesos-shim/config.json": 0o644,
            "opt/mesos-shim": 0o755,
            "opt/mesos-shim/current/bin/mesos-shim": 0o755,
        }.items():
            assert stat.S_IMODE((host.root / path).stat().st_mode) == mode, path
        assert host.ssh("su deploy -c '/opt/mesos-shim/current/bin/mesos-shim --version'").returncode == 0
        code, said = play("uninstall", ansible_pipelining=False)
        assert code == 0 and (tree(host.root / "etc"), tree(host.root / "opt")) == before, said
