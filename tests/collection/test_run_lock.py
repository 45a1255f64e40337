"""The lock of one run on a host: nobody else can hold it (threat 30), and nobody waits for ever."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from importlib import import_module

import pytest
import yaml

from tests.lib.collection import PLUGINS, run_module
from tests.lib.shim import CHECKOUT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user locks what it changes")

generations = import_module(f"{PLUGINS}.module_utils._generations")

HOLD = """
import fcntl, os, sys
os.setgid(65534), os.setuid(65534)
for path in sys.argv[1:]:
    fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def run_lock(monkeypatch, tmp_path):
    module = import_module(f"{PLUGINS}.module_utils._run_lock")
    monkeypatch.setattr(module, "ROOTS", str(tmp_path / "locks"))
    monkeypatch.setattr(module, "MAX_SECONDS", 0)
    return module


@pytest.fixture
def held(open_tmp):
    """Directories that every user may open, whose locks one of them holds."""
    places = [open_tmp / "releases", open_tmp / "etc"]
    for place in places:
        place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *map(str, places)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield places
    process.communicate()


def test_a_users_lock_stops_nobody(run_lock, held):
    for place in held:
        with run_lock.lock(str(place)):
            assert oct(os.stat(run_lock.ROOTS).st_mode & 0o7777) == "0o700"


def test_a_users_lock_on_etc_does_not_stop_the_flags(run_lock, held):
    done = run_module("agent_flags", path=str(held[1] / "mesos-slave"), flags={"master": "127.0.0.1:5050"})
    assert done["changed"], done
    assert (held[1] / "mesos-slave/master").read_text().strip() == "127.0.0.1:5050"


def test_one_run_at_a_time_and_none_waits_for_ever(run_lock, tmp_path):
    with run_lock.lock(str(tmp_path)):
        with pytest.raises(OSError, match="another run has held its lock for 0 s"), run_lock.lock(str(tmp_path)):
            pass
        with run_lock.lock("/"):  # another one's
            pass
    with run_lock.lock(str(tmp_path)):
        pass


def test_one_switch_at_a_time_on_a_host(run_lock, tmp_path):
    """Two prefixes have locks of their own, and may want the same unit."""
    one, other = (generations.Store(str(tmp_path / name)) for name in ("one", "other"))
    with one.lock(), pytest.raises(run_lock.LockError, match="another run has held its lock"), other.lock():
        pass
    with other.lock():
        pass


def test_the_lock_is_held_until_the_end(run_lock, tmp_path):
    with run_lock.lock(str(tmp_path)):
        (name,) = os.listdir(run_lock.ROOTS)
        fd = os.open(os.path.join(run_lock.ROOTS, name), os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


@pytest.mark.parametrize(("mode", "owner"), [(0o755, 0), (0o700, 65534)])
def test_a_place_that_others_can_open_is_refused(run_lock, tmp_path, mode, owner):
    os.mkdir(run_lock.ROOTS)
    os.chmod(run_lock.ROOTS, mode)
    os.chown(run_lock.ROOTS, owner, owner)
    with pytest.raises(OSError, match="others can open it"), run_lock.lock(str(tmp_path)):
        pass


def test_units_that_clear_away_have_a_time_out():
    timers = import_module(f"{PLUGINS}.module_utils._shim_timers")
    texts = timers.wanted("/opt/mesos-shim", True, "/srv/metrics")
    services = [text for name, text in texts.items() if name.endswith(".service")]
    assert len(services) == 2
    for text in services:  # systemd.service(5): a oneshot has none by default
        assert "\nTimeoutStartSec=" in text


def test_an_agents_start_waits_for_no_tree():
    service = import_module(f"{PLUGINS}.module_utils._agent_service")
    (line,) = [line for line in service.drop_in_text("/opt/mesos-shim").splitlines() if line.startswith("ExecStartPre")]
    assert line == 'ExecStartPre=-+/usr/bin/timeout -k 5 30 "/opt/mesos-shim/bin/mesos-shim" gc --keep-sandboxes'


def test_a_process_whose_main_thread_has_ended_lives(monkeypatch, tmp_path):
    service = import_module(f"{PLUGINS}.module_utils._agent_service")
    for state, threads, lives in (("S", 1, True), ("Z", 1, False), ("Z", 2, True)):
        fields = [state, *["0"] * 16, str(threads), "0", "77", *["0"] * 10]
        stat = tmp_path / "stat"
        stat.write_text(f"4 (a) b) {' '.join(fields)}\n")
        real = open
        monkeypatch.setattr("builtins.open", lambda *words, stat=stat, real=real: real(stat, *words[1:]))
        found = service.start_time(4)
        monkeypatch.undo()
        assert found == (77 if lives else None)


def test_what_the_report_asks_a_host_has_a_time_out():
    """Of a play, `timeout` is each task's; a pause is as long as it is."""
    look = yaml.safe_load((CHECKOUT / "collection/playbooks/report.yml").read_text())[0]
    assert look["timeout"].endswith(".mesos_report_timeout | default(30)) | int * 4 }}")
    assert [task["name"] for task in look["tasks"] if task.get("timeout") == 0] == ["Wait between the two samples"]
