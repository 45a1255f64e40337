"""Releases side by side: which of them stay when old ones are removed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import CHECKOUT, PYTHON, install
from ..containers import wait_for

RELEASE = CHECKOUT / "shim/mesos_shim/release.py"


def release(prefix: Path, action: str, *arguments: object) -> dict[str, object]:
    command = [PYTHON, "-ISB", RELEASE, action, "--prefix", prefix, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the test."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("way", ["bin", "a link elsewhere", "the release itself"])
def test_a_release_that_a_process_runs_from_is_never_pruned(
    open_tmp: Path, started: list[subprocess.Popen[bytes]], way: str
) -> None:
    prefix = install(open_tmp / "opt", name="0.1.0-a")
    link = open_tmp / "mesos-shim"
    link.symlink_to(prefix / "bin/mesos-shim")
    programs = {"bin": prefix / "bin/mesos-shim", "a link elsewhere": link}
    program = programs.get(way, prefix / "releases/0.1.0-a/bin/mesos-shim")
    # Staged beside it before the process starts, as by a rollout that looks at every host first.
    install(prefix, name="0.1.0-b", activate=False)
    time.sleep(2.1)  # activations are told from starts no closer than that
    command = [
        program,
        "run",
        "--supervise",
        "--rm",
        "--config",
        prefix / "etc/mesos-shim/config.json",
        "--",
        "sleep",
        "99",
    ]
    prefix.joinpath("etc/mesos-shim").mkdir(parents=True)
    prefix.joinpath("etc/mesos-shim/config.json").write_text(json.dumps({"state_dir": str(open_tmp / "state")}))
    process = subprocess.Popen([*map(str, command)], start_new_session=True)
    started.append(process)
    wait_for(lambda: list((open_tmp / "state").glob("containers/*")), "the record of the container")
    time.sleep(2.1)
    release(prefix, "activate", "--name", "0.1.0-b")
    for name in ("0.1.0-c", "0.1.0-d"):
        install(prefix, name=name)
    assert release(prefix, "prune", "--keep", 2) == {"changed": True, "removed": ["0.1.0-b"], "in_use": ["0.1.0-a"]}
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    started.clear()
    assert release(prefix, "prune", "--keep", 2)["removed"] == ["0.1.0-a"]
    assert sorted(os.listdir(prefix / "releases")) == ["0.1.0-c", "0.1.0-d"]
