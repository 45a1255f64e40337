"""What of root's comes along with a command of another user's: not the terminal, the session keyring, the environment
(threats 26, 28)."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesos_shim.system import syscalls

from ..lib.containers import Starter
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.terminals import Terminal
from ..lib.waiting import wait_until

pytestmark = needs_root

AT = Callable[..., Terminal]

# Types into every terminal that it can reach, and says which it could; reads what it can get of root's keys.
TYPIST = """
import fcntl, os, termios
fds = [0, 1, 2]
try:
    fds.append(os.open("/dev/tty", os.O_RDWR))
except OSError:
    pass
said = []
for fd in fds:
    try:
        for key in b"echo breach >&3\\n":
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([key]))
        said.append(os.readlink("/proc/self/fd/%d" % fd))
    except OSError:
        pass
open("said", "w").write(repr(said))
"""


@pytest.fixture(autouse=True)
def _typing_is_allowed() -> Iterator[None]:
    """Linux 6.2 and later can forbid TIOCSTI to all but root; most distributions do not."""
    switch = Path("/proc/sys/dev/tty/legacy_tiocsti")
    before = switch.read_text() if switch.exists() else None
    if before is not None:
        switch.write_text("1")
    yield
    if before is not None:
        switch.write_text(before)


@pytest.fixture
def ways(shim: Shim, start: Starter, sandbox: Path) -> dict[str, str]:
    """How root runs a command as nobody, as a shell's words."""
    os.chown(sandbox, NOBODY, NOBODY)
    start("--user", "nobody", "--isolation", "filesystem/shared", "--volume", "t:/opt")
    start("--user", "nobody", "--isolation", "filesystem/shared,namespaces/pid", "--volume", "t:/opt", name="c2")
    run = f"{shim.program} run --user nobody --isolation filesystem/shared --volume t:/opt"
    return {
        "enter": f"{shim.program} enter c1",
        "enter a pid namespace": f"{shim.program} enter c2",
        "run": run,
        "run --supervise": f"{run} --supervise",
    }


WAYS = ["enter", "enter a pid namespace", "run", "run --supervise"]
STREAMS = ["", "</dev/null", ">out", "2>err", "</dev/null >out 2>err", "</dev/null | cat"]


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_typed_at_roots_terminal(
    terminal: AT, ways: dict[str, str], sandbox: Path, open_tmp: Path, way: str, streams: str
) -> None:
    """Root's shell, which goes on reading that terminal afterwards, gets no line of the command's."""
    breach = open_tmp / "breach"
    (open_tmp / "typist.py").write_text(TYPIST)
    script = f"{ways[way]} -- {PYTHON} {open_tmp}/typist.py {streams}; echo done; exec 3>{breach}; . /dev/tty"
    there = terminal("sh", "-c", script, cwd=sandbox)
    there.read("done\n")
    there.type("exit 9\n")
    assert there.end() == 9
    assert breach.read_text() == ""
    assert there.name not in (sandbox / "said").read_text()


LEFT = """
import os, sys, time
if os.fork():
    sys.exit()
os.setsid()
with open("left", "w") as file:
    print(*(os.readlink("/proc/self/fd/%d" % fd) for fd in (0, 1, 2)), sep="\\n", file=file)
os.rename("left", "left.done")
time.sleep(60)
"""


@pytest.mark.parametrize("way", WAYS)
def test_what_stays_behind_has_no_terminal_of_roots(
    terminal: AT, ways: dict[str, str], sandbox: Path, open_tmp: Path, way: str
) -> None:
    """It could read what root types next, which takes no right but an open descriptor."""
    (open_tmp / "left.py").write_text(LEFT)
    there = terminal("sh", "-c", f"{ways[way]} -- {PYTHON} {open_tmp}/left.py")
    wait_until((sandbox / "left.done").exists, "the daemon")
    # One that nobody else has open any more is called "/dev/pts/3 (deleted)".
    found = [line.partition(" ")[0] for line in (sandbox / "left.done").read_text().splitlines()]
    assert len(found) == 3
    assert there.name not in found


# keyctl(2), add_key(2): of every architecture the latter's number is two less.
KEYCTL = syscalls._keyctl(os.uname().machine, is_64=True)
GET_ID, JOIN, READ, SESSION = 0, 1, 11, -3

