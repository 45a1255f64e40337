"""A terminal of the command's own behaves as the caller's did: size, keys, jobs, status; and leaves that as it was."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..lib.containers import Starter, alive, children_of
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.terminals import Terminal
from ..lib.waiting import wait_until

pytestmark = needs_root

AT = Callable[..., Terminal]
SIGINT_STATUS = 128 + signal.SIGINT


@pytest.fixture(params=["enter", "enter in a pid namespace", "run", "run --supervise"])
def at(request: pytest.FixtureRequest, terminal: AT, start: Starter, shim: Shim, sandbox: Path) -> AT:
    """Starts a command of nobody's by each way there is, at a terminal."""
    os.chown(sandbox, NOBODY, NOBODY)
    if request.param.startswith("enter"):
        isolation = "filesystem/shared" + (",namespaces/pid" if "pid" in request.param else "")
        start("--user", "nobody", "--isolation", isolation, "--volume", "t:/opt")
        words = ["enter", "c1"]
    else:
        words = [*request.param.split(), "--user", "nobody", "--volume", "t:/opt"]

    def begin(*command: object, before: str = "exec", after: str = "", **keywords: Any) -> Terminal:
        """The command; with `before` and `after` in a shell's line around it."""
        quoted = shlex.join(map(str, [shim.program, *words, "--", *command]))
        return terminal("sh", "-c", f"{before} {quoted} {after}", **keywords)

    return begin


def test_another_terminal_of_the_same_size(at: AT) -> None:
    there = at("sh", "-c", 'tty; stty size; trap "stty size; exit 3" WINCH; echo ready; while :; do sleep 0.1; done')
    name = there.read("\n")
    assert name.startswith("/dev/pts/")
    assert name.strip() != there.name
    assert there.read("ready\n") == "24 80\nready\n"
    there.resize(33, 77)
    assert there.read("33 77\n")
    assert there.end() == 3


def test_it_is_its_users(at: AT) -> None:
    """Programs open their terminal by its name (screen, gpg's pinentry)."""
    there = at("sh", "-c", "stat -c %u $(tty); echo by-name >$(tty); id -u")
    assert there.read("by-name\n") == f"{NOBODY}\nby-name\n"
    assert there.read("\n") == f"{NOBODY}\n"
    assert there.end() == 0


def test_keys_and_the_end_of_the_input(at: AT) -> None:
    there = at("sh", "-c", "echo ready; cat")
    there.read("ready\n")
    there.type("hello\r")
    assert there.read("hello\nhello\n")  # echoed once, by the new terminal
    there.type("\4")
    assert there.end() == 0
    assert there.rest() == ""


@pytest.mark.parametrize("word", ["exit 7", "kill -TERM $$"])
def test_the_status(at: AT, word: str) -> None:
    there = at("sh", "-c", f"echo last words; {word}")
    assert there.rest() == "last words\n"
    assert there.end() == (7 if word == "exit 7" else 128 + signal.SIGTERM)


def test_a_lot_of_output_comes_whole(at: AT) -> None:
    there = at("sh", "-c", "seq 1 20000; echo end; exit 4")
    assert there.read("end\n").split() == [*map(str, range(1, 20001)), "end"]
    assert there.end() == 4


def test_a_lot_of_input_comes_whole(at: AT) -> None:
    there = at("sh", "-c", "stty raw -echo; printf ready; head -c 50000 | wc -c; stty sane")
    there.read("ready")
    for _ in range(50):
        there.type("x" * 1000)
    assert there.read("50000")
    assert there.end() == 0


def test_the_key_that_interrupts(at: AT) -> None:
    there = at("sh", "-c", "echo ready; exec sleep 60")
    there.read("ready\n")
    there.type("\3")
    assert there.rest() == "^C"
    assert there.end() == SIGINT_STATUS


