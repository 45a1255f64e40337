"""What the programs print suits a screen, a pipe, a terminal without colours and a locale without UTF-8."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NOBODY, PYTHON, Shim, needs_linux, needs_root

COMMANDS = ("run", "explain", "validate", "ps", "usage", "enter", "gc", "doctor")


def listed_commands(shim: Shim) -> list[str]:
    """The commands that `mesos-shim --help` names."""
    lines = shim.run("--help").stdout.splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ")]


def test_the_overview_names_every_command(shim: Shim) -> None:
    assert set(listed_commands(shim)) == set(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_screen_and_has_an_example(shim: Shim, command: str) -> None:
    done = shim.run(*([command] if command else []), "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0].startswith("usage: mesos-shim")
    assert any(line.startswith("example: ") and "mesos-shim" in line for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_short_help_is_the_same(shim: Shim, command: str) -> None:
    assert shim.run(command, "-h").stdout == shim.run(command, "--help").stdout != ""


def test_help_after_the_double_dash_is_the_commands(shim: Shim, sandbox: Path) -> None:
    done = shim.run("run", "--sandbox", sandbox, "--", "printf", "%s\\n", "--help")
    assert (done.returncode, done.stdout) == (0, "--help\n")


@pytest.mark.parametrize("arguments", [["ps"], ["usage"], ["--help"], ["explain", "--", "true"]])
def test_a_full_disk_behind_standard_output_is_said(shim: Shim, arguments: list[str], sandbox: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([shim.program, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, cwd=sandbox)
    assert done.returncode == 125
    assert done.stderr.startswith("mesos-shim: standard output: No space left on device")


def test_a_reader_that_goes_away_ends_the_program_quietly(shim: Shim) -> None:
    program = subprocess.Popen(
        [shim.program, "usage", "--watch", "0.05"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stderr is not None
    assert program.stdout.readline() != ""
    program.stdout.close()
    assert program.wait(30) == 141
    assert program.stderr.read() == ""


def test_a_closed_standard_output_is_said(shim: Shim) -> None:
    done = subprocess.run(["/bin/sh", "-c", f"{shim.program} ps >&-"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 125
    assert "standard output is closed" in done.stderr
    assert "internal error" not in done.stderr


def on_a_terminal(arguments: list[str], **environment: str) -> bytes:
    """What a program sends to its terminal until it ends."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, {**os.environ, **environment})
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:  # EIO: the other side is closed
        pass
    os.waitpid(pid, 0)
    os.close(terminal)
    return said


@needs_linux
@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm"}])
def test_no_colour_on_any_terminal(shim: Shim, environment: dict[str, str]) -> None:
    for arguments in (["ps"], ["usage"], ["--help"], ["doctor"], ["run", "--volume", "x", "--", "true"]):
        said = on_a_terminal([str(shim.program), *arguments], **environment)
        assert said != b""
        assert b"\x1b" not in said


@needs_root
def test_without_utf8_what_cannot_be_shown_is_escaped(shim: Shim, open_tmp: Path) -> None:
    """`-X utf8=0` and LC_ALL=C stand for a locale with another encoding: standard output is ASCII there."""
    sandbox = open_tmp / "Sandkasten für ☃"
    sandbox.mkdir()
    explained = subprocess.run(
        [PYTHON, "-ISB", "-X", "utf8=0", str(shim.program), "explain", "--sandbox", sandbox, "--", "true"],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert explained.returncode == 0, explained.stderr
    assert b"Sandkasten f" in explained.stdout
    assert explained.stdout.isascii()
    assert explained.stderr == b""


@needs_root
@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1", "C.UTF-8", ""])
def test_names_are_bytes_in_every_locale(shim: Shim, open_tmp: Path, locale: str) -> None:
    """The same ContainerInfo means the same directories whatever the caller's locale: an agent writes UTF-8."""
    target = open_tmp / "Ziel-ü"
    target.mkdir()
    sandbox = open_tmp / "sandbox"
    sandbox.mkdir()
    info = json.dumps({"type": "MESOS", "volumes": [{"host_path": "ö", "container_path": str(target), "mode": "RW"}]})
    done = subprocess.run(
        [shim.program, "run", "--sandbox", sandbox, "--container-info", info, "--", "touch", f"{target}/ß"],
        env={"LC_ALL": locale, "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [os.fsencode(path) for path in (sandbox / "ö").iterdir()] == [os.fsencode(sandbox / "ö/ß")]


@needs_root
def test_a_hostile_name_cannot_reach_the_terminal(shim: Shim, open_tmp: Path) -> None:
    sandbox = open_tmp / "a\x1b[2Jb\nc"
    sandbox.mkdir()
    done = shim.run("explain", "--sandbox", sandbox, "--", "true")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "a\\x1b[2Jb\\nc" in done.stdout


@needs_root
def test_an_ordinary_user_gets_the_same_help(shim: Shim) -> None:
    done = subprocess.run(
        [shim.program, "--help"],
        capture_output=True,
        text=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, shim.run("--help").stdout)
