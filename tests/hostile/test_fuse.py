"""A file system of a user's own: whatever it answers, no promise rests on it (threat 29)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mesos_shim.system import guarded_walk, other_syscalls, syscalls

from ..lib import wire
from ..lib.launching import launch, refused, said, volume
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = [needs_root, pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="needs /dev/fuse")]

NNP = "grep -q '^NoNewPrivs:.1' /proc/self/status && echo no_new_privs || echo plain"
Mounter = Callable[..., Path]


@pytest.fixture
def lying() -> Iterator[Mounter]:
    """Mount one at a directory: whose it is to the kernel, and whose it says that it is."""
    mounted: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def mount(path: Path, user: int = NOBODY, says: int = NOBODY) -> Path:
        path.mkdir(exist_ok=True)
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={device},rootmode=40000,user_id={user},group_id={user},allow_other"
        syscalls.mount("lies", str(path), "fuse.lies", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
        daemon = [sys.executable, str(Path(__file__).with_name("lying.py")), str(device), str(says)]
        mounted.append((path, subprocess.Popen(daemon, pass_fds=[device])))
        os.close(device)
        return path

    yield mount
    for path, daemon in mounted:
        with suppress(OSError):
            other_syscalls.umount(str(path), other_syscalls.MNT_DETACH)
        daemon.kill()
        daemon.wait()


@pytest.fixture
def closed(open_tmp: Path) -> Path:
    """A directory such as /usr/bin: root's, 0755."""
    path = open_tmp / "bin"
    path.mkdir()
    return path


@pytest.fixture
def agent(open_tmp: Path, shim: Shim, closed: Path) -> PlayedAgent:
    """An agent's container with a volume from the sandbox over root's directory."""
    found = PlayedAgent(open_tmp, shim)
    found.hold(wire.container_info(wire.volume(str(closed), "mine")))
    return found


def test_root_runs_nothing_of_a_sandbox_that_lies(agent: PlayedAgent, closed: Path, lying: Mounter) -> None:
    """It says that the directory is root's and empty, and lets no one see the program in it who does not know it."""
    lying(agent.sandbox)
    first = {"shell": False, "value": f"{closed}/tool"}
    _, out, err = end(agent.start("echo started", user="nobody", pre_exec_commands=[first]))
    assert (out, agent.status) == ("", "256")
    assert "nothing runs as root in this container's mount namespace" in err
    _, out, err = end(agent.start(f"{closed}/tool; {NNP}", user="nobody"))
    assert (out.split("\n")[:2], err) == ([f"PLANTED as {NOBODY}", "no_new_privs"], "")


def test_the_ground_of_it(agent: PlayedAgent, closed: Path, lying: Mounter) -> None:
    """What root has mounted is as good as any other file system: there root runs it."""
    lying(agent.sandbox, user=0)
    first = {"shell": False, "value": f"{closed}/tool"}
    assert end(agent.start("echo started", user="nobody", pre_exec_commands=[first]))[1] == "PLANTED as 0\nstarted\n"


def test_it_makes_a_private_tmp_no_longer_transparent(shim: Shim, open_tmp: Path, lying: Mounter) -> None:
    """Stickiness is nothing where the user answers for who owns what."""
    sandbox = lying(open_tmp / "lies")
    for how in ({"options": ("--user", "nobody", "--sandbox", str(sandbox))}, {"options": ("--user", "nobody")}):
        assert said(launch(shim, sandbox, [volume("tmp", "/tmp")], NNP, **how)) == "no_new_privs"


@pytest.mark.parametrize("says", [0, 1234])
def test_one_that_says_it_is_anothers_is_refused(
    shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, lying: Mounter, says: int
) -> None:
    """As a source, as a sandbox that is named, as the directory that the caller stands in."""
    lies = lying(open_tmp / "lies", says=says)
    named = ("--user", "nobody", "--sandbox", str(lies))
    for where, volumes, options in (
        (sandbox, [volume(lies, closed)], ()),
        (sandbox, [volume(lies / "inner", closed)], ()),
        (sandbox, [], named),
        (lies, [], ()),
    ):
        done = launch(shim, where, volumes, "true", options=options)
        refused(done, f"is a file system of uid {NOBODY}'s own (FUSE), which says that it is uid {says}'s")


def test_nothing_in_it_is_anothers(shim: Shim, sandbox: Path, open_tmp: Path, closed: Path, lying: Mounter) -> None:
    lies = lying(open_tmp / "lies")
    refused(
        launch(shim, sandbox, [volume(lies / "inner", closed)], "true"),
        f"belongs to uid 0, but uid {NOBODY} can replace it",
    )
    assert said(launch(shim, sandbox, [volume(lies, closed)], NNP, options=("--user", "nobody"))) == "no_new_privs"


@pytest.mark.parametrize("name", ["a\rb", "a\nb", "a - b"])
def test_no_name_hides_it(shim: Shim, open_tmp: Path, lying: Mounter, name: str) -> None:
    """The kernel leaves a carriage return in the mount table: who takes it for the end of a line reads half of it."""
    lies = lying(open_tmp / name)
    with pytest.raises(OSError, match="a FUSE mount"):
        guarded_walk.walk(str(lies))
    named = ("--user", "nobody", "--sandbox", str(lies))
    assert said(launch(shim, lies, [volume("tmp", "/tmp")], NNP, options=named)) == "no_new_privs"
    said(shim.run("ps"))