@pytest.mark.parametrize("how", ["exit", "killed", "not there", "SIGTERM", "refused"])
def test_the_modes_are_put_back(at: AT, how: str) -> None:
    """However it ends: a shell comes back to the terminal that it left."""
    commands = {"not there": ["/does/not/exist"], "killed": ["sh", "-c", "stty raw; kill -9 $$"]}
    commands["SIGTERM"] = ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]
    commands["refused"] = ["\\0"] if how == "refused" else []
    command = commands.get(how) or ["sh", "-c", "stty raw -echo; exit 1"]
    there = at(*command, before="read go;", after="; echo status $?; read again")
    before = there.modes
    there.type("go\r")
    if how == "SIGTERM":
        there.read("ready\n")
        assert there.modes != before  # it has been taken over
        (relay,) = children_of(there.process.pid)
        os.kill(relay, signal.SIGTERM)
    there.read("status ")
    there.read("\n")
    assert there.modes == before
    there.type("again\r")
    assert there.end() == 0


def test_a_terminal_that_goes_takes_the_command_along(at: AT, open_tmp: Path) -> None:
    said = open_tmp / "said"
    said.touch()
    said.chmod(0o666)
    there = at("sh", "-c", f"trap 'echo hangup >{said}; exit' HUP; echo $$; while :; do sleep 0.1; done")
    there.read("\n")
    there.close()
    wait_until(lambda: said.read_text() == "hangup\n", "the command's end")


def test_a_relay_that_is_killed_takes_the_command_along(at: AT, open_tmp: Path) -> None:
    said = open_tmp / "said"
    said.touch()
    said.chmod(0o666)
    there = at("sh", "-c", f"trap 'echo hangup >{said}; exit' HUP; echo ready; while :; do sleep 0.1; done")
    there.read("ready\n")
    there.process.kill()
    wait_until(lambda: said.read_text() == "hangup\n", "the command's end")


# Jobs, under a shell that has them.

PROMPT = "at your command: "


@pytest.fixture
def shell(terminal: AT, shim: Shim, start: Starter, sandbox: Path) -> Terminal:
    """An interactive shell of root's, in which `inside` runs a command in a container of nobody's."""
    os.chown(sandbox, NOBODY, NOBODY)
    start("--user", "nobody", "--isolation", "filesystem/shared", "--volume", "t:/opt")
    there = terminal("bash", "--norc", "--noediting", "-i", env={**os.environ, "PS1": "$ "})
    there.read("$ ")
    there.type(f"inside() {{ {shim.program} enter c1 -- \"$@\"; }}; PS1='{PROMPT}'\r")
    there.read("\n" + PROMPT)
    return there


def test_the_key_that_stops_a_job(shell: Terminal) -> None:
    shell.type("inside sh -c 'echo ready; read x; echo got $x'\r")
    shell.read("ready\n")
    shell.type("\x1a")
    assert "Stopped" in shell.read("\n" + PROMPT)
    shell.type("echo outside\r")
    shell.read("\noutside\n")
    shell.type("fg\r")
    shell.read("fg\n")
    shell.type("hello\r")
    shell.read("got hello\n")
    shell.read(PROMPT)


def test_a_shell_inside_has_jobs_of_its_own(shell: Terminal) -> None:
    shell.type("inside bash --norc --noediting -i\r")
    shell.type("PS1='inner''> '\r")
    shell.read("inner> ")
    # By exec: dash makes a child by vfork(2) and stops only once that has executed, which a stopped one does not.
    shell.type("sh -c 'echo read''y; exec sleep 1000'\r")
    shell.read("ready\n")
    shell.type("\x1a")
    shell.read("Stopped")
    shell.read("inner> ")
    # Bash may not know yet that its job is dead: then its first exit warns, and only the second one ends it.
    shell.type("kill -KILL %1; exit 9; exit 9\r")
    shell.read("\n" + PROMPT)
    shell.type("echo status $?\r")
    shell.read("status 9\n")


