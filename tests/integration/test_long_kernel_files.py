"""Files of the kernel's that are longer than a buffer: what is cut off is not taken for what is not there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from mesos_shim.agent import debug_container
from mesos_shim.launch import supervisor
from mesos_shim.system import cgroups

from ..lib.shim import CHECKOUT, PYTHON, needs_linux, needs_root

pytestmark = needs_linux


_MANY_MOUNTS = """
import os, sys
sys.path.insert(0, sys.argv[1])
from mesos_shim.system import mountinfo, syscalls
top = sys.argv[2]
syscalls.mount("top", top, "tmpfs", 0)
for number in range(4500):
    os.mkdir(f"{top}/{number}")
    syscalls.mount(f"{top}/{number}", f"{top}/{number}", None, syscalls.MS_BIND)
os.mkdir(f"{top}/last")
syscalls.mount("last", f"{top}/last", "tmpfs", 0)
assert len(open("/proc/self/mountinfo").read()) > 1 << 20
print([line.path for line in mountinfo.read()][-1])
"""


def test_a_list_of_processes(tmp_path: Path) -> None:
    """The members of a group, each on a line."""
    (tmp_path / "cgroup.procs").write_text("".join(f"{number}\n" for number in range(300_000)))
    assert len(cgroups.read(str(tmp_path / "cgroup.procs")).split()) == 300_000


@needs_root
def test_a_mount_table(open_tmp: Path) -> None:
    """More than 1 MiB of it; what is mounted last is in its last line."""
    name = open_tmp / ("x" * 200)
    name.mkdir()
    done = subprocess.run(
        ["unshare", "-m", PYTHON, "-c", _MANY_MOUNTS, str(CHECKOUT / "shim"), str(name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{name}/last\n", "")


def test_the_children_of_a_supervisor() -> None:
    """The kernel gives a page of them at a time."""
    before = set(supervisor._children() or ())
    started = []
    try:
        for _ in range(900):
            started.append(os.fork())
            if started[-1] == 0:
                signal.pause()
                os._exit(0)
        assert set(supervisor._children() or ()) - before == {str(pid) for pid in started}
    finally:
        for pid in started:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@needs_root
def test_the_status_of_a_process_with_many_groups() -> None:
    pid = os.fork()
    if pid == 0:
        os.setgroups(range(10_000, 20_000))
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    try:
        os.waitpid(pid, os.WUNTRACED)
        assert not debug_container._has_no_new_privs(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


_HAS = "import sys; sys.path.insert(0, sys.argv[1]); from mesos_shim.agent import isolation; print(isolation.has('b'))"
_AGENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]], check=True)"


def test_an_agents_command_line() -> None:
    """A flag at its end counts, however long one before it is."""
    words = [PYTHON, "-c", _AGENT, _HAS, str(CHECKOUT / "shim"), f"--attributes={'x' * 100_000}", "--isolation=a,b"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("True\n", "")
