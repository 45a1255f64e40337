"""Usage-only mode: as on macOS, by a masked platform (masked_platform.py), and on Linux where it was chosen."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..lib.masked import Elsewhere
from ..lib.shim import Shim
from ..lib.waiting import wait_until

VOLUMES = ("--volume", "t:/opt")


@pytest.fixture
def elsewhere(shim: Shim, sandbox: Path) -> Elsewhere:
    return Elsewhere(shim, sandbox)


WARNING = "mesos-shim: warning: usage-only: NOTHING is isolated: darwin has no namespaces and no cgroups\n"


def test_masked_platform_launches_and_says_that_nothing_is_isolated(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("run", *VOLUMES, "--", "sh", "-c", "pwd; echo to-stderr >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, f"{elsewhere.sandbox}\n")
    assert done.stderr == WARNING + "to-stderr\n"


def test_masked_platform_supervises_and_tells(elsewhere: Elsewhere) -> None:
    reading, writing = os.pipe()
    done = elsewhere.run("run", "--status-fd", writing, "--", "sh", "-c", "kill -9 $$", pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading) as lines:
        events = [json.loads(line) for line in lines]
    assert done.returncode == 137
    assert [event["event"] for event in events] == ["start", "exit"]
    assert (events[1]["signal"], "rusage" in events[1]) == (9, True)


def test_masked_platform_removes_a_sandbox(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("run", "--rm", "--", "sh", "-c", "pwd; mkdir -p a/b; touch a/b/c")
    assert done.stderr == WARNING
    path = Path(done.stdout.strip())
    assert path.name.startswith("mesos-shim-")
    assert not path.exists()


def test_masked_platform_reports(elsewhere: Elsewhere) -> None:
    process = elsewhere.start("--container-id", "c1", *VOLUMES, "--mem", "64")
    try:
        process.stdin.write("burn(0.2); block = bytearray(b'x') * (32 << 20)\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        (listed,) = json.loads(elsewhere.run("ps", "--json").stdout)
        assert (listed["container_id"], listed["pid"], listed["mode"]) == ("c1", process.pid, "usage-only")
        assert listed["isolation"] == ["posix/cpu", "posix/mem"]
        assert listed["volumes"] == []
        done = elsewhere.run("usage", "--format", "json")
        assert (done.returncode, done.stderr) == (0, "")
        (used,) = json.loads(done.stdout)
        assert used["statistics"]["processes"] == 1
        assert used["statistics"]["cpus_user_time_secs"] + used["statistics"]["cpus_system_time_secs"] >= 0.2
        assert used["statistics"]["mem_rss_bytes"] >= 32 << 20
        assert used["statistics"]["mem_limit_bytes"] == 64 << 20
        metrics = elsewhere.run("usage", "--format", "openmetrics").stdout
        assert (
            'mesos_container_enforced{container_id="c1",mode="usage-only",isolation="posix/cpu,posix/mem"} 0' in metrics
        )
        assert "usage-only" in elsewhere.run("usage").stdout
        assert "usage-only" in elsewhere.run("ps").stdout
    finally:
        process.communicate()
    assert json.loads(elsewhere.run("ps", "--json").stdout) == []
    assert elsewhere.run("gc").stdout == "cleared record of c1\n"


def test_masked_platform_knows_a_reused_pid_by_its_age(elsewhere: Elsewhere) -> None:
    """A record has no start time there: who is younger than his record is another."""
    process = elsewhere.start("--container-id", "c1")
    try:
        path = elsewhere.shim.state_dir / "containers/c1.json"
        assert json.loads(path.read_text())["start_time"] is None
        os.utime(path, (1, 1))
        assert json.loads(elsewhere.run("ps", "--json").stdout) == []
    finally:
        process.communicate()


def test_masked_platform_explains(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("explain", "--json", *VOLUMES, "--", "true")
    plan = json.loads(done.stdout)
    assert plan["mode"] == "usage-only"
    assert [step["action"] for step in plan["steps"]] == ["record", "exec"]
    assert plan["warnings"] == ["usage-only: NOTHING is isolated: darwin has no namespaces and no cgroups"]


def test_masked_platform_refuses_where_the_operator_wants_that(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("run", "--on-unenforceable", "refuse", *VOLUMES, "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("mesos-shim: darwin has no namespaces and no cgroups; --on-unenforceable usage-only")


def test_masked_platform_has_nothing_to_enter(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("enter", "c1", "--", "sh")
    assert done.returncode == 125
    assert done.stderr.startswith("mesos-shim: enter: containers have no mount namespace on this system")


def test_masked_platform_doctor_says_it(elsewhere: Elsewhere) -> None:
    done = elsewhere.run("doctor", "--json")
    assert done.returncode == 0, done
    found = {item["check"]: item for item in json.loads(done.stdout)}
    assert found["isolation"]["state"] == "degraded"
    assert "darwin has no mount namespaces" in found["isolation"]["message"]
    assert "cgroups/mem" not in found


@pytest.mark.parametrize("command", ["--help", "run", "explain", "validate", "ps", "usage", "enter", "gc", "doctor"])
def test_masked_platform_helps(elsewhere: Elsewhere, command: str) -> None:
    done = elsewhere.run(command, "--help")
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")


def test_on_linux_usage_only_is_chosen_and_said_everywhere(shim: Shim, sandbox: Path) -> None:
    """Where namespaces may not be made, by a seccomp filter of bubblewrap's kind: here, by a limit of the kernel's."""
    shim.configure(on_unenforceable="usage-only", isolation=["filesystem/shared", "posix/cpu"])
    script = 'echo 0 > /proc/sys/user/max_mnt_namespaces && exec "$@"'
    words = ["unshare", "-U", "-r", "sh", "-c", script, "sh", shim.program, "run", "--container-id", "c1"]
    words += [*VOLUMES, "--", "cat"]
    process = subprocess.Popen(
        list(map(str, words)),
        cwd=sandbox,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until((shim.state_dir / "containers/c1.json").exists, "the record")
        (used,) = json.loads(shim.run("usage", "--format", "json").stdout)
        assert (used["mode"], used["isolation"], used["volumes"]) == ("usage-only", ["posix/cpu"], [])
    finally:
        _, said = process.communicate()
    assert process.returncode == 0
    assert "mesos-shim: warning: usage-only: NOTHING is isolated: a new mount namespace: " in said


def test_on_linux_it_is_refused_by_default(shim: Shim, sandbox: Path) -> None:
    script = 'echo 0 > /proc/sys/user/max_mnt_namespaces && exec "$@"'
    words = ["unshare", "-U", "-r", "sh", "-c", script, "sh", shim.program, "run", *VOLUMES, "--", "echo", "started"]
    done = subprocess.run(list(map(str, words)), cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125, "")
    assert "a new mount namespace: No space left on device" in done.stderr