def test_nobody_but_the_caller_stops_the_job(shell: Terminal) -> None:
    """A SIGSTOP of a process inside: root's shell would get what root goes on typing to the command."""
    shell.type("inside sh -c 'echo ready; kill -STOP $$; read x; echo got $x'\r")
    shell.read("ready\n")
    shell.type("reboot\r")
    shell.read("reboot")
    (relay,) = children_of(shell.process.pid)
    (monitor,) = children_of(relay)
    (command,) = children_of(monitor)
    wait_until(lambda: state(command) == "T", "a command that has stopped itself")
    # It may be just passing on what was shown; a stopped one would stay "T".
    wait_until(lambda: state(relay) == "S", "a relay that waits, and has not stopped too")
    os.kill(command, signal.SIGCONT)
    shell.read("got reboot\n")
    shell.read(PROMPT)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_job_in_the_background_leaves_the_terminal_alone(shell: Terminal) -> None:
    before = shell.modes
    shell.type("inside sh -c 'echo from inside; read x; echo got $x' &\r")
    shell.read("from inside\n")
    assert shell.modes == before
    shell.type("fg\r")
    shell.read("fg\n")
    wait_until(lambda: shell.modes != before, "the job in the foreground")
    shell.type("hello\r")
    shell.read("got hello\n")


def test_in_a_pipe_the_keyboard_is_the_readers_until_the_command_reads(shell: Terminal) -> None:
    shell.type("inside sh -c 'echo first; read x; echo got $x' | cat\r")
    shell.read("first\n")
    shell.type("hello\r")
    shell.read("got hello\n")
    shell.read(PROMPT)
    shell.type("inside sh -c 'echo one; exec sleep 60' | (read x; read y </dev/tty; echo $x $y)\r")
    shell.type("two\r")
    shell.read("one two\n")
    shell.type("\3")
    shell.read(PROMPT)


@pytest.mark.parametrize("isolation", ["filesystem/shared", "filesystem/shared,namespaces/pid"])
def test_one_interrupt_is_one(terminal: AT, shim: Shim, sandbox: Path, isolation: str) -> None:
    """Also where a supervisor forwards, and where the caller's terminal makes the signal (the output is a file)."""
    script = (
        "import os, signal; n = [0]\n"
        "def count(*_): n[0] += 1; os.write(2, b'interrupt %d\\n' % n[0])\n"
        "signal.signal(signal.SIGINT, count); signal.signal(signal.SIGTERM, lambda *_: os._exit(n[0]))\n"
        "os.write(2, b'ready\\n')\n"
        "while True: signal.pause()"
    )
    words = [shim.program, "run", "--supervise", "--user", "nobody", "--isolation", isolation, "--volume", "t:/opt"]
    with open("/dev/null", "w") as null:
        there = terminal(*words, "--", PYTHON, "-c", script, stdout=null)
    there.read("ready\n")
    there.type("\3")
    there.read("interrupt 1\n")
    there.process.terminate()
    assert there.end() == 1


def test_without_a_terminal_it_becomes_the_command(shim: Shim, sandbox: Path) -> None:
    """As under a scheduler: the same pid, the session and the group of the caller."""
    words = [str(shim.program), "run", "--user", "nobody", "--", "sh", "-c", "read x; exit 3"]
    with subprocess.Popen(words, cwd=sandbox, stdin=subprocess.PIPE, start_new_session=True) as process:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sh\n", "the command")
        assert os.getsid(process.pid) == process.pid
        process.stdin.write(b"go\n")
        process.stdin.close()
        assert process.wait() == 3


def test_of_the_callers_own_uid_it_keeps_the_terminal(terminal: AT, shim: Shim) -> None:
    there = terminal(shim.program, "run", "--", "tty")
    assert there.read("\n").strip() == there.name
    assert there.end() == 0


def test_nothing_of_it_stays(at: AT) -> None:
    there = at("true")
    assert there.end() == 0
    assert there.rest() == ""
    assert not alive(there.process.pid)
