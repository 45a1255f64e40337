"""Usage of real containers: workloads of known CPU and memory, daemons, children that end, reused records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mesos_shim.containers import processes

from ..lib.containers import (
    WITHOUT,
    Container,
    Starter,
    alive,
    any_volume,
    children_of,
    forge,
    running,
    usage,
    without_psutil,
)
from ..lib.launching import own_namespace
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root

# How exact: the kernel counts in ticks of 10 ms, and an interpreter's own start and work counts too.
OVERHEAD = 0.35


def cpu(container: Container) -> float:
    found = container.used["statistics"]
    return found["cpus_user_time_secs"] + found["cpus_system_time_secs"]


BURN = "import time\\nwhile time.process_time() < %s: pass"


def test_cpu_of_a_known_workload(start: Starter) -> None:
    container = start()
    before = cpu(container)
    container.do("burn(0.5)")
    assert 0.48 <= cpu(container) - before <= 0.5 + OVERHEAD


def test_cpu_of_children_that_were_waited_for(start: Starter) -> None:
    container = start()
    before = cpu(container)
    container.do(f"subprocess.run([sys.executable, '-c', '{BURN % 0.4}'])")
    assert 0.38 <= cpu(container) - before <= 0.4 + OVERHEAD


def test_cpu_of_a_child_that_nobody_waited_for(start: Starter, open_tmp: Path) -> None:
    """It was seen, it ends as init's child: its time stays, and what is used afterwards counts at once."""
    container = start(*any_volume(open_tmp))
    child = f"{PYTHON} -c '{BURN % 0.4}\\nimport signal\\nprint(0, flush=True)\\nsignal.pause()' & echo $!"
    container.do(f"daemon = subprocess.Popen(['sh', '-c', {child!r}], stdout=-1)".replace("\\\\n", "\\n"))
    pid = int(container.do("answer = daemon.stdout.readline().decode().strip()"))
    container.do("daemon.stdout.readline()")
    assert container.used["statistics"]["processes"] == 2
    seen = cpu(container)
    assert seen >= 0.4
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the daemon")
    after = cpu(container)
    assert seen <= after <= seen + OVERHEAD
    container.do("burn(0.3)")
    assert 0.28 <= cpu(container) - after <= 0.3 + OVERHEAD


def test_counters_never_fall_while_children_come_and_go(start: Starter, open_tmp: Path) -> None:
    container = start(*any_volume(open_tmp))
    container.do("noise = subprocess.Popen(['sh', '-c', 'while :; do (for i in 1 2 3; do :; done) & wait; done'])")
    last = 0.0
    for _ in range(15):
        now = cpu(container)
        assert now >= last
        last = now
    container.do("noise.kill(); noise.wait()")


def test_memory_of_a_known_workload(start: Starter) -> None:
    container = start()
    before = container.used["statistics"]["mem_rss_bytes"]
    container.do("block = bytearray(b'x') * (64 << 20)")
    grown = container.used["statistics"]["mem_rss_bytes"] - before
    assert 64 << 20 <= grown <= 72 << 20


def test_processes_and_threads(start: Starter) -> None:
    container = start()
    assert (container.used["statistics"]["processes"], container.used["statistics"]["threads"]) == (1, 1)
    container.do(
        "import threading; stop = threading.Event(); [threading.Thread(target=stop.wait).start() for _ in '123']"
    )
    container.do("child = subprocess.Popen(['sleep', '60'])")
    assert (container.used["statistics"]["processes"], container.used["statistics"]["threads"]) == (2, 5)
    container.do("stop.set(); child.kill(); child.wait()")


def test_disk_as_du_counts_it(start: Starter, sandbox: Path, open_tmp: Path) -> None:
    container = start("--isolation", "filesystem/shared,disk/du")
    (sandbox / "d").mkdir()
    (sandbox / "d/big").write_bytes(b"x" * 3_000_000)
    os.link(sandbox / "d/big", sandbox / "link")  # counts once
    (sandbox / "away").symlink_to("/usr")  # and this not at all
    expected = int(subprocess.run(["du", "-s", "-B1", sandbox], stdout=-1, check=True).stdout.split()[0])
    assert container.used["statistics"]["disk_used_bytes"] == expected
    assert expected > 3_000_000


def test_disk_of_another_file_system_is_not_the_sandboxs(sandbox: Path, shim: Shim) -> None:
    (sandbox / "mounted").mkdir()
    script = f"""mount -t tmpfs none {sandbox}/mounted || exit
        head -c 1000000 /dev/zero > {sandbox}/mounted/x
        {shim.program} run --isolation disk/du --sandbox {sandbox} --container-id c -- sleep 60 >/dev/null &
        while ! {shim.program} ps --json | grep -q '"c"'; do :; done
        {shim.program} usage --format json c
        kill -9 $!"""
    words = ["unshare", "-m", "--propagation", "private", "bash", "-c", script]
    done = subprocess.run(words, stdout=-1, text=True, check=False, timeout=60)
    (found,) = json.loads(done.stdout)
    assert found["statistics"]["disk_used_bytes"] < 100_000