READER = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall({KEYCTL}, {GET_ID}, {SESSION}, 0), end=' ')
buffer = ctypes.create_string_buffer(64)
got = libc.syscall({KEYCTL}, {READ}, KEY, buffer, 64)
print(buffer.raw[:got].decode() if got >= 0 else 'refused', end=' ')
print(libc.syscall({KEYCTL - 2}, b'user', b'mine', b'x', 1, {SESSION}) > 0)
"""


@pytest.fixture
def key() -> Iterator[tuple[int, int]]:
    """A session keyring of this process's own with a secret in it: the ids of both."""
    libc = ctypes.CDLL(None, use_errno=True)
    ring = libc.syscall(KEYCTL, JOIN, None)
    if ring < 0:
        pytest.skip("no keyrings here: " + os.strerror(ctypes.get_errno()))
    found = libc.syscall(KEYCTL - 2, b"user", b"roots", b"root's secret", 13, SESSION)
    assert found > 0
    yield ring, found


@pytest.mark.parametrize("way", WAYS)
def test_roots_session_keyring_stays_outside(
    ways: dict[str, str], sandbox: Path, key: tuple[int, int], way: str
) -> None:
    ring, secret = key
    (sandbox.parent / "reader.py").write_text(READER.replace("KEY", str(secret)))
    words = f"{ways[way]} -- {PYTHON} {sandbox.parent}/reader.py"
    done = subprocess.run(["sh", "-c", words], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    one, read, writes = done.stdout.split()
    assert one not in (str(ring), "-1")
    assert (read, writes) == ("refused", "True")
    again = subprocess.run(["sh", "-c", words], cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert again.stdout.split()[0] != one  # nor do two of one user's commands share one


def test_a_launch_of_the_callers_own_user_keeps_the_keyring(shim: Shim, sandbox: Path, key: tuple[int, int]) -> None:
    (sandbox / "reader.py").write_text(READER.replace("KEY", str(key[1])))
    assert shim.run("run", "--", PYTHON, "reader.py", cwd=sandbox).stdout.startswith(f"{key[0]} root's secret")


@pytest.mark.parametrize(("code", "outcome"), [("ENOSYS", 0), ("EPERM", 0), ("EDQUOT", 125), ("ENOMEM", 125)])
def test_a_kernel_that_gives_no_keyring(shim: Shim, sandbox: Path, code: str, outcome: int) -> None:
    """Without keyrings, or where a filter forbids them to all, there is nothing to leave; else nothing is started."""
    words = ["strace", "-qqq", "-o", "/dev/null", "-e", f"inject=keyctl:error={code}", "--", str(shim.program)]
    words += ["run", "--user", "nobody", "--", "id", "-u"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == outcome
    if outcome:
        assert done.stdout == ""
        assert done.stderr.startswith("mesos-shim: creating a session keyring for the command: ")
        assert done.stderr.count("\n") == 1
    else:
        assert (done.stdout, done.stderr) == (f"{NOBODY}\n", "")


@pytest.mark.parametrize(
    ("machine", "is_64", "number"),
    [
        ("x86_64", True, 250),
        ("x86_64", False, 288),
        ("i686", False, 288),
        ("aarch64", True, 219),
        ("aarch64", False, 311),
        ("armv7l", False, 311),
        ("ppc64le", True, 271),
        ("s390x", True, 280),
        ("mips64", True, 5241),
        ("riscv64", True, 219),
        ("loongarch64", True, 219),
    ],
)
def test_the_calls_number(machine: str, is_64: bool, number: int) -> None:
    """From the kernel's tables (arch/*/kernel/syscalls, include/uapi/asm-generic/unistd.h)."""
    assert syscalls._keyctl(machine, is_64) == number


def test_roots_environment_stays_outside(shim: Shim, start: Starter, sandbox: Path) -> None:
    os.chown(sandbox, NOBODY, NOBODY)
    start("--user", "daemon", "--volume", "t:/opt")
    given = {
        "AWS_SECRET_ACCESS_KEY": "x",
        "SSH_AUTH_SOCK": "/x",
        "PATH": "/root/bin",
        "HOME": "/root",
        "LD_PRELOAD": "",
    }
    kept = {"TERM": "vt100", "LANG": "C.UTF-8", "LC_TIME": "C", "NO_COLOR": "1", "TZ": "UTC"}
    done = shim.run("enter", "c1", "--", "env", env={**given, **kept})
    assert (done.returncode, done.stderr) == (0, "")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    login: dict[str, Any] = {"HOME": "/usr/sbin", "SHELL": "/usr/sbin/nologin", "USER": "daemon", "LOGNAME": "daemon"}
    assert found == {**kept, **login, "PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_an_account_that_is_not_there_has_no_name(shim: Shim, start: Starter, sandbox: Path) -> None:
    start("--volume", "t:/opt")
    path = shim.state_dir / "containers/c1.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "uid": 54321, "gid": 54321, "groups": []}))
    done = shim.run("enter", "c1", "--", "env", env={})
    assert sorted(done.stdout.splitlines()) == ["HOME=/", "PATH=/usr/local/bin:/usr/bin:/bin"]
