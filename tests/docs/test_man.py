"""The manual page and the completions: well-formed, complete, and installed where man, bash and zsh find them."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.lib.shim import CHECKOUT, PYTHON, Shim

from ..lib.completion import bash_completes

PAGE = CHECKOUT / "man/mesos-shim.1"
COMMANDS = ("run", "explain", "validate", "ps", "usage", "enter", "gc", "doctor")


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation from the very archive that the role sends to hosts."""
    sys.path.insert(0, str(CHECKOUT / "collection/plugins/plugin_utils"))
    import _release_archive as release_archive

    unpacked = tmp_path_factory.mktemp("archive")
    found = release_archive.build(CHECKOUT / "shim/mesos_shim")[release_archive.ANY]
    with tarfile.open(fileobj=io.BytesIO(found.content)) as archive:
        archive.extractall(unpacked, filter="data")
    installed = tmp_path_factory.mktemp("prefix")
    release = [PYTHON, "-ISB", str(unpacked / "lib/mesos_shim/release.py")]
    common = ["--prefix", str(installed), "--name", found.name]
    subprocess.run([*release, "stage", "--source", str(unpacked), *common], check=True)
    subprocess.run([*release, "activate", *common], check=True)
    return installed


def need(program: str) -> str:
    """The program's path, or the test is skipped by name."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {program}")
    return path


def test_the_release_carries_page_and_completions(prefix: Path) -> None:
    assert os.readlink(prefix / "share") == "current/share"
    assert (prefix / "share/man/man1/mesos-shim.1").read_bytes() == PAGE.read_bytes()
    for installed, source in (
        ("bash-completion/completions/mesos-shim", "mesos-shim"),
        ("zsh/site-functions/_mesos-shim", "_mesos-shim"),
    ):
        assert (prefix / "share" / installed).read_bytes() == (CHECKOUT / "completion" / source).read_bytes()


def test_a_directory_that_is_there_already_is_left_alone(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    release = [PYTHON, "-ISB", str(prefix / "current/lib/mesos_shim/release.py")]
    name = os.readlink(prefix / "current").split("/")[1]
    source = tmp_path / "unpacked"
    shutil.copytree(prefix / "current/lib/mesos_shim", source / "lib/mesos_shim")
    shutil.copytree(prefix / "current/share", source / "share")
    common = ["--prefix", str(tmp_path), "--name", name]
    subprocess.run([*release, "stage", "--source", str(source), *common], check=True)
    subprocess.run([*release, "activate", *common], check=True)
    assert (tmp_path / "share").is_dir()
    assert not (tmp_path / "share").is_symlink()


def test_man_finds_it_by_the_path_of_the_program(prefix: Path) -> None:
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "HOME": "/nonexistent"}
    done = subprocess.run(
        [need("man"), "-w", "mesos-shim"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).resolve() == (prefix / "share/man/man1/mesos-shim.1").resolve()


def test_mandoc_has_nothing_to_say() -> None:
    done = subprocess.run([need("mandoc"), "-Tlint", "-Wstyle", str(PAGE)], capture_output=True, text=True, check=False)
    # Whether the pages that it refers to are installed here is not the page's fault.
    here = re.compile("referenced manual not found|outdated mandoc.db")
    assert [line for line in (done.stdout + done.stderr).splitlines() if not here.search(line)] == []


def test_groff_has_nothing_to_say() -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MANROFFSEQ": ""}
    command = [need("man"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(PAGE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def rendered() -> str:
    """The page as plain text."""
    done = subprocess.run([need("mandoc"), "-Tascii", str(PAGE)], capture_output=True, text=True, check=True)
    return re.sub(r".\x08", "", done.stdout)


def test_the_page_names_every_option_of_the_program(shim: Shim) -> None:
    page = rendered()
    for command in COMMANDS:
        for option in re.findall(r"--[a-z][a-z-]+", shim.run(command, "--help").stdout):
            assert option in page, f"{command} {option}"


def test_the_synopsis_names_every_command() -> None:
    synopsis = rendered().split("DESCRIPTION")[0]
    assert [command for command in COMMANDS if f"mesos-shim {command}" not in synopsis] == []


def test_completions_know_every_option_of_the_program(shim: Shim) -> None:
    for name in ("mesos-shim", "_mesos-shim"):
        text = (CHECKOUT / "completion" / name).read_text()
        for command in COMMANDS:
            for option in re.findall(r"--[a-z][a-z-]+", shim.run(command, "--help").stdout):
                assert option in text, f"{name}: {command} {option}"


def test_the_page_names_every_key_of_the_configuration() -> None:
    from mesos_shim.spec import config, isolation

    page = rendered()
    assert [key for key in config._READERS if key not in page] == []
    assert [name for name in (*isolation.NAMES, *isolation.aliases()) if name not in page] == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mesos-shim ", sorted([*COMMANDS, "--help", "--version"])),
        ("mesos-shim ex", ["explain"]),
        ("mesos-shim run --c", ["--config", "--container-id", "--container-info", "--cpus"]),
        ("mesos-shim run --on-unenforceable ", ["refuse", "usage-only"]),
        ("mesos-shim run --on-unenforceable=u", ["usage-only"]),
        ("mesos-shim run --isolation posix/cpu,name", ["posix/cpu,namespaces/ipc", "posix/cpu,namespaces/pid"]),
        ("mesos-shim run --user roo", ["root"]),
        ("mesos-shim run --sandbox cur", ["current"]),
        ("mesos-shim run --volume tmp:cur", ["current"]),
        ("mesos-shim usage --format ", ["json", "openmetrics", "table"]),
        ("mesos-shim usage --format=o", ["openmetrics"]),
        ("mesos-shim ps -", ["--config", "--help", "--json"]),
        ("mesos-shim run --cpus ", []),
        ("mesos-shim run -- mesos-shi", ["mesos-shim"]),
        ("mesos-shim run --supervise ", ["--"]),
        ("mesos-shim run --j", []),
        ("mesos-shim explain --j", ["--json"]),
        ("mesos-shim validate --", ["--help"]),
        ("mesos-shim gc --", ["--config", "--dry-run", "--help", "--keep-sandboxes"]),
        ("mesos-shim gc ", []),
        ("mesos-shim run --container-info ", ["@"]),
        ("mesos-shim run --container-info @cur", ["current"]),
        ("mesos-shim run --container-info=@cur", ["current"]),
        ("mesos-shim run --container-info {", []),
        ("mesos-shim run --volume tmp:/opt:R", ["RO", "RW"]),
        ("mesos-shim run --volume=tmp:cur", ["current"]),
        ("mesos-shim enter --config cur", ["current"]),
        ("mesos-shim enter x ", ["--"]),
        ("mesos-shim enter --config current x ", ["--"]),
        ("mesos-shim validate current ", []),
    ],
)
def test_bash(prefix: Path, line: str, offered: list[str]) -> None:
    assert bash_completes(prefix, line) == offered


def test_bash_offers_the_containers_that_run(shim: Shim, sandbox: Path) -> None:
    link = shim.prefix / "share/bash-completion/completions"
    link.mkdir(parents=True, exist_ok=True)
    shutil.copy(CHECKOUT / "completion/mesos-shim", link / "mesos-shim")
    running = subprocess.Popen(
        [shim.program, "run", "--sandbox", sandbox, "--container-id", "seen-by-bash", "--", "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert running.stdin is not None
        running.stdin.write(b"here\n")
        running.stdin.flush()
        assert running.stdout is not None
        assert running.stdout.readline() == b"here\n"
        assert bash_completes(shim.prefix, "mesos-shim usage se") == ["seen-by-bash"]
        assert bash_completes(shim.prefix, "mesos-shim enter ") == ["seen-by-bash"]
        config = shim.config_path
        for line in (f"enter --config {config} ", f"enter --config={config} se", f"usage --config {config} --watch 2 "):
            assert bash_completes(shim.prefix, f"mesos-shim {line}") == ["seen-by-bash"]
        empty = shim.prefix / "another.json"
        empty.write_text(json.dumps({"state_dir": str(shim.prefix / "another")}))
        assert bash_completes(shim.prefix, f"mesos-shim enter --config {empty} ") == []
    finally:
        running.communicate(timeout=30)


def terminal_says(arguments: list[str], keys: bytes, until: bytes, environment: dict[str, str]) -> bytes:
    """Types `keys` into a shell on a terminal of its own and reads until `until` comes."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(arguments[0], arguments, environment)
    said, deadline = b"", time.monotonic() + 30
    try:
        os.write(terminal, keys)
        while until not in said and time.monotonic() < deadline:
            said += os.read(terminal, 65536)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return said