def test_without_disk_du_nobody_walks_the_disk(start: Starter) -> None:
    assert "disk_used_bytes" not in start().used["statistics"]


def test_a_daemonised_grandchild_belongs(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start(*any_volume(open_tmp))
    script = "setsid sh -c 'sleep 60 >/dev/null 2>&1 & echo $!'"
    pid = int(container.do(f"answer = subprocess.run(['sh', '-c', {script!r}], stdout=-1).stdout.strip().decode()"))
    assert container.used["statistics"]["processes"] == 2
    assert container.end() == 0
    assert running(shim) == ["c1"]  # it is the container now
    assert usage(shim)[0]["statistics"]["processes"] == 1
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of the daemon")
    assert running(shim) == []


def test_a_daemon_of_a_root_launch_without_volumes_belongs(start: Starter, shim: Shim) -> None:
    """Nobody looked while its parent lived, and it is in a session of its own: the mount namespace alone tells."""
    container = start()
    container.do("left = subprocess.Popen(['setsid', 'sleep', '60'], stdin=-3, stdout=-3)")
    left = int(container.do("answer = left.pid"))
    container.end()
    try:
        assert running(shim) == ["c1"]
        assert container.used["statistics"]["processes"] == 1
        assert "cleared record" not in shim.run("gc").stdout
    finally:
        os.kill(left, signal.SIGKILL)


def test_where_no_mount_namespace_can_be_had_a_launch_without_volumes_goes_on(shim: Shim, sandbox: Path) -> None:
    """Nothing was to be isolated, so nothing is missing, and nothing is said."""
    words = ["setpriv", "--bounding-set=-sys_admin", str(shim.program), "run", "--container-id", "c1", "--"]
    words += ["readlink", "/proc/self/ns/mnt"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", os.readlink("/proc/self/ns/mnt"))
    record = json.loads((shim.state_dir / "containers/c1.json").read_text())
    assert (record["mode"], record["namespaces"]) == ("enforced", {})


def test_an_ordinary_users_launch_without_volumes_stays_in_the_hosts_view(shim: Shim, open_tmp: Path) -> None:
    """A user namespace would take the rights from set-uid programs: not for the sake of counting."""
    words = [str(shim.program), "run", "--sandbox", str(open_tmp), "--", "readlink", "/proc/self/ns/mnt"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, user=NOBODY, group=NOBODY, extra_groups=[]
    )
    assert done.stdout.strip() == os.readlink("/proc/self/ns/mnt")


def test_a_daemon_of_a_supervised_container_without_a_namespace_belongs(start: Starter) -> None:
    """Usage-only: by nothing but descent, so its supervisor adopts it."""
    container = start("--supervise", "--isolation", "posix/cpu")
    container.do("subprocess.run(['sh', '-c', 'setsid sleep 60 >/dev/null 2>&1 &'])")
    assert container.used["statistics"]["processes"] == 2
    (daemon,) = set(children_of(container.process.pid)) - {container.record["pid"]}
    os.kill(daemon, signal.SIGKILL)


def test_a_reused_pid_is_not_the_container(start: Starter, shim: Shim) -> None:
    container = start()
    forge(shim, "old", start_time=container.record["start_time"] - 1)
    forge(shim, "other-boot", boot_id="00000000-0000-0000-0000-000000000000", start_time=1)
    assert running(shim) == ["c1"]


def test_a_reused_inode_is_not_the_container(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start(*any_volume(open_tmp))
    namespaces = container.record["namespaces"]
    assert namespaces["mnt"] == int(os.readlink(f"/proc/{container.record['pid']}/ns/mnt")[5:-1])
    forge(shim, "before", pid=1, start_time=1, namespaces={"mnt": namespaces["mnt"], "mnt_id": 7})
    forge(shim, "older-kernel", pid=1, start_time=1, namespaces={"mnt": namespaces["mnt"]})
    assert running(shim) == ["c1"]


def test_one_pass_for_all(start: Starter, shim: Shim) -> None:
    """The number of looks at /proc does not grow with the number of containers."""
    trace = shim.prefix / "trace"

    def passes() -> int:
        words = ["strace", "-f", "-e", "trace=getdents64,openat", "-o", trace, shim.program, "ps", "--json"]
        subprocess.run(list(map(str, words)), stdout=subprocess.DEVNULL, check=True, timeout=SECONDS)
        return sum('"/proc",' in line for line in trace.read_text().splitlines())

    start(name="a")
    one = passes()
    for name in "bcd":
        start(name=name)
    assert passes() == one == 1
    trace.unlink()


def test_psutil_and_proc_agree() -> None:
    """Two readers, one truth: of a process with children that were waited for."""
    child = subprocess.Popen(
        [PYTHON, "-c", "import subprocess, sys, time\n"
         "subprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 0.2: pass'])\n"
         "while time.process_time() < 0.2: pass\nprint(0, flush=True)\ninput()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    child.stdout.readline()
    try:
        psutil = processes.psutil_module()
        assert psutil is not None
        one, other = processes._psutil_figures(psutil, child.pid), processes._proc_figures(child.pid)
        assert one == other
        assert one.user + one.system >= 0.19
        assert one.children_user + one.children_system >= 0.19
        assert processes._psutil_figures(psutil, 1 << 22) is processes._proc_figures(1 << 22) is None
    finally:
        child.communicate(b"\n")


def test_the_table_has_everybody_once() -> None:
    table = processes.table()
    own = table[os.getpid()]
    assert (own.parent, own.zombie) == (os.getppid(), False)
    assert own.start == int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert 1 in table


def test_without_psutil_proc_is_read_and_that_is_said(start: Starter, shim: Shim) -> None:
    container = start()
    container.do("burn(0.2)")
    done = without_psutil(shim, "usage", "--format", "json")
    (found,) = json.loads(done.stdout)
    assert found["statistics"]["processes"] == 1
    assert found["statistics"]["cpus_user_time_secs"] + found["statistics"]["cpus_system_time_secs"] >= 0.2
    assert abs(found["statistics"]["mem_rss_bytes"] - container.used["statistics"]["mem_rss_bytes"]) < 1 << 20
    assert done.stderr.startswith("mesos-shim: warning: psutil is missing: install it")
    doctor = without_psutil(shim, "doctor", "--json")
    (item,) = [item for item in json.loads(doctor.stdout) if item["check"] == "psutil"]
    assert (item["state"], bool(item["remedy"])) == ("degraded", True)


def test_half_a_psutil_is_none(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """A directory of that name without the module in it imports as an empty package."""
    start()
    lib = open_tmp / "lib"
    (lib / "psutil").mkdir(parents=True)
    (lib / "mesos_shim").symlink_to(shim.prefix / "current/lib/mesos_shim")
    script = WITHOUT.replace('sys.modules["psutil"] = None', "")
    words = [PYTHON, "-ISBc", script, str(lib), str(shim.config_path), "usage", "--format", "json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert json.loads(done.stdout)[0]["statistics"]["processes"] == 1
    assert "psutil is missing" in done.stderr


def test_the_cgroups_accounts_are_exact(start: Starter) -> None:
    """What ended unseen and unwaited for is counted too, where there is a group."""
    container = start("--isolation", "cgroups/cpu,cgroups/mem")
    before = cpu(container)
    script = f"{PYTHON} -c '{BURN % 0.3}' >/dev/null & exit".replace("\\n", "\n")
    container.do(f"subprocess.run(['sh', '-c', {script!r}])")
    wait_until(lambda: container.used["statistics"]["processes"] == 1, "the end of the daemon")
    assert 0.28 <= cpu(container) - before <= 0.3 + OVERHEAD
    container.do("block = bytearray(b'x') * (32 << 20)")
    found = container.used["statistics"]
    assert 32 << 20 <= found["mem_rss_bytes"] <= 60 << 20
    assert found["mem_total_bytes"] >= found["mem_rss_bytes"]
    assert found["mem_anon_bytes"] == found["mem_rss_bytes"]
    assert found["mem_file_bytes"] >= 0


def test_an_ordinary_user_sees_his_own(shim: Shim, open_tmp: Path) -> None:
    """Records in his run directory, by the default; root's are not his."""
    run = open_tmp / "run"
    for path in (run, open_tmp / "sandbox"):
        path.mkdir()
        os.chown(path, NOBODY, NOBODY)
    config = open_tmp / "config.json"
    config.write_text("{}")
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    variables = {"XDG_RUNTIME_DIR": str(run), "PATH": os.environ["PATH"]}
    words = [shim.program, "run", "--config", config, "--container-id", "his", "--volume", "t:/opt", "--", "cat"]
    process = subprocess.Popen(
        list(map(str, words)), stdin=subprocess.PIPE, cwd=open_tmp / "sandbox", env=variables, **who
    )
    try:
        wait_until((run / "mesos-shim/containers/his.json").exists, "the record")
        # Root's records are somewhere, whatever has run on this machine before.
        script = (
            "mount -t tmpfs tmpfs /run && mkdir /run/mesos-shim &&"
            f" exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups env XDG_RUNTIME_DIR={run}"
            f" {shim.program} usage --config {config} --format json"
        )
        done = own_namespace(script, open_tmp)
        (found,) = json.loads(done.stdout)
        assert (found["container_id"], found["statistics"]["processes"]) == ("his", 1)
        assert "only the containers of uid" in done.stderr
        assert done.stderr.count("\n") == 1
        assert running(shim) == []
    finally:
        process.communicate()


def test_importing_psutil_never_delays_a_launch(shim: Shim, sandbox: Path) -> None:
    trace = shim.prefix / "trace"
    for options in ((), ("--supervise",), ("--isolation", "posix/cpu,posix/mem,disk/du")):
        words = ["strace", "-f", "-e", "trace=openat,stat,newfstatat", "-o", trace]
        words += [shim.program, "run", *options, "--", "true"]
        subprocess.run(list(map(str, words)), cwd=sandbox, check=True, timeout=SECONDS)
        assert "psutil" not in trace.read_text()
    trace.unlink()


if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)
