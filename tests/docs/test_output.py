"""What the programs print suits a screen, a pipe, a terminal without colours and a locale without UTF-8."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.lib.shim import NOBODY, Shim, needs_linux, needs_root

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


def test_help_of_a_command_is_its_own(shim: Shim) -> None:
    for command in COMMANDS:
        assert shim.run("help", command).stdout == shim.run(command, "--help").stdout != ""
    assert shim.run("help").stdout == shim.run("--help").stdout
    done = shim.run("help", "launch")
    assert (done.returncode, done.stderr) == (
        125,
        "mesos-shim: 'launch': no such command; 'mesos-shim --help' lists them\n",
    )


SLIPS = {
    "run --supervise --supervise": "--supervise: given twice; once is enough",
    "run --rm --rm": "--rm: given twice; once is enough",
    "explain --json --json": "--json: given twice; once is enough",
    "run --json": "run: --json: the output of run is the command's own; 'explain --json' prints the plan",
    "run --supervise=yes": "--supervise: takes no value",
    "explain --json=": "--json: takes no value",
    "run --config=": "--config: a value is missing",
    "run --container-id --rm": "--container-id: '--rm' starts with '-'",
    "ps --json=yes": "ps: --json: takes no value",
    "ps --config=": "ps: --config: a value is missing",
    "gc --dry-run --dry-run": "gc: --dry-run: given twice; once is enough",
    "validate --json": "validate: '--json': unknown option; 'mesos-shim validate --help' lists them",
}


@pytest.mark.parametrize("words", SLIPS)
def test_a_slip_on_the_command_line_is_one_line_and_starts_nothing(shim: Shim, sandbox: Path, words: str) -> None:
    operands = ["--", "touch", "started"] if words.startswith(("run", "explain")) else []
    before = sorted(shim.prefix.rglob("*"))
    done = shim.run(*words.split(), *operands, cwd=sandbox)
    assert (done.returncode, done.stdout, done.stderr) == (125, "", f"mesos-shim: {SLIPS[words]}\n")
    assert list(sandbox.iterdir()) == []
    assert sorted(shim.prefix.rglob("*")) == before


def test_a_plan_reads_as_people_write(shim: Shim, sandbox: Path) -> None:
    """No brackets and quotes of a programming language: those are in --json."""
    words = ["--rm", "--status-fd", "1", "--container-id", "c", "--", "echo", "a b", "c"]
    lines = shim.run("explain", *words, cwd=sandbox).stdout.splitlines()
    path = "/var/tmp/mesos-shim-XXXXXXXXXXXXXXXX"
    assert "supervise    for=--rm,--status-fd" in lines
    assert "record       c best_effort" in lines
    assert f"exec         {path} command=echo 'a b' c" in lines
    assert lines[-1] == f"remove       {path}"


def test_help_after_the_double_dash_is_the_commands(shim: Shim, sandbox: Path) -> None:
    done = shim.run("run", "--sandbox", sandbox, "--", "printf", "%s\\n", "--help")
    assert (done.returncode, done.stdout) == (0, "--help\n")


@pytest.mark.parametrize("arguments", [["ps"], ["usage"], ["--help"], ["explain", "--", "true"]])
def test_a_full_disk_behind_standard_output_is_said(shim: Shim, arguments: list[str], sandbox: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([shim.program, *arguments], stdout=full, stderr=-1, text=True, check=False, cwd=sandbox)
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
    done = subprocess.run(["/bin/sh", "-c", f"{shim.program} ps >&-"], stderr=subprocess.PIPE, text=True, check=False)
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


@pytest.fixture(scope="module")
def latin1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a caller whose locale is not UTF-8."""
    directory = tmp_path_factory.mktemp("locales")
    if not Path("/usr/share/i18n/charmaps").is_dir():
        pytest.skip("needs the sources of locales: apt-get install locales")
    made = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(directory / "de_DE.ISO-8859-1")]
    subprocess.run(made, check=True, capture_output=True)
    return {"LOCPATH": str(directory), "LC_ALL": "de_DE.ISO-8859-1"}


def test_a_terminal_gets_its_own_encoding_and_a_pipe_utf8(shim: Shim, open_tmp: Path, latin1: dict[str, str]) -> None:
    sandbox = open_tmp / "Kästen ☃"
    sandbox.mkdir()
    arguments = [str(shim.program), "explain", "--sandbox", str(sandbox), "--", "true"]
    shown = on_a_terminal(arguments, **latin1)
    assert "Kästen ".encode("latin-1") + b"\\u2603" in shown
    piped = subprocess.run(arguments, env={**os.environ, **latin1}, capture_output=True, check=True)
    assert str(sandbox).encode() in piped.stdout


@needs_root
@pytest.mark.parametrize("locale", ["C", "latin1", "C.UTF-8", ""])
def test_names_are_bytes_in_every_locale(shim: Shim, open_tmp: Path, locale: str, latin1: dict[str, str]) -> None:
    """The same ContainerInfo means the same directories whatever the caller's locale: it is UTF-8."""
    target = open_tmp / "Ziel-☃"
    target.mkdir()
    sandbox = open_tmp / "sandbox"
    sandbox.mkdir()
    info = json.dumps({"type": "MESOS", "volumes": [{"host_path": "☃", "container_path": str(target), "mode": "RW"}]})
    (open_tmp / "info.json").write_text(info)
    for given in (info, f"@{open_tmp}/info.json"):
        done = subprocess.run(
            [shim.program, "run", "--sandbox", sandbox, "--container-info", given, "--", "touch", f"{target}/ß"],
            env={"PATH": os.environ["PATH"], **(latin1 if locale == "latin1" else {"LC_ALL": locale})},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert [os.fsencode(path) for path in (sandbox / "☃").iterdir()] == [os.fsencode(sandbox / "☃/ß")]
        (sandbox / "☃/ß").unlink()


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