def test_bash_on_a_terminal(prefix: Path) -> None:
    """The whole way: the package bash-completion loads ours by its name, readline asks it, the line is completed."""
    if not Path("/usr/share/bash-completion/bash_completion").exists():
        pytest.skip("needs bash-completion")
    environment = {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "TERM": "dumb",
        "HOME": str(prefix),
        "XDG_DATA_DIRS": f"{prefix}/share",
        "PS1": "",
    }
    keys = b". /usr/share/bash-completion/bash_completion\nmesos-shim valid\t--hel\x01echo \x05\n"
    said = terminal_says(["/bin/bash", "--norc", "-i"], keys, b"\nmesos-shim validate --hel", environment)
    assert b"mesos-shim validate --hel" in said


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """A directory with names that a shell has to quote."""
    (tmp_path / "info file.json").touch()
    (tmp_path / "my box").mkdir()
    (tmp_path / "it's.json").touch()
    return tmp_path


# What is typed, and the words that the command gets once Tab has completed the last one.
TYPED = [
    ("exp", ["explain"]),
    ("validate inf", ["validate", "info file.json"]),
    ("validate ./it", ["validate", "./it's.json"]),
    ("validate --h", ["validate", "--help"]),
    ("validate -- inf", ["validate", "--", "info file.json"]),
    ("run --sandbox my", ["run", "--sandbox", "my box"]),
    ("run --config inf", ["run", "--config", "info file.json"]),
    ("run --config=inf", ["run", "--config=info file.json"]),
    ("run --container-info ", ["run", "--container-info", "@"]),
    ("run --container-info @inf", ["run", "--container-info", "@info file.json"]),
    ("run --container-info=@inf", ["run", "--container-info=@info file.json"]),
    ("run --container-info inf", ["run", "--container-info", "inf"]),
    ("run --volume tmp:my", ["run", "--volume", "tmp:my box"]),
    ("run --volume tmp:/opt:RO", ["run", "--volume", "tmp:/opt:RO"]),
    ("run --js", ["run", "--js"]),
    ("explain --js", ["explain", "--json"]),
    ("gc --dr", ["gc", "--dry-run"]),
    ("gc --js", ["gc", "--js"]),
    ("doctor --js", ["doctor", "--json"]),
    ("enter --config info\\ file.json seen", ["enter", "--config", "info file.json", "seen-by-shell"]),
    ("enter --config=info\\ file.json seen", ["enter", "--config=info file.json", "seen-by-shell"]),
    ("usage --format json seen", ["usage", "--format", "json", "seen-by-shell"]),
    ("enter seen", ["enter", "seen-by-shell"]),
    ("enter seen-by-shell inf", ["enter", "seen-by-shell", "inf"]),
    ("run -- mkfif", ["run", "--", "mkfifo"]),
]


