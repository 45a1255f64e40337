"""A task makes new namespaces while root opens those that it has (threats 27).

What root joins is the launch's, or nothing.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from typing import Any

import pytest

from mesos_shim.agent import debug_container
from mesos_shim.commands import enter
from mesos_shim.containers import namespaces
from mesos_shim.errors import ShimError
from mesos_shim.spec import config

from ..lib.containers import Starter
from ..lib.shim import NOBODY, SOAK, Shim, needs_root

pytestmark = needs_root

RACED = 10_000 if SOAK else 60
REFUSED = re.compile(
    r"mesos-shim: enter: container 'c\d*', pid \d+, (is not in|has (just )?left) the mount namespace that .*\n"
)

# sched.h
FLAGS = {"user": 0x10000000, "mnt": 0x20000, "ipc": 0x8000000, "net": 0x40000000, "uts": 0x4000000, "cgroup": 0x2000000}
MOMENTS = [*namespaces.KINDS, "the owners", "the second look", "the end"]


def inodes(found: dict[str, int]) -> dict[str, int]:
    """What the descriptors are of, which are closed."""
    result = {kind: os.fstat(fd).st_ino for kind, fd in found.items()}
    for fd in found.values():
        os.close(fd)
    return result


@pytest.mark.parametrize("kind", FLAGS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_at_every_moment(start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch, moment: str, kind: str) -> None:
    """By what `enter` asks and by what a DEBUG container does."""
    at = {"the owners": "_check_owners", "the second look": "_ask_again", "the end": "_check_life"}.get(moment, "_open")
    real = getattr(namespaces, at)
    for name, kinds in (("c1", namespaces.KINDS), ("c2", debug_container.IN_CHILD)):
        container = start(
            "--user", "nobody", "--isolation", "filesystem/shared,namespaces/ipc", "--volume", "t:/opt", name=name
        )
        entry, process = enter._find(config.read(str(shim.config_path), required=True), name)
        before = {each: os.stat(f"/proc/{process.pid}/ns/{each}").st_ino for each in kinds}
        left = [2 if moment == "the end" else 1]

        def step(*given: Any, of: Any = container, left: list[int] = left) -> Any:
            if at != "_open" or given[1] == moment:
                left[0] -= 1
                if left[0] == 0:
                    flags = FLAGS["user"] | FLAGS[kind]
                    assert of.do(f"import ctypes; answer = ctypes.CDLL(None).unshare({flags})") == "0"
            return real(*given)

        monkeypatch.setattr(namespaces, at, step)
        fds = set(os.listdir("/proc/self/fd"))
        try:
            opened = namespaces.open_those_of("it", process.pid, process.start, kinds, entry.namespaces, entry.uid)
        except ShimError as error:
            assert "the mount namespace that it was launched in" in str(error)
        else:
            # What changed after the second look, or what is not joined at all, changes nothing of what is open.
            assert left[0] > 0 or moment == "the end" or kind not in kinds
            found = inodes(opened)
            assert "user" not in found
            assert found == {each: before[each] for each in found}
        assert set(os.listdir("/proc/self/fd")) == fds
        assert left[0] <= 0 or moment not in kinds


def test_a_foreign_namespace_that_was_there_before(start: Starter, shim: Shim) -> None:
    container = start("--user", "nobody", "--volume", "t:/opt")
    flags = FLAGS["user"] | FLAGS["mnt"]
    assert container.do(f"import ctypes; answer = ctypes.CDLL(None).unshare({flags})") == "0"
    done = shim.run("enter", "c1", "--", "id")
    assert (done.returncode, done.stdout) == (125, "")
    assert REFUSED.fullmatch(done.stderr), done.stderr


def test_where_nothing_is_recorded_the_owner_says_whose_it_is(start: Starter, shim: Shim) -> None:
    """A launch without a mount namespace of its own has none in its record; its task can make one all the same."""
    container = start("--user", "nobody", "--isolation", "posix/cpu")
    assert container.record["namespaces"] == {}
    flags = FLAGS["user"] | FLAGS["mnt"]
    assert container.do(f"import ctypes; answer = ctypes.CDLL(None).unshare({flags})") == "0"
    done = shim.run("enter", "c1", "--", "id")
    assert (done.returncode, done.stdout) == (125, "")
    assert REFUSED.fullmatch(done.stderr), done.stderr


def test_an_inode_that_was_given_anew_is_not_the_view(start: Starter, shim: Shim) -> None:
    """Where the kernel has ids that are never given again, the inode alone proves nothing."""
    container = start("--user", "nobody", "--volume", "t:/opt")
    recorded = container.record["namespaces"]
    if "mnt_id" not in recorded:
        pytest.skip("Linux before 6.11 has no unique id")
    pid, started = container.record["pid"], container.record["start_time"]
    inodes(namespaces.open_those_of("it", pid, started, ("mnt",), recorded))
    with pytest.raises(ShimError, match="is not in the mount namespace that it was launched in"):
        namespaces.open_those_of("it", pid, started, ("mnt",), {**recorded, "mnt_id": recorded["mnt_id"] - 1})


@pytest.mark.scaled
def test_raced(start: Starter, shim: Shim) -> None:
    """By the installed program, at random moments around those at which it opens them."""
    start("--user", "nobody", "--volume", "t:/opt")
    begun = time.monotonic()
    assert shim.run("enter", "c1", "--", "true").returncode == 0
    usual = time.monotonic() - begun
    chance = random.Random(RACED)
    ran = refused = 0
    for number in range(RACED):
        script = "echo ready; read delay; sleep $delay; exec unshare --user --mount sleep 60"
        container = start("--user", "nobody", "--volume", "t:/opt", name=f"c{number + 2}", command=["sh", "-c", script])
        assert container.line() == "ready"
        words = [str(shim.program), "enter", container.name, "--", "sh", "-c", "readlink /proc/self/ns/mnt; id -u"]
        recorded = container.record["namespaces"]["mnt"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            container.process.stdin.write(f"{chance.uniform(0.2, 1) * usual:.6f}\n")
            container.process.stdin.flush()
            out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            ran += 1
            assert (out, err) == (f"mnt:[{recorded}]\n{NOBODY}\n", "")
        else:
            refused += 1
            assert (process.returncode, out) == (125, "")
            assert REFUSED.fullmatch(err), err
        container.process.kill()
        container.end()
    print(f"{RACED} raced: {ran} ran in the view of the launch, {refused} refused, breaches 0, hung 0")
    assert ran + refused == RACED
    assert ran
    assert refused
