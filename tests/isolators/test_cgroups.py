"""cgroups/cpu and cgroups/mem on this host's own hierarchies, of whichever version they are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mesos_shim.system import cgroups

from ..lib.cgroups import needs_cgroups, ours
from ..lib.containers import Container, Starter, alive, children_of, running
from ..lib.played_agent import PlayedAgent
from ..lib.shim import PYTHON, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root

BOTH = "cgroups/cpu,cgroups/mem"


def limits(container: Container) -> dict[str, str]:
    """The values that the kernel has for the container's groups."""
    groups = container.record["cgroups"]
    found = {}
    for controller, names in (
        ("cpu", ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.weight", "cpu.max")),
        ("memory", ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max")),
    ):
        for name in names:
            path = Path(groups[controller], name)
            if path.exists():
                found[name] = path.read_text().strip()
    return found


def members(container: Container, controller: str) -> set[int]:
    text = Path(container.record["cgroups"][controller], "cgroup.procs").read_text()
    return {int(line) for line in text.split()}


@needs_cgroups
def test_limits_from_the_command_line(start: Starter) -> None:
    container = start("--isolation", BOTH, "--cpus", "1.5", "--mem", "64")
    found = limits(container)
    if "cpu.shares" in found:
        assert (found["cpu.shares"], found["cpu.cfs_quota_us"], found["cpu.cfs_period_us"]) == (
            "1536",
            "150000",
            "100000",
        )
    else:
        assert (found["cpu.weight"], found["cpu.max"]) == ("150", "150000 100000")
    assert found.get("memory.limit_in_bytes", found.get("memory.max")) == str(64 << 20)
    assert found.get("memory.memsw.limit_in_bytes", str(64 << 20)) == str(64 << 20)
    assert found.get("memory.swap.max", "0") == "0"


@needs_cgroups
def test_limits_from_the_configuration(start: Starter, shim: Shim) -> None:
    shim.configure(isolation=["cgroups/cpu", "cgroups/mem"], default_limits={"cpus": 0.5, "mem": 48})
    container = start("--mem", "32")
    found = limits(container)
    assert found.get("cpu.cfs_quota_us", found.get("cpu.max")) in ("50000", "50000 100000")
    assert found.get("memory.limit_in_bytes", found.get("memory.max")) == str(32 << 20)  # the caller's comes first


@needs_cgroups
def test_without_a_limit_the_group_only_accounts(start: Starter) -> None:
    container = start("--isolation", BOTH)
    found = limits(container)
    assert found.get("cpu.cfs_quota_us", "-1") == "-1"
    assert found.get("cpu.max", "max").startswith("max")
    assert members(container, "cpu") == members(container, "memory") == {container.record["pid"]}


@needs_cgroups
def test_everything_of_the_container_is_in_it_and_the_supervisor_is_not(start: Starter) -> None:
    container = start("--isolation", BOTH)
    container.do("child = subprocess.Popen(['sleep', '60'], start_new_session=True)")
    child = int(container.do("answer = child.pid"))
    assert members(container, "memory") == {container.record["pid"], child}
    assert container.process.pid not in members(container, "cpu")
    assert container.used["statistics"]["processes"] == 2
    container.do("child.kill(); child.wait()")


@needs_cgroups
def test_the_group_goes_with_the_container(start: Starter) -> None:
    before = ours()
    container = start("--isolation", BOTH, "--mem", "64")
    assert len(ours() - before) == len(set(container.record["cgroups"].values()))
    assert container.end() == 0
    assert ours() <= before


@needs_cgroups
def test_groups_that_the_task_made_go_too(start: Starter) -> None:
    before = ours()
    container = start("--isolation", "cgroups/cpu")
    directory = container.record["cgroups"]["cpu"]
    deep = "/".join(["d"] * 60)
    container.do(f"os.makedirs({directory!r} + '/{deep}')")
    assert container.end() == 0
    assert ours() <= before


@needs_cgroups
def test_what_still_runs_keeps_its_group_until_gc(start: Starter, shim: Shim) -> None:
    """Without a pid namespace a command may leave others behind: they are the container until they end."""
    before = ours()
    container = start("--isolation", BOTH)
    container.do("left = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3, start_new_session=True)")
    left = int(container.do("answer = left.pid"))
    groups = set(container.record["cgroups"].values())
    assert container.end() == 0
    assert ours() - before == groups
    shim.run("gc")
    assert ours() - before == groups
    os.kill(left, signal.SIGKILL)
    wait_until(lambda: not alive(left), "the end of what was left")
    done = shim.run("gc")
    assert (done.returncode, done.stderr) == (0, "")
    assert ours() <= before


@needs_cgroups
def test_out_of_memory_is_told(shim: Shim, sandbox: Path) -> None:
    reading, writing = os.pipe()
    done = shim.run(
        *("run", "--isolation", "cgroups/mem", "--mem", "40", "--container-id", "greedy", "--status-fd", writing),
        *("--", PYTHON, "-c", "x = bytearray(200 << 20)"),
        cwd=sandbox,
        pass_fds=[writing],
    )
    os.close(writing)
    with os.fdopen(reading) as lines:
        events = [json.loads(line) for line in lines]
    assert done.returncode == 128 + signal.SIGKILL
    assert [event["event"] for event in events] == ["start", "exit"]
    assert (events[1]["signal"], events[1]["oom_kills"]) == (signal.SIGKILL, 1)
    assert done.stderr == (
        "mesos-shim: warning: greedy: the kernel killed a process, because the memory limit of 40 MB was reached\n"
    )


@needs_cgroups
def test_out_of_memory_of_another_process_than_the_command_is_told_too(shim: Shim, sandbox: Path) -> None:
    script = f"{PYTHON} -c 'x = bytearray(200 << 20)'; echo survived"
    done = shim.run("run", "--isolation", "cgroups/mem", "--mem", "40", "--", "sh", "-c", script, cwd=sandbox)
    assert (done.returncode, done.stdout) == (0, "survived\n")
    assert "the kernel killed a process, because the memory limit" in done.stderr


@needs_cgroups
def test_out_of_memory_in_a_group_that_the_container_made_is_told(shim: Shim, sandbox: Path) -> None:
    """Version 1 counts for each group alone."""
    script = f"""
import os, subprocess
words = next(line for line in open("/proc/self/mountinfo") if " - cgroup" in line and "memory" in line.split()[-1])
own = [line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if "memory" in line.split(":")[1].split(",")]
group = words.split()[4] + own[0] + "/inner"
os.mkdir(group)
subprocess.run(["sh", "-c", f"echo $$ > {{group}}/cgroup.procs; exec {PYTHON} -c 'bytearray(200 << 20)'"])
"""
    if cgroups.find("memory").version != 1:
        pytest.skip("version 2 counts what happens below by itself")
    done = shim.run("run", "--isolation", "cgroups/mem", "--mem", "40", "--", PYTHON, "-c", script, cwd=sandbox)
    assert "the kernel killed a process, because the memory limit" in done.stderr, done


@needs_cgroups
def test_the_quota_is_enforced(start: Starter) -> None:
    """By the kernel's own count: a busy loop with a hundredth of a CPU is throttled."""
    container = start("--isolation", "cgroups/cpu", "--cpus", "0.2")
    container.do("burn(0.1)")
    found = container.used["statistics"]
    assert found["cpus_limit"] == 0.2
    assert found["cpus_nr_throttled"] > 0
    assert found["cpus_nr_periods"] >= found["cpus_nr_throttled"]
    assert found["cpus_throttled_time_secs"] > 0


@needs_cgroups
def test_a_failed_launch_leaves_no_group(shim: Shim, sandbox: Path) -> None:
    before = ours()
    done = shim.run("run", "--isolation", BOTH, "--mem", "64", "--", "/does/not/exist", cwd=sandbox)
    assert done.returncode == 127
    assert ours() <= before


@needs_cgroups
def test_a_limit_that_the_kernel_refuses_leaves_no_group(shim: Shim, sandbox: Path) -> None:
    before = ours()
    done = shim.run("run", "--isolation", BOTH, "--cpus", "900000000", "--", "echo", "started", cwd=sandbox)
    assert (done.returncode, done.stdout) == (125, "")
    assert "/cpu." in done.stderr and "Invalid argument" in done.stderr
    assert ours() <= before


@needs_cgroups
def test_a_killed_supervisor_leaves_a_container_that_is_known(start: Starter, shim: Shim) -> None:
    before = ours()
    container = start("--isolation", BOTH, "--mem", "64")
    pid = container.record["pid"]
    container.process.kill()
    container.process.wait(SECONDS)
    assert running(shim) == ["c1"]
    assert container.used["statistics"]["mem_limit_bytes"] == 64 << 20
    said = shim.run("gc").stdout
    assert f"c1@{container.process.pid}-" not in said
    assert "record" not in said
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of the container")
    assert running(shim) == []
    shim.run("gc")
    assert ours() <= before
    assert list((shim.state_dir / "containers").iterdir()) == []


def explain(shim: Shim, sandbox: Path, *options: str) -> dict[str, Any]:
    done = shim.run("explain", "--json", *options, "--", "true", cwd=sandbox)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_cgroups
def test_explain_shows_the_groups_and_makes_none(shim: Shim, sandbox: Path) -> None:
    before = ours()
    steps = explain(shim, sandbox, "--isolation", BOTH, "--cpus", "1", "--mem", "64")["steps"]
    groups = [step for step in steps if step["action"] == "cgroup"]
    assert {name for step in groups for name in step["controllers"]} >= {"cpu", "memory"}
    assert str(64 << 20) in {value for step in groups for value in step["settings"].values()}
    assert ours() == before


# A host that lacks what is asked for: another mount namespace, in which the hierarchies are not mounted.
HIDE = "for m in $(awk '$3 ~ /^cgroup/ {print $2}' /proc/mounts | sort -r); do umount -l $m; done; exec \"$@\""


def without_cgroups(shim: Shim, *words: object) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", HIDE, "sh", shim.program, *words]
    return subprocess.run([str(w) for w in command], capture_output=True, text=True, check=False, timeout=SECONDS)


@pytest.mark.parametrize("isolation", ["cgroups/cpu", "cgroups/mem"])
@pytest.mark.parametrize("command", ["run", "explain"])
def test_a_host_without_them_refuses_with_the_reason(shim: Shim, sandbox: Path, isolation: str, command: str) -> None:
    done = without_cgroups(shim, command, "--sandbox", sandbox, "--isolation", isolation, "--", "echo", "started")
    controller = {"cgroups/cpu": "cpu", "cgroups/mem": "memory"}[isolation]
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"mesos-shim: {isolation}: no cgroup hierarchy with {controller} is mounted")
    assert "--on-unenforceable usage-only" in done.stderr


def test_a_host_without_them_is_usage_only_where_that_was_chosen(shim: Shim, sandbox: Path) -> None:
    choice = ("--on-unenforceable", "usage-only", "--isolation", "filesystem/shared,posix/cpu,cgroups/mem")
    done = without_cgroups(shim, "run", "--sandbox", sandbox, *choice, "--", "echo", "started")
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert "usage-only: NOTHING is isolated: cgroups/mem: no cgroup hierarchy" in done.stderr
    done = without_cgroups(shim, "explain", "--json", "--sandbox", sandbox, *choice, "--", "true")
    plan = json.loads(done.stdout)
    assert (plan["mode"], plan["isolation"]) == ("usage-only", ["posix/cpu"])


def test_doctor_says_so_too(shim: Shim) -> None:
    shim.configure(isolation=["filesystem/shared", "cgroups/mem"])
    done = without_cgroups(shim, "doctor", "--json")
    found = {item["check"]: item for item in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["cgroups/mem"]["state"] == "broken"
    assert "every launch is refused: no cgroup hierarchy with memory is mounted" in found["cgroups/mem"]["message"]
    assert found["cgroups/cpu"]["state"] == "ok"  # not configured, so nothing is wrong


@pytest.mark.parametrize(("option", "isolator"), [("--cpus", "cgroups/cpu"), ("--mem", "cgroups/mem")])
def test_a_limit_that_nobody_enforces_is_said(shim: Shim, sandbox: Path, option: str, isolator: str) -> None:
    done = shim.run("run", option, "64", "--", "true", cwd=sandbox)
    assert done.returncode == 0
    text = f"mesos-shim: warning: {option} is reported, not enforced: {isolator} is not among the isolators\n"
    assert done.stderr == text


def test_an_ordinary_user_is_told_why_not(shim: Shim, open_tmp: Path) -> None:
    open_tmp.chmod(0o777)
    done = shim.run(
        *("run", "--isolation", "cgroups/mem", "--mem", "64", "--", "echo", "started"),
        cwd=open_tmp,
        user=65534,
        group=65534,
        extra_groups=[],
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert "cgroups/mem: the cgroup " in done.stderr


class Groups:
    """A group as an agent's own isolators make it, with the helper in it."""

    def __init__(self, container: str) -> None:
        self.paths = []
        for controller in ("cpu", "memory"):
            found = cgroups.find(controller)
            base = Path(found.directory(found.own))
            for path in (base / "mesos", base / "mesos" / container):
                path.mkdir(exist_ok=True)
            self.paths.append(base / "mesos" / container)

    def join(self) -> None:
        for path in self.paths:
            (path / "cgroup.procs").write_text("0")

    def remove(self) -> bool:
        """True once they are gone."""
        for path in self.paths:
            with contextlib.suppress(OSError):
                path.rmdir()
                path.parent.rmdir()
        return not any(path.exists() for path in self.paths)


@needs_cgroups
def test_an_agents_own_groups_are_left_to_it(shim: Shim, open_tmp: Path) -> None:
    """The group that a launch stands in is called by the container's id: the agent has isolated it already."""
    shim.configure(isolation=["cgroups/cpu", "cgroups/mem"], default_limits={"mem": 64})
    agent = PlayedAgent(open_tmp, shim, container="6c1e2d3f-0000-4000-8000-c0ffee000001")
    agent.hold(None)
    groups = Groups(agent.container)
    before = ours()
    try:
        pid = os.fork()
        if pid == 0:
            groups.join()
            helper = agent.start("echo ran > ran; cat /proc/self/cgroup > groups; read line < fifo")
            os._exit(helper.wait(SECONDS))
        os.mkfifo(agent.sandbox / "fifo")
        wait_until(lambda: (agent.sandbox / "groups").exists() and running(shim), "the container")
        record = json.loads((shim.state_dir / f"containers/{agent.container}.json").read_text())
        assert set(record["cgroups"].values()) == {str(path) for path in groups.paths}
        assert ours() == before
        (agent.sandbox / "fifo").write_text("\n")
        os.waitpid(pid, 0)
        assert all(path.exists() for path in groups.paths)  # the agent's to remove
    finally:
        for left in {int(text) for path in groups.paths for text in (path / "cgroup.procs").read_text().split()}:
            os.kill(left, signal.SIGKILL)
        wait_until(groups.remove, "empty groups")


@needs_cgroups
def test_under_an_agent_that_does_not_isolate_we_do(shim: Shim, open_tmp: Path) -> None:
    shim.configure(isolation=["cgroups/mem"], default_limits={"mem": 48})
    before = ours()
    agent = PlayedAgent(open_tmp, shim)
    agent.hold(None)
    helper = agent.start("cat /proc/self/cgroup > groups; exit 3")
    assert (helper.wait(SECONDS), agent.status) == (0, str(3 << 8))
    assert f"/mesos-shim/c1@{helper.pid}-" in (agent.sandbox / "groups").read_text()
    assert ours() <= before


def test_no_child_of_the_test_is_left() -> None:
    assert [pid for pid in children_of(os.getpid()) if alive(pid)] == []