def typed(shell: list[str], prefix: Path, names: Path, start: str) -> list[list[str]]:
    """The words that the shell makes of each line of TYPED after a Tab: on a terminal, as a person types them."""
    programs = names / "bin"
    programs.mkdir()
    # It answers as the program does, where `ps` is asked, and shows its words otherwise.
    (programs / "mesos-shim").write_text(
        '#!/bin/sh\ncase "$*" in ps | "ps --config info file.json") echo ID; echo seen-by-shell; exit ;; esac\n'
        f"for word; do printf '<%s>' \"$word\"; done >> {names}/said; echo >> {names}/said\n"
    )
    (programs / "mesos-shim").chmod(0o755)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "TERM": "dumb", "HOME": str(prefix), "PS1": ""}
    keys = f"cd {names}\n{start}\n" + "".join(f"mesos-shim {line}\t\n" for line, _ in TYPED) + "echo 'E''ND'\n"
    terminal_says(shell, keys.encode(), b"\nEND", environment)
    said = (names / "said").read_text().splitlines()
    # zsh takes the slash after a directory back, bash leaves it.
    return [[word.rstrip("/") for word in re.findall("<([^>]*)>", line)] for line in said]


def test_bash_quotes_names_and_knows_what_comes_next(prefix: Path, names: Path) -> None:
    start = f". {prefix}/share/bash-completion/completions/mesos-shim"
    assert typed([need("bash"), "--norc", "-i"], prefix, names, start) == [words for _, words in TYPED]


def test_zsh_quotes_names_and_knows_what_comes_next(prefix: Path, names: Path) -> None:
    start = f"fpath=({prefix}/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D"
    assert typed([need("zsh"), "-f", "-i"], prefix, names, start) == [words for _, words in TYPED]


def test_zsh_on_a_terminal(prefix: Path) -> None:
    """zsh has no batch completion: it is asked as a person asks it, by Tab."""
    environment = {"PATH": f"{prefix}/bin:/usr/bin:/bin", "TERM": "dumb", "HOME": str(prefix), "PS1": ""}
    keys = (
        f"fpath=({prefix}/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D\n".encode()
        + b"mesos-shim usage --format openm\t\x01echo \x05\n"
    )
    said = terminal_says([need("zsh"), "-f", "-i"], keys, b"\nmesos-shim usage --format openmetrics", environment)
    assert b"\nmesos-shim usage --format openmetrics" in said.replace(b"\r", b"")
