"""Counts what a play costs in transport: every command, file sent and file fetched over SSH, for each host.

    calls = transport.count([".venv/bin/ansible-playbook", "playbooks/site.yml"], inventory, cwd=checkout)
    calls["host-1"]["exec"], sum(calls["host-1"].values())

The counting is done by the connection plugin itself, a subclass of Ansible's own ssh, so nothing is missed that its
log would not show. `COPY_LOOP` is the plain way to the same flags, for comparison: one `copy` for each.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from tests.lib.collection import neutral_environment

COPY_LOOP = Path(__file__).resolve().parent / "copy_loop.yml"

# Ansible reads a plugin's options from the literal in its file, so the documentation of ssh is pasted in.
PLUGIN = '''
DOCUMENTATION = r"""{documentation}"""

import os

from ansible.plugins.connection import ssh


class Connection(ssh.Connection):
    transport = "counted_ssh"

    def _count(self, what):
        with open(os.environ["COUNTED_SSH_LOG"], "a") as log:
            log.write(self._play_context.remote_addr + " " + what + "\\n")

    def exec_command(self, *args, **kwargs):
        self._count("exec")
        return super().exec_command(*args, **kwargs)

    def put_file(self, *args, **kwargs):
        self._count("put")
        return super().put_file(*args, **kwargs)

    def fetch_file(self, *args, **kwargs):
        self._count("fetch")
        return super().fetch_file(*args, **kwargs)
'''


def count(
    command: list[object], inventory: Path, *, cwd: Path, timeout: float = 300.0
) -> tuple[dict[str, Counter[str]], subprocess.CompletedProcess[str]]:
    """Runs `COMMAND -i INVENTORY`; the inventory's hosts are reached by the counting ssh.

    Returns: {host as it is addressed: Counter of exec, put, fetch} and what the command said.
    """
    from ansible.plugins.connection import ssh

    with tempfile.TemporaryDirectory() as scratch:
        plugin = Path(scratch) / "counted_ssh.py"
        plugin.write_text(PLUGIN.format(documentation=ssh.DOCUMENTATION))
        log = Path(scratch) / "log"
        log.touch()
        env = neutral_environment()
        env.update(ANSIBLE_NOCOLOR="1", ANSIBLE_CONNECTION_PLUGINS=scratch, COUNTED_SSH_LOG=str(log))
        argv = [*map(str, command), "-i", str(inventory), "-e", "ansible_connection=counted_ssh"]
        done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
        calls: dict[str, Counter[str]] = {}
        for line in log.read_text().splitlines():
            host, what = line.split()
            calls.setdefault(host, Counter())[what] += 1
    return calls, done
