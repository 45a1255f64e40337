"""Nothing steady grows, nothing breaks: many containers, kills of every process, a /run that is full or not there."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from ..lib.cgroups import WHY, ours
from ..lib.containers import Starter, alive, children_of, forge, running
from ..lib.launching import said
from ..lib.pausing import between
from ..lib.shim import NOBODY, SOAK, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root

NAMESPACES = "filesystem/shared,namespaces/pid,namespaces/ipc"
EVERYTHING = NAMESPACES if WHY else f"{NAMESPACES},cgroups/cpu,cgroups/mem"


def in_host(script: str, *words: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
    """A command in a mount namespace that `script` has changed first."""
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", f'{script} || exit; exec "$@"', "sh", *words]
    keywords.setdefault("timeout", SECONDS)
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **keywords)


PLACES = {
    "full": "mount -t tmpfs -o size=4k,mode=0755 none {state} && mkdir -m 0755 {state}/containers && "
    "head -c 8k /dev/zero > {state}/fill 2>/dev/null; true",
    "without inodes": "mount -t tmpfs -o nr_inodes=2,mode=0755 none {state} && mkdir -m 0755 {state}/containers",
    "read-only": "mount -t tmpfs -o ro,mode=0755 none {state}",
    "a file": "rmdir {state} && touch {state}",
    "others'": "chmod 0777 {state}",
    "unreadable records": "mkdir {state}/containers && mount -t tmpfs -o ro,mode=0 none {state}/containers",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("options", [(), ("--supervise",), ("--isolation", "namespaces/pid")], ids=str)
def test_a_bad_place_for_records_costs_the_record_only(
    shim: Shim, sandbox: Path, place: str, options: tuple[str, ...]
) -> None:
    """One warning that says where and why; the launch goes on, and the other commands say what they find."""
    shim.state_dir.mkdir()
    script = PLACES[place].format(state=shim.state_dir)
    done = in_host(script, shim.program, "run", "--sandbox", sandbox, *options, "--", "sh", "-c", "echo ran; exit 3")
    if shim.state_dir.is_file():
        shim.state_dir.unlink()
    assert (done.returncode, done.stdout) == (3, "ran\n")
    if place == "unreadable records":  # root reads everything; it only cannot write
        assert "Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"mesos-shim: warning: no record in {shim.state_dir}: ")
    assert done.stderr.endswith("; ps and usage will not know this container\n")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("command", ["ps", "usage", "gc"])
def test_a_bad_place_for_records_breaks_no_command(shim: Shim, place: str, command: str) -> None:
    shim.state_dir.mkdir()
    done = in_host(PLACES[place].format(state=shim.state_dir), shim.program, command)
    if shim.state_dir.is_file():
        shim.state_dir.unlink()
    assert "internal error" not in done.stderr
    assert done.stderr.count("\n") <= 1
    assert done.returncode in (0, 125)
    assert (done.returncode == 0) == (place not in ("a file", "others'")) or place == "others'"


def test_a_user_without_a_run_directory(shim: Shim, open_tmp: Path) -> None:
    """Under cron there is none: his records are kept all the same."""
    config = open_tmp / "config.json"
    config.write_text("{}")
    sandbox = open_tmp / "sandbox"
    sandbox.mkdir()
    os.chown(sandbox, NOBODY, NOBODY)
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "env": {"PATH": "/usr/bin:/bin"}}
    done = shim.run("run", "--config", config, "--volume", "t:/opt", "--", "echo", "ran", cwd=sandbox, **who)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
    try:
        for command in ("ps", "usage", "gc"):
            done = shim.run(command, "--config", config, **who)
            assert done.returncode == 0
            assert all("only the containers of uid" in line for line in done.stderr.splitlines())
        assert done.stdout.startswith("cleared record of run-")
    finally:
        for path in Path("/var/tmp").glob(f"mesos-shim-{NOBODY}-*"):
            shutil.rmtree(path)


def test_a_full_place_keeps_no_half_record(shim: Shim, sandbox: Path) -> None:
    shim.state_dir.mkdir()
    words = f"{shim.program} run --sandbox {sandbox} -- true; find {shim.state_dir} -type f"
    done = in_host(PLACES["full"].format(state=shim.state_dir), "sh", "-c", words)
    assert done.stdout.split() == [f"{shim.state_dir}/fill"]


def test_usage_goes_on_where_its_counters_cannot_be_kept(start: Starter, shim: Shim) -> None:
    start()
    done = in_host(f"mount --bind {shim.state_dir} {shim.state_dir} && mount -o remount,ro,bind {shim.state_dir}",
                   shim.program, "usage", "--format", "json")  # fmt: skip
    assert [item["container_id"] for item in json.loads(done.stdout)] == ["c1"]
    assert "Read-only file system: the CPU time of processes that nobody waited for is lost" in done.stderr


def processes_of(container: Any) -> dict[str, int]:
    """Every process of a supervised container in a pid namespace, by its part."""
    first = container.record["pid"]
    (command,) = children_of(first)
    return {"supervisor": container.process.pid, "init": first, "command": command}


@pytest.mark.parametrize("victim", ["supervisor", "init", "command"])
def test_kill_of_each_process_leaves_a_state_that_is_understood(
    start: Starter, shim: Shim, victim: str, open_tmp: Path
) -> None:
    groups = ours()
    (open_tmp / "target").mkdir()
    container = start("--isolation", EVERYTHING, "--volume", f"t:{open_tmp}/target")
    everybody = processes_of(container)
    os.kill(everybody[victim], signal.SIGKILL)
    status = container.process.wait(SECONDS)
    if victim == "supervisor":
        assert status == -signal.SIGKILL
        assert running(shim) == ["c1"]
        assert container.used["statistics"]["processes"] == 2
        assert shim.run("enter", "c1", "--", "true").returncode == 0
        os.kill(everybody["init"], signal.SIGKILL)
    else:
        assert status == 128 + signal.SIGKILL
    wait_until(lambda: not any(map(alive, everybody.values())), "the end of all of it")
    assert running(shim) == []
    assert shim.run("gc").returncode == 0
    assert list((shim.state_dir / "containers").iterdir()) == []
    assert ours() <= groups


@pytest.mark.parametrize("moment", range(4))
def test_kill_of_a_launch_in_the_middle(shim: Shim, sandbox: Path, moment: int) -> None:
    """kill -9 of everything after a number of system calls that make something: the next command understands it."""
    calls = ["mkdir", "mount", "rename", "clone"]
    words = ["strace", "-f", "-o", "/dev/null", f"-einject={calls[moment]}:signal=KILL:when=1"]
    words += [str(shim.program), "run", "--isolation", EVERYTHING, "--volume", "t:/opt", "--", "true"]
    subprocess.run(words, cwd=sandbox, capture_output=True, check=False, timeout=SECONDS)
    groups = ours()
    wait_until(lambda: running(shim) == [], "nothing that runs")
    # What is left empties: the init and the command die with their launcher or end.
    wait_until(lambda: shim.run("gc").returncode == 0 and not any("run-" in path for path in ours()), "a swept host")
    assert (
        said(shim.run("run", "--isolation", EVERYTHING, "--volume", "t:/opt", "--", "echo", "ran", cwd=sandbox))
        == "ran"
    )
    assert ours() <= groups


def test_kill_of_usage_between_write_and_rename(start: Starter, shim: Shim) -> None:
    container = start()
    container.do("burn(0.2)")
    before = container.used["statistics"]["cpus_user_time_secs"]
    for call in ("rename", "openat:when=40+10", "write"):
        name, _, when = call.partition(":")
        words = ["strace", "-o", "/dev/null", f"-einject={name}:signal=KILL{':' + when if when else ''}"]
        subprocess.run([*words, shim.program, "usage"], capture_output=True, check=False, timeout=SECONDS)
        assert container.used["statistics"]["cpus_user_time_secs"] >= before


COMMANDS = ("ps --json", "usage --format json", "usage --format openmetrics", "gc", "doctor --json")
ROUNDS = 60 if SOAK else 6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_survives_containers_that_die_at_the_worst_moment(
    shim: Shim, sandbox: Path, command: str
) -> None:
    """Containers start and end all the time, by themselves and by kills, while the command looks."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            script = "sh -c 'for i in 1 2 3; do :; done' & sh -c ': &' ; wait"
            process = subprocess.Popen(
                [shim.program, "run", "--volume", "t:/opt", "--", "sh", "-c", script],
                cwd=sandbox,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if random.random() < 0.3:
                process.kill()
            process.wait(SECONDS)

    threads = [threading.Thread(target=churn) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(ROUNDS):
            done = shim.run(*command.split())
            assert (done.returncode, done.stderr) == (0, "")
            if "json" in command:
                assert isinstance(json.loads(done.stdout), list)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    shim.run("gc")


def test_enter_survives_a_container_that_dies_at_the_worst_moment(start: Starter, shim: Shim) -> None:
    for index in range(ROUNDS):
        name = f"c{index}"
        container = start("--isolation", "namespaces/pid", name=name)
        killer = threading.Timer(random.random() * 0.08, os.kill, (container.record["pid"], signal.SIGKILL))
        killer.start()
        done = shim.run("enter", name, "--", "echo", "inside")
        killer.join()
        assert "internal error" not in done.stderr
        assert (done.stdout, done.returncode) in [("inside\n", 0), ("inside\n", 137), ("", 137), ("", 125)], done
        if done.returncode == 125:
            assert any(text in done.stderr for text in ("ended", "No such process", "no container")), done.stderr


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def crowd(shim: Shim, sandbox: Path, count: int, at_once: int) -> None:
    """Start, use and end `count` containers, `at_once` at a time; nothing may be left of them."""
    groups, open_before = ours(), descriptors()
    kinds: list[tuple[str, ...]] = [
        ("--volume", "t:/opt"),
        ("--isolation", "posix/cpu,posix/mem"),
        ("--supervise", "--volume", "t:/opt"),
        ("--isolation", EVERYTHING, "--volume", "t:/opt"),
    ]
    ended = 0
    while ended < count:
        batch = []
        for index in range(min(at_once, count - ended)):
            words = [
                shim.program,
                "run",
                "--container-id",
                f"c{ended + index}",
                *kinds[index % len(kinds)],
                "--",
                "cat",
            ]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            batch.append(subprocess.Popen([str(word) for word in words], cwd=sandbox, **pipes))
        names = sorted(f"c{ended + index}" for index in range(len(batch)))
        wait_until(lambda names=names: sorted(running(shim)) == names, f"{len(batch)} containers")
        done = shim.run("usage", "--format", "json")
        used = json.loads(done.stdout)
        assert (len(used), done.stderr) == (len(batch), "")
        # A container in a pid namespace has its init besides.
        assert {item["statistics"]["processes"] for item in used} <= {1, 2}
        for process in batch:
            process.communicate(b"")
            assert process.returncode == 0
        ended += len(batch)
        assert running(shim) == []
    assert shim.run("gc").returncode == 0
    assert list((shim.state_dir / "containers").iterdir()) == []
    assert sorted(path.name for path in shim.state_dir.iterdir()) == ["containers", "usage.json", "usage.lock"]
    assert ours() <= groups
    assert descriptors() == open_before
    # The kernel lets go of a container's view with its last process: no mount of it is left anywhere.
    assert str(sandbox) not in Path("/proc/self/mountinfo").read_text()


def test_many_containers_leave_nothing(shim: Shim, sandbox: Path) -> None:
    crowd(shim, sandbox, 24, 12)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_containers_leave_nothing(shim: Shim, sandbox: Path) -> None:
    crowd(shim, sandbox, 1000, 100)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_thousand_containers_at_once(shim: Shim, sandbox: Path) -> None:
    crowd(shim, sandbox, 1000, 1000)


def test_watch_holds_no_more_and_more(start: Starter, shim: Shim) -> None:
    """A look again and again: the same number of descriptors and, but for noise, of pages."""
    start()
    words = [str(shim.program), "usage", "--watch", "0.05", "--format", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:

        def look(count: int) -> tuple[int, int]:
            for _ in range(count):
                process.stdout.readline()
            status = Path(f"/proc/{process.pid}/status").read_text()
            return len(os.listdir(f"/proc/{process.pid}/fd")), int(status.split("VmRSS:")[1].split()[0])

        first = look(10)
        last = look(400 if SOAK else 30)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert last[0] <= first[0] + 1  # one may be open at the moment
    assert last[1] < first[1] + 1000


def test_two_launches_of_one_name_at_once(shim: Shim, sandbox: Path) -> None:
    """At most one record; the other is refused, or its record replaced: never a mixture."""
    words = [str(shim.program), "run", "--container-id", "same", "--", "cat"]
    both = [
        subprocess.Popen(words, cwd=sandbox, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    wait_until(lambda: running(shim) == ["same"], "one of them")
    record = json.loads((shim.state_dir / "containers/same.json").read_text())
    assert record["pid"] in {process.pid for process in both}
    for process in both:
        _, told = process.communicate("")
        assert process.returncode == 0 or "'same' is in use by pid" in told


def test_of_two_launches_at_once_with_one_name_one_is_refused(shim: Shim, sandbox: Path) -> None:
    """Both find it free when they begin; who comes second to write his record finds it taken."""
    (shim.state_dir / "containers").mkdir(parents=True)
    words = [shim.program, "run", "--container-id", "c1", "--", "sh", "-c", "echo ran; read line"]
    keywords = {"stdin": -1, "stdout": -1, "stderr": -1, "text": True, "cwd": sandbox}
    for _ in range(10):
        crowd = [subprocess.Popen(list(map(str, words)), **keywords) for _ in range(6)]
        running = [process for process in crowd if process.stdout.readline() == "ran\n"]
        winners = [process.pid for process in running]
        recorded = json.loads((shim.state_dir / "containers/c1.json").read_text())["pid"]
        said = [process.communicate("\n", timeout=SECONDS)[1] for process in crowd]
        assert winners == [recorded], said
        refused = [text for text in said if text]
        assert len(refused) == 5
        assert all("is in use by pid" in text or "is being assigned to another" in text for text in refused), refused
    assert [path.name for path in (shim.state_dir / "containers").iterdir()] == ["c1.json"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "'taken' is in use by pid"),
        ({"start_time": 1}, None),  # the pid was given anew
        ({"pid": 1, "start_time": 1, "pid_namespace": 7}, "'taken' belongs to a container in another pid namespace"),
        ({"pid": 1, "start_time": 1, "pid_namespace": 7, "boot_id": "another"}, None),
    ],
    ids=["lives", "has ended", "is not seen", "of another boot"],
)
def test_a_name_is_free_once_its_container_is_known_to_have_ended(
    start: Starter, shim: Shim, sandbox: Path, fields: dict[str, object], problem: str | None
) -> None:
    start()
    forge(shim, "taken", **fields)
    path = shim.state_dir / "containers/taken.json"
    before = path.read_text()
    done = shim.run("run", "--container-id", "taken", "--", "/bin/echo", "ran", cwd=sandbox)
    if problem is None:
        assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
    else:
        assert (done.returncode, done.stdout, path.read_text()) == (125, "", before)
        assert problem in done.stderr


def test_a_name_that_was_taken_meanwhile_is_refused(start: Starter, shim: Shim, sandbox: Path) -> None:
    """It was free when this launch began."""
    words = [str(shim.program), "run", "--container-id", "c1", "--", "/bin/echo", "ran"]
    done = between(words, sandbox, "unshare", 1, start)
    assert (done.returncode, done.stdout) == (125, "")
    assert "'c1' is in use by pid" in done.stderr
    assert running(shim) == ["c1"]


@pytest.mark.parametrize("options", [[], ["--supervise"]])
def test_the_end_of_a_container_does_not_take_anothers_record(start: Starter, shim: Shim, options: list[str]) -> None:
    """The record was replaced meanwhile, by hand here: who ends takes his own only."""
    container = start(*options)
    path = shim.state_dir / "containers/c1.json"
    other = {**container.record, "start_time": 7, "supervisor": {"pid": 1, "start_time": 7}}
    path.write_text(json.dumps(other))
    container.end()
    assert json.loads(path.read_text()) == other
