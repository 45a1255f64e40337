"""Socket activation and the watchdog of a service manager: the variables name the command, whoever stays beside it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from ..lib.cgroups import WHY
from ..lib.launching import said
from ..lib.played_agent import PlayedAgent
from ..lib.shim import PYTHON, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root

ACTIVATE = shutil.which("systemd-socket-activate")

# What libsystemd says in the command: of its sockets, of its watchdog. The answer goes over the socket.
COMMAND = """
import ctypes, socket
systemd, usec = ctypes.CDLL("libsystemd.so.0"), ctypes.c_uint64()
said = systemd.sd_listen_fds(0), systemd.sd_watchdog_enabled(0, ctypes.byref(usec)), usec.value
connection, _ = socket.socket(fileno=3).accept()
connection.sendall(repr(said).encode())
"""
# The program's pid is the watched one's, as in a unit with WatchdogSec=.
WATCHED = 'exec /usr/bin/env WATCHDOG_PID=$$ WATCHDOG_USEC=5000000 "$@"'

PARENTS = {
    "none": (),
    "rm": ("--rm",),
    "supervise": ("--supervise", "--volume", "tmp:/tmp"),
    "pid namespace": ("--isolation", "filesystem/shared,namespaces/pid"),
    "cgroups": ("--isolation", "filesystem/shared,cgroups/cpu", "--cpus", "1"),
    "another user": ("--rm", "--user", "nobody"),
}


def listens(path: Path) -> bool:
    """Whether somebody listens there; a name is bound a moment before (unix(7), SO_ACCEPTCON in /proc/net/unix)."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return any(line.endswith(f" {path}") and line.split()[3] == "00010000" for line in lines)


@pytest.mark.skipif(ACTIVATE is None, reason="needs systemd-socket-activate")
@pytest.mark.parametrize("parent", PARENTS)
def test_the_command_is_activated_and_watched(shim: Shim, sandbox: Path, parent: str) -> None:
    if parent == "cgroups" and WHY:
        pytest.skip(WHY)
    path = sandbox / "socket"
    run = [str(shim.program), "run", *PARENTS[parent], "--", PYTHON, "-ISc", COMMAND]
    words = [ACTIVATE, "-l", str(path), "/bin/sh", "-c", WATCHED, "sh", *run]
    with subprocess.Popen(words, cwd=sandbox, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: listens(path), "the socket")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(str(path))
            answer = client.recv(1000).decode()
        _, errors = process.communicate(timeout=SECONDS)
    assert (answer, process.returncode) == ("(1, 1, 5000000)", 0), errors


PRINTS = 'echo "$LISTEN_PID ${LISTEN_PIDFDID-none} $WATCHDOG_PID $$"'
NAMES_ITSELF = 'export LISTEN_PID=$$ LISTEN_PIDFDID=1 WATCHDOG_PID=$$; exec "$@"'


def test_in_a_pid_namespace_it_is_the_pid_that_the_command_sees(shim: Shim, sandbox: Path) -> None:
    options = ("--isolation", "filesystem/shared,namespaces/pid")
    words = ["/bin/sh", "-c", NAMES_ITSELF, "sh", str(shim.program), "run", *options, "--", "/bin/sh", "-c", PRINTS]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert said(done) == "2 none 2 2"


def test_what_is_for_another_process_stays(shim: Shim, sandbox: Path) -> None:
    variables = {**os.environ, "LISTEN_PID": "1", "LISTEN_PIDFDID": "1", "WATCHDOG_PID": str(os.getpid())}
    done = shim.run("run", "--supervise", "--", "/bin/sh", "-c", PRINTS, cwd=sandbox, env=variables)
    assert said(done).split()[:3] == ["1", "1", str(os.getpid())]


def test_an_agents_command_is_told_its_pid(shim: Shim, open_tmp: Path) -> None:
    """The helper starts most commands without a copy of itself, and then learns their pids too late."""
    agent = PlayedAgent(open_tmp / "agent", shim)
    agent.hold(None)
    words = agent.words(PRINTS, environment=None)
    words[-2:-2] = ["/bin/sh", "-c", NAMES_ITSELF, "sh"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    listen, _, watchdog, own = said(done).split()
    assert listen == watchdog == own
