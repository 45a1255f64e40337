"""Containers that run until a test lets them end: started by the installed program, spoken to through pipes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .shim import PYTHON, Shim
from .streams import piped
from .waiting import SECONDS

# Says "ready", then obeys: each line is a Python statement, answered by "done"; the end of the input ends it.
SERVANT = """
import os, signal, socket, subprocess, sys, time
def burn(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    answer = None
    exec(line)
    print(answer if answer is not None else "done", flush=True)
"""


class Container:
    """A command that runs in a container, and the pipes to it."""

    def __init__(self, shim: Shim, process: subprocess.Popen[str], name: str) -> None:
        self.shim = shim
        self.process = process
        self.name = name

    def line(self) -> str:
        """The next line that the command prints; at its end, an error with what was said."""
        ready, _, _ = select.select([piped(self.process.stdout)], [], [], SECONDS)
        assert ready, f"{self.name}: silent for {SECONDS} s"
        text = piped(self.process.stdout).readline()
        if not text:
            self.process.wait(SECONDS)
            said = self.process.stderr.read() if self.process.stderr else ""
            raise AssertionError(f"{self.name}: ended with {self.process.returncode}: {said}")
        return text.rstrip("\n")

    def do(self, statement: str) -> str:
        """Let a SERVANT execute a statement; its answer."""
        stream = piped(self.process.stdin)
        stream.write(statement + "\n")
        stream.flush()
        return self.line()

    def end(self) -> int:
        """Close the command's input and wait for its end."""
        piped(self.process.stdin).close()
        status = self.process.wait(SECONDS)
        piped(self.process.stdout).close()
        return status

    @property
    def record(self) -> dict[str, Any]:
        """The record as it lies on disk."""
        return dict(json.loads((self.shim.state_dir / f"containers/{self.name}.json").read_text()))

    @property
    def used(self) -> dict[str, Any]:
        """Its item of `usage --format json`."""
        (found,) = usage(self.shim, self.name)
        return found


def usage(shim: Shim, *ids: str) -> list[dict[str, Any]]:
    """What `usage --format json` prints; nothing may be said beside it."""
    done = shim.run("usage", "--format", "json", *ids)
    assert (done.returncode, done.stderr) == (0, ""), done
    return list(json.loads(done.stdout))


def running(shim: Shim) -> list[str]:
    """The ids that `ps --json` lists."""
    done = shim.run("ps", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done
    return [item["container_id"] for item in json.loads(done.stdout)]


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def children_of(pid: int) -> list[int]:
    """Its direct children."""
    return [int(text) for path in Path(f"/proc/{pid}/task").glob("*/children") for text in path.read_text().split()]


Starter = Callable[..., Container]


@pytest.fixture
def start(shim: Shim, sandbox: Path) -> Iterator[Starter]:
    """Starts containers; those that are left at the end of the test are ended."""
    started: list[Container] = []

    def begin(*options: object, name: str = "c1", command: list[str] | None = None, **keywords: Any) -> Container:
        """`run --container-id NAME OPTIONS`; without a command a SERVANT that is ready."""
        words = [shim.program, "run", "--container-id", name, *options, "--", *(command or [PYTHON, "-c", SERVANT])]
        keywords = {"cwd": sandbox, "stderr": subprocess.PIPE, **keywords}
        process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **keywords
        )
        container = Container(shim, process, name)
        started.append(container)
        if command is None:
            assert container.line().startswith("ready")
        return container

    yield begin
    for container in started:
        # The pid of a container in a pid namespace is its init's: its end ends all of them.
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.kill(container.record["pid"], signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.process.wait(2)  # a supervisor clears up
        container.process.kill()
        container.process.wait(SECONDS)
        for stream in (container.process.stdin, container.process.stdout, container.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()


def any_volume(open_tmp: Path) -> tuple[str, str]:
    """Gives the container a mount namespace of its own."""
    (open_tmp / "target").mkdir(exist_ok=True)
    return ("--volume", f"t:{open_tmp}/target")


def forge(shim: Shim, name: str, **fields: object) -> None:
    """A record of ours with other content."""
    path = shim.state_dir / f"containers/{name}.json"
    record = json.loads((shim.state_dir / "containers/c1.json").read_text())
    path.write_text(json.dumps({**record, "container_id": name, **fields}))


# Runs the program without psutil.
WITHOUT = """
import sys
sys.modules["psutil"] = None
sys.path.insert(0, sys.argv.pop(1))
config = sys.argv.pop(1)
from mesos_shim.main import main
main(config)
"""


def without_psutil(shim: Shim, *words: str) -> subprocess.CompletedProcess[str]:
    lib = shim.prefix / "current/lib"
    return subprocess.run(
        [PYTHON, "-ISBc", WITHOUT, str(lib), str(shim.config_path), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def gc(shim: Shim, *options: str) -> list[str]:
    """What gc says it cleared of this installation (another's cgroups may go at the same time)."""
    done = shim.run("gc", *options)
    assert (done.returncode, done.stderr) == (0, ""), done
    return [line for line in done.stdout.splitlines() if "cgroup" not in line]
