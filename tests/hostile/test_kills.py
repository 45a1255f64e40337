"""A launch killed at a random moment (threat 17): nothing stays mounted, and the next launch in the sandbox works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ..lib.launching import host_mounts, info, said, volume
from ..lib.shim import SOAK, Shim, needs_root

pytestmark = [needs_root, pytest.mark.scaled]

KILLS = 1000 if SOAK else 50
SEED = 20120321


def test_kills_at_random_moments(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """Every tenth sandbox is a fresh one; in between what the killed ones left has to do."""
    for name in ("place/inner", "shm"):
        (open_tmp / name).mkdir(parents=True)
    (open_tmp / "place").chmod(0o1777)
    (open_tmp / "file").write_text("")
    for name in ("base", "private"):
        (open_tmp / name).mkdir()
    shim.configure(
        tmpfs={str(open_tmp / "shm"): "64k"},
        private_directories={str(open_tmp / "private"): {"base": str(open_tmp / "base")}},
        state_dir=str(open_tmp / "state"),
    )
    volumes = [
        volume("a/b", open_tmp / "place"),
        volume(str(open_tmp / "place/inner").strip("/"), open_tmp / "place/inner"),
        volume("/usr/share", "/opt", "RO"),
        volume(open_tmp / "file", "/etc/hostname", "RO"),
    ]
    words = [str(shim.program), "run", "--container-info", info(*volumes), "--"]
    before = [line for line in host_mounts() if str(open_tmp) in line]
    started = time.monotonic()
    subprocess.run([*words, "/bin/true"], cwd=sandbox, check=True)
    length = time.monotonic() - started
    choose = random.Random(SEED)
    killed = 0
    for number in range(KILLS):
        here = open_tmp / f"sandbox{number // 10}"
        here.mkdir(exist_ok=True)
        process = subprocess.Popen([*words, "/bin/sleep", "60"], cwd=here, stderr=subprocess.PIPE)
        time.sleep(choose.uniform(0, 1.3 * length))  # the random moment itself, not a wait for something
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=30)
        assert err == b""
        killed += process.returncode == -signal.SIGKILL
        if number % 10 == 9 or number % 3 == 0:
            again = shim.run(*words[1:], "/usr/bin/stat", "-c", "%a %u", str(open_tmp / "place"), cwd=here)
            assert said(again) == "1777 0"
            inner = here / str(open_tmp / "place/inner").strip("/")
            assert (oct(inner.stat().st_mode), oct((here / "a").stat().st_mode)) == ("0o40755", "0o40755")
            assert oct(inner.parent.stat().st_mode) == "0o41777"
    assert killed == KILLS
    assert [line for line in host_mounts() if str(open_tmp) in line] == before
    assert list((open_tmp / "base").iterdir()) != []
    shim.run("gc")
    assert list((open_tmp / "base").iterdir()) == []
    # Of a record half is never to be seen: what has its name is whole.
    for path in (open_tmp / "state/containers").glob("[!.]*.json"):
        assert path.read_text().endswith("}\n")


def test_kills_between_each_call(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """The same at every call that changes something: the host's, not the clock's moments."""
    place = open_tmp / "one/two"
    place.mkdir(parents=True)
    place.chmod(0o1777)
    os.chown(place.parent, 12, 34)
    os.chown(place, 12, 34)
    mirrored = str(place).strip("/")
    words = ["--container-info", info(volume(mirrored, place)), "--", "/bin/true"]
    for call in ("mkdirat", "fchown", "fchmod", "fsetxattr", "open_tree", "move_mount", "fchdir", "renameat"):
        for number in range(1, 6):
            here = open_tmp / f"{call}{number}"
            here.mkdir()
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            strace = ["strace", "-qqq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject, str(shim.program), "run"]
            subprocess.run([*strace, *words], cwd=here, check=False, capture_output=True, timeout=60)
            assert said(shim.run("run", *words, cwd=here)) == ""
            for level in (place, *list(place.parents)[:-1]):
                had, has = level.stat(), (here / str(level).strip("/")).stat()
                assert (has.st_mode, has.st_uid) == (had.st_mode, had.st_uid), (call, number, level)
