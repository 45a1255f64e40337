"""No process is left to be had: wherever one is forked or spawned, one line names the limit and how it is raised."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesos_shim.system import cgroups

from ..lib.cgroups import needs_cgroups
from ..lib.containers import Starter
from ..lib.launching import give, refused
from ..lib.played_agent import PlayedAgent
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root

LIMIT = "a limit of processes is reached"
VOLUME = ("--volume", "tmp:/tmp")
PID_NAMESPACE = ("--isolation", "filesystem/shared,namespaces/pid")
ECHO = ("--", "/bin/echo", "ran")

Limited = Callable[..., list[str]]


@pytest.fixture
def limited() -> Iterator[Limited]:
    """Words that run others in a cgroup with room for so many processes."""
    try:
        top = cgroups.find("pids")
        group = Path(top.directory(top.own), f"mesos-shim-test-{os.getpid()}")
        group.mkdir()
    except (cgroups.Unavailable, OSError) as error:
        pytest.skip(f"needs a cgroup of pids: {error}")
    if not (group / "pids.max").exists():
        group.rmdir()
        pytest.skip("needs a cgroup of pids: the controller is not enabled here")

    def words(number: int, *command: object) -> list[str]:
        (group / "pids.max").write_text(str(number))
        return ["/bin/sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh", *map(str, command)]

    yield words
    cgroups.remove([str(group)])


def run(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("options", "room"), [(("--supervise",), 1), (("--rm",), 1), (PID_NAMESPACE, 1), (PID_NAMESPACE, 2)]
)
def test_of_a_launch(shim: Shim, sandbox: Path, limited: Limited, options: tuple[str, ...], room: int) -> None:
    """With room for two the supervisor has its child, and that, as the namespace's init, none."""
    refused(run(limited(room, shim.program, "run", *options, *VOLUME, *ECHO), sandbox), LIMIT, "ulimit -u", "pids.max")
    assert list(sandbox.iterdir()) == []
    assert not list((shim.state_dir / "containers").glob("*"))


@needs_cgroups
def test_no_group_is_left(shim: Shim, sandbox: Path, limited: Limited) -> None:
    before = _groups()
    refused(run(limited(1, shim.program, "run", "--isolation", "cgroups/cpu", "--cpus", 1, *ECHO), sandbox), LIMIT)
    assert _groups() == before


def _groups() -> set[str]:
    return {os.path.join(top, name) for top, names, _ in os.walk("/sys/fs/cgroup") for name in names if "@" in name}


def test_of_a_users_own_limit(shim: Shim, open_tmp: Path) -> None:
    (open_tmp / "his").mkdir()
    his = give(open_tmp / "his")
    few = ["prlimit", "--nproc=1", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    for command in (("run", "--supervise"), ("explain",)):
        refused(run([*few, str(shim.program), *command, *VOLUME, *ECHO], his), LIMIT)


def test_of_explain_and_doctor(shim: Shim, sandbox: Path, limited: Limited) -> None:
    refused(run(limited(1, shim.program, "explain", *VOLUME, *ECHO), sandbox), LIMIT)
    done = run(limited(1, shim.program, "doctor"), sandbox)
    assert LIMIT in done.stdout
    assert "BlockingIOError" not in done.stdout + done.stderr


def test_of_enter(shim: Shim, sandbox: Path, start: Starter, limited: Limited) -> None:
    start(*PID_NAMESPACE, *VOLUME)
    refused(run(limited(1, shim.program, "enter", "c1", *ECHO), sandbox), LIMIT)


@pytest.mark.parametrize("room", [1, 2])
def test_at_a_terminal(shim: Shim, terminal: Callable[..., Any], limited: Limited, room: int) -> None:
    """With room for two there is a monitor and no command."""
    shown = terminal(*limited(room, shim.program, "run", "--user", "nobody", *ECHO))
    shown.read(LIMIT)
    assert shown.process.wait(30) == 125


@pytest.mark.parametrize(
    ("room", "fields"),
    [
        (1, {}),
        (1, {"pre_exec_commands": [{"shell": True, "value": "true"}]}),
        (2, {"pre_exec_commands": [{"shell": True, "value": "true"}]}),
    ],
)
def test_under_an_agent(shim: Shim, open_tmp: Path, limited: Limited, room: int, fields: dict[str, object]) -> None:
    """Where the command is spawned, where it is forked, and where root runs something in a child of that."""
    agent = PlayedAgent(open_tmp, shim)
    agent.hold(None)
    done = run(limited(room, *agent.words("echo ran", **fields)), open_tmp)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert LIMIT in done.stderr
