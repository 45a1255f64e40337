# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The playbook of the change, run on this host."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from typing import IO

from .config import Config
from .text import one_line

GRACE_SECONDS = 5  # for output that processes of a killed playbook still write


def play(config: Config, checkout: str, change: str) -> str:
    """Run the playbook on this host; returns why it failed, empty if it did not."""
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        # The summary, the generations and rollback know the change by its commit.
        "mesos_agent_rollout_change": change,
    }
    command = [config.program, "--inventory", config.inventory, "--limit", config.name]
    command += ["--extra-vars", json.dumps(variables), config.playbook]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "ANSIBLE_COLLECTIONS_PATH": f"{checkout}/collections:/usr/share/ansible/collections",
        "ANSIBLE_NOCOLOR": "1",
        "LC_ALL": "C.UTF-8",
    }
    try:
        running = subprocess.Popen(
            command,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return f"{config.program}: {error.strerror}"
    reasons: list[str] = []
    # A thread: Ansible's workers have sessions of their own, outlive a killed playbook, and keep the pipe open.
    reader = threading.Thread(target=_show, args=(running.stdout, reasons), daemon=True)
    reader.start()
    try:
        status = running.wait(timeout=config.seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return f"the playbook was killed after {config.seconds} s (mesos_pull_seconds)"
    finally:
        reader.join(timeout=GRACE_SECONDS)
    if status == 0:
        return ""
    return one_line(reasons[-1]) if reasons else f"{config.program} ended with status {status}"


def _show(output: IO[str] | None, reasons: list[str]) -> None:
    for line in output or ():
        print(line, end="", flush=True)
        if line.startswith(("fatal:", "ERROR", "[ERROR]")):
            reasons.append(line)
