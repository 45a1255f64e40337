"""Releases side by side: which of them stay when old ones are removed."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lib import fuse
from ..lib.shim import CHECKOUT, NOBODY, PYTHON, install, needs_root
from ..lib.waiting import wait_until

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
    wait_until(lambda: list((open_tmp / "state").glob("containers/*")), "the record of the container")
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


# Says that it is ready, and waits; the words behind it are what its command line shows.
WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"


def prune_beside(prefix: Path, *words: object, before: tuple[str, ...] = ()) -> dict[str, object]:
    """What prune says of all but the newest release while a process has `words` in its command line."""
    liar = subprocess.Popen(
        ["bash", "-c", f'exec -a "$1" {PYTHON} -c "$0"', WAIT, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert liar.stdout.readline() == b"ready\n"
        done = subprocess.run(
            [*before, PYTHON, "-ISB", str(RELEASE), "prune", "--prefix", str(prefix), "--keep", "1"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        return json.loads(done.stdout)
    finally:
        liar.communicate()


@pytest.fixture
def two(open_tmp: Path) -> Path:
    """A prefix with an old release and the current one, as far as prune looks at them."""
    prefix = open_tmp / "opt"
    for age, name in enumerate(("0.1.0-b", "0.1.0-a")):
        (prefix / "releases" / name / "bin").mkdir(parents=True)
        (prefix / "releases" / name / "bin/mesos-shim").touch()
        moment = time.time() - 1000 * (age + 1)
        os.utime(prefix / "releases" / name, (moment, moment))
    (prefix / "current").symlink_to("releases/0.1.0-b")
    (prefix / "bin").mkdir()
    (prefix / "bin/mesos-shim").symlink_to("../current/bin/mesos-shim")
    return prefix


@needs_root
@fuse.needs_fuse
@pytest.mark.parametrize("place", ["home/x", "home", "link/x", "/proc/2/exe"])
def test_prune_asks_nothing_of_a_path_in_a_strangers_command_line(two: Path, open_tmp: Path, place: str) -> None:
    """There a FUSE mount of theirs never answers."""
    (open_tmp / "home").mkdir()
    (open_tmp / "link").symlink_to(open_tmp / "home")
    said = prune_beside(two, open_tmp / place, before=tuple(fuse.over(open_tmp / "home")))
    assert said["removed"] == ["0.1.0-a"]


@needs_root
@pytest.mark.parametrize("made", ["users-link", "users-directory", "open-directory"])
def test_prune_follows_no_way_that_a_user_could_have_made(two: Path, open_tmp: Path, made: str) -> None:
    """A process of an old release by such a link would keep it, and anybody could have the host keep all."""
    link = open_tmp / "way"
    if made != "users-link":
        link = open_tmp / "directory/way"
        link.parent.mkdir()
    link.symlink_to(two / "bin/mesos-shim")
    if made == "open-directory":
        link.parent.chmod(0o777)
    else:
        os.chown(link if made == "users-link" else link.parent, NOBODY, NOBODY, follow_symlinks=False)
    from mesos_shim import release as module

    assert module._link_of_ours(str(link)) is None
    for path, target in ((open_tmp / "ours", two / "bin/mesos-shim"), (open_tmp / "ours2", Path("ours"))):
        path.symlink_to(target)
        assert module._below(two, str(path))


@pytest.mark.parametrize("hidden", ["cmdline", "init", "list", "activations"])
def test_nothing_is_pruned_where_it_cannot_be_told_what_is_in_use(
    two: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    from mesos_shim import release as module

    real, read = os.listdir, Path.read_bytes

    def listdir(path: object = ".") -> list[str]:
        if path != "/proc":
            return real(path)  # type: ignore[type-var]
        if hidden == "list":
            raise PermissionError(1, "no")
        return [name for name in real("/proc") if not (hidden == "init" and name == "1")]

    def read_bytes(path: Path) -> bytes:
        if hidden == "cmdline" and path == Path(f"/proc/{os.getpid()}/cmdline"):
            raise PermissionError(13, "no")
        if hidden == "activations" and path == Path(f"/proc/{os.getpid()}/cmdline"):
            return b"/usr/bin/python3\0" + os.fsencode(two / "bin/mesos-shim")
        return read(path)

    if hidden == "activations":
        (two / "releases/0.1.0-a/activations").write_text("damaged\n")
    monkeypatch.setattr(os, "listdir", listdir)
    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert module.in_use(two) == {"0.1.0-a", "0.1.0-b"}
    assert module.prune(two, 1, check=False)["removed"] == []


def contents(home: Path) -> dict[str, list[object]]:
    """{name: [mode, digest]} of all that lies in a release."""
    found: dict[str, list[object]] = {}
    for directory, names, files in os.walk(home):
        for path in (Path(directory, name) for name in (*names, *files)):
            digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            found[str(path.relative_to(home))] = [path.stat().st_mode & 0o7777, digest]
    return found


def test_a_release_lists_its_files_and_comes_again_in_its_own_place(open_tmp: Path) -> None:
    prefix = install(open_tmp / "opt", name="0.1.0-a")
    home = prefix / "releases/0.1.0-a"
    listed = json.loads((home / "files.json").read_text())
    found = contents(home)
    assert {"bin/mesos-shim", "lib/mesos-shim.bundle", "lib/mesos_shim/main.py"} <= set(found)
    assert set(found) - set(listed["files"]) == {"files.json", "activations"}
    assert listed["files"] == {name: found[name] for name in listed["files"]}
    assert listed["python"] == PYTHON

    (home / "bin/mesos-containerizer").unlink()
    (home / "lib/mesos-shim.bundle").write_text("junk")
    os.utime(home, ns=(1, 1))
    install(prefix, name="0.1.0-a", activate=False)
    assert not (home / "bin/mesos-containerizer").exists()  # once staged it stays as it is, unless told otherwise
    install(prefix, name="0.1.0-a", activate=False, options=("--again",))
    assert contents(home) == found and os.readlink(prefix / "current") == "releases/0.1.0-a"
    assert home.stat().st_mtime_ns == 1 and os.listdir(prefix / "releases") == ["0.1.0-a"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_release_takes_the_place_of_another_with_and_without_the_system_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    spec = importlib.util.spec_from_file_location("release_alone", RELEASE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not at_once:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "is").write_text(name)
    module._exchange(tmp_path / "one", tmp_path / "other")
    assert {path.name: (path / "is").read_text() for path in tmp_path.iterdir()} == {"one": "other", "other": "one"}
