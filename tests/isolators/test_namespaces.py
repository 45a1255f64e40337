"""namespaces/pid and namespaces/ipc, with real namespaces, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..lib.containers import Container, Starter, alive, children_of, running
from ..lib.launching import tree
from ..lib.shim import NOBODY, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root

PID = ("--isolation", "namespaces/pid")
IPC = ("--isolation", "namespaces/ipc")
# Who launches: the second needs a user namespace for it.
USERS: dict[str, dict[str, Any]] = {
    "root": {},
    "nobody": {"user": NOBODY, "group": NOBODY, "extra_groups": []},
}


@pytest.fixture(params=USERS)
def who(request: pytest.FixtureRequest, shim: Shim, sandbox: Path) -> dict[str, Any]:
    """Keywords of the launches; the sandbox and the records are that user's."""
    if request.param == "nobody":
        shim.state_dir.mkdir()
        os.chown(shim.state_dir, NOBODY, NOBODY)
        os.chown(sandbox, NOBODY, NOBODY)
    return USERS[request.param]


def run(shim: Shim, sandbox: Path, options: tuple[str, ...], script: str, **keywords: Any) -> str:
    """What a shell's script in a container prints."""
    done = shim.run("run", *options, "--", "sh", "-c", script, cwd=sandbox, **keywords)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.rstrip("\n")


def pids(container: Container) -> set[int]:
    """The processes that the container sees in its /proc."""
    return set(map(int, container.do("answer = ' '.join(p for p in os.listdir('/proc') if p.isdigit())").split()))


def namespace(kind: str, pid: int | str = "self") -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


# Gives pid namespaces but no mount namespace, in a user namespace of the test's own.
WITHOUT_MOUNT_NAMESPACES = 'echo 0 > /proc/sys/user/max_mnt_namespaces; "$@"; echo "outside: $(wc -l < /proc/mounts)"'


@pytest.mark.skipif(not Path("/proc/sys/user").exists(), reason="needs limits of namespaces (Linux 4.9)")
def test_where_only_the_mount_namespace_is_missing_the_callers_proc_stays(shim: Shim, sandbox: Path) -> None:
    """The new pid namespace's /proc would cover it: whoever launches would be no process there any more."""
    words = [
        str(shim.program),
        "run",
        *PID,
        "--on-unenforceable",
        "usage-only",
        "--",
        "sh",
        "-c",
        "wc -l < /proc/mounts",
    ]
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", WITHOUT_MOUNT_NAMESPACES, "sh", *words]
    done = subprocess.run(inside, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert "usage-only: NOTHING is isolated: a new mount namespace: " in done.stderr, done
    before, after = done.stdout.split("\noutside: ")
    assert (done.returncode, int(before)) == (0, int(after)), done


def test_a_container_sees_its_own_processes_only(start: Starter, who: dict[str, Any]) -> None:
    container = start(*PID, **who)
    assert container.do("answer = os.getpid()") == "2"
    assert pids(container) == {1, 2}
    assert container.do("answer = os.readlink('/proc/self')") == "2"


def test_the_record_has_the_pid_that_the_host_knows(start: Starter, shim: Shim, who: dict[str, Any]) -> None:
    container = start(*PID, **who)
    first = container.record["pid"]
    assert children_of(container.process.pid) == [first]
    (command,) = children_of(first)
    assert Path(f"/proc/{command}/status").read_text().split("NSpid:")[1].split()[:2] == [str(command), "2"]
    done = shim.run("usage", "--format", "json", **who)
    assert json.loads(done.stdout)[0]["statistics"]["processes"] == 2


def test_the_hosts_proc_is_untouched(shim: Shim, sandbox: Path) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    assert run(shim, sandbox, PID, "echo $$") == "2"
    assert Path("/proc/self/mountinfo").read_text() == before
    assert Path(f"/proc/{os.getpid()}").exists()


def test_the_own_proc_is_locked_down_as_the_hosts(shim: Shim, sandbox: Path) -> None:
    line = run(shim, sandbox, PID, "grep ' /proc proc ' /proc/mounts | tail -1")
    assert {"nosuid", "nodev", "noexec"} <= set(line.split()[3].split(","))


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255)])
def test_the_exit_status_is_exact(shim: Shim, sandbox: Path, script: str, status: int) -> None:
    assert shim.run("run", *PID, "--", "sh", "-c", script, cwd=sandbox).returncode == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGUSR2])
def test_an_end_by_a_signal_is_told_exactly(shim: Shim, sandbox: Path, number: signal.Signals) -> None:
    reading, writing = os.pipe()
    done = shim.run(
        *("run", *PID, "--status-fd", writing, "--", "sh", "-c", f"kill -{number.value} $$"),
        cwd=sandbox,
        pass_fds=[writing],
    )
    os.close(writing)
    with os.fdopen(reading) as lines:
        events = [json.loads(line) for line in lines]
    assert done.returncode == 128 + number
    assert events[-1]["signal"] == number


def test_orphans_are_reaped(start: Starter) -> None:
    """The init's first duty: a daemon's end leaves no zombie."""
    container = start(*PID)
    container.do("subprocess.run(['sh', '-c', 'sleep 0.05 & sleep 0.05 & exit'])")
    wait_until(lambda: pids(container) == {1, 2}, "a container without zombies")


def test_orphans_become_the_inits(start: Starter) -> None:
    container = start(*PID)
    child = container.do(
        "answer = subprocess.run(['sh', '-c', 'sleep 60 >/dev/null & echo $!'], stdout=-1).stdout.strip().decode()"
    )
    fields = container.do(f"answer = open('/proc/{child}/stat').read()").rpartition(")")[2].split()
    assert fields[1] == "1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH])
def test_signals_reach_the_command(start: Starter, number: signal.Signals) -> None:
    """From the supervisor through the init: the kernel keeps what a first process does not expect from it."""
    container = start(*PID)
    container.do(f"signal.signal({number.value}, lambda n, f: print('got', n, flush=True))")
    os.kill(container.process.pid, number)
    assert container.line() == f"got {number.value}"


def test_the_init_ends_everybody(start: Starter, shim: Shim) -> None:
    container = start(*PID)
    container.do("left = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3, start_new_session=True)")
    first = container.record["pid"]
    everybody = [first, *children_of(first), *(p for c in children_of(first) for p in children_of(c))]
    assert len(everybody) == 3
    assert container.end() == 0
    assert [pid for pid in everybody if alive(pid)] == []
    assert running(shim) == []


def test_a_killed_init_is_a_killed_container(start: Starter) -> None:
    container = start(*PID)
    first = container.record["pid"]
    (command,) = children_of(first)
    os.kill(first, signal.SIGKILL)
    assert container.process.wait(SECONDS) == 128 + signal.SIGKILL
    assert not alive(command)
    assert not (container.shim.state_dir / "containers/c1.json").exists()


def test_a_killed_supervisor_leaves_the_container_alone(start: Starter, shim: Shim) -> None:
    container = start(*PID)
    first = container.record["pid"]
    container.process.kill()
    container.process.wait(SECONDS)
    assert running(shim) == ["c1"]
    assert container.do("answer = 'still here'") == "still here"
    container.process.stdin.close()
    wait_until(lambda: not alive(first), "the end of the container")
    assert "record of c1" in shim.run("gc").stdout


def test_the_init_has_no_descriptor_of_the_hosts(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """In /proc/1/fd a root task would find the host's view (runc CVE-2024-21626 is of this kind)."""
    (open_tmp / "target").mkdir()
    container = start("--isolation", "filesystem/shared,namespaces/pid", "--volume", f"t:{open_tmp}/target")
    found = container.do("answer = ' '.join(sorted(os.listdir('/proc/1/fd')))").split()
    links = [container.do(f"answer = os.readlink('/proc/1/fd/{fd}')") for fd in found]
    assert [link for link in links if not link.startswith(("pipe:", "/dev/null"))] == []
    assert len(links) == 4  # the standard three, and the pipe to the supervisor


def test_a_task_cannot_signal_roots_init(start: Starter, sandbox: Path) -> None:
    os.chown(sandbox, NOBODY, NOBODY)
    container = start(*PID, "--user", "nobody")
    assert container.do("answer = os.getuid()") == str(NOBODY)
    assert (
        container.do(
            """
try: os.kill(1, 9)
except PermissionError: answer = 'not permitted'
""".strip()
            .replace("\n", "\\n")
            .join(('exec("', '")'))
        )
        == "not permitted"
    )


def test_nothing_is_left_of_a_launch_that_fails_inside(shim: Shim, sandbox: Path) -> None:
    before = tree(sandbox)
    done = shim.run("run", *PID, "--", "/does/not/exist", cwd=sandbox)
    assert done.returncode == 127
    assert done.stderr == "mesos-shim: command '/does/not/exist': not found\n"
    assert tree(sandbox) == before
    assert list((shim.state_dir / "containers").iterdir()) == []


def test_where_proc_cannot_be_mounted_it_is_refused(shim: Shim, sandbox: Path) -> None:
    """In a container whose /proc is partly covered an ordinary user may not mount another (mount_too_revealing)."""
    script = 'mount -t tmpfs none /proc/sys && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", shim.program, "run"]
    words += ["--sandbox", sandbox, *PID, "--", "echo", "started"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (125, "")
    assert "mounting the container's own /proc: Operation not permitted" in done.stderr


# Makes a System V shared memory segment and says its id.
SHMGET = "import ctypes; answer = ctypes.CDLL(None).shmget(0, 4096, 0o1600)"


def test_system_v_objects_are_the_containers_own(start: Starter, who: dict[str, Any]) -> None:
    container = start(*IPC, **who)
    before = Path("/proc/sysvipc/shm").read_text()
    assert int(container.do(SHMGET)) >= 0
    assert Path("/proc/sysvipc/shm").read_text() == before
    assert namespace("ipc", container.record["pid"]) != namespace("ipc")


def test_shared_memory_is_the_containers_own(start: Starter, who: dict[str, Any]) -> None:
    host = Path("/dev/shm/mesos-shim-test-of-the-host")
    host.write_text("host")
    try:
        container = start(*IPC, **who)
        assert container.do("answer = os.listdir('/dev/shm')") == "[]"
        container.do("open('/dev/shm/own', 'w').write('x')")
        assert not Path("/dev/shm/own").exists()
        assert container.do("answer = oct(os.stat('/dev/shm').st_mode)") == "0o41777"
    finally:
        host.unlink()


def test_shared_memory_has_the_configured_size(start: Starter, shim: Shim) -> None:
    shim.configure(tmpfs={"/dev/shm": "3m"})
    container = start("--isolation", "filesystem/shared,namespaces/ipc")
    assert container.do("s = os.statvfs('/dev/shm'); answer = s.f_frsize * s.f_blocks") == str(3 << 20)


def test_shared_memory_without_a_size_is_half_of_memory(start: Starter) -> None:
    container = start(*IPC)
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    size = int(container.do("s = os.statvfs('/dev/shm'); answer = s.f_frsize * s.f_blocks"))
    assert abs(size - total // 2) <= 1 << 20


def test_a_volume_over_dev_shm_comes_first(start: Starter) -> None:
    container = start("--isolation", "filesystem/shared,namespaces/ipc", "--volume", "memory:/dev/shm")
    container.do("open('/dev/shm/x', 'w').write('y')")
    assert container.do("answer = open('memory/x').read()") == "y"


def test_ipc_alone_needs_no_parent(start: Starter) -> None:
    container = start(*IPC)
    assert container.record["pid"] == container.process.pid


def test_without_filesystem_shared_the_configurations_mounts_are_not_made(shim: Shim, sandbox: Path) -> None:
    shim.configure(tmpfs={"/opt": "1m"}, default_container_info={"type": "MESOS", "volumes": []})
    done = shim.run("run", *IPC, "--", "awk", "{print $2}", "/proc/mounts", cwd=sandbox)
    assert "/opt" not in done.stdout.split()
    assert "warning: configuration: tmpfs: ignored, because filesystem/shared is not among the isolators" in done.stderr


def test_message_queues_are_the_containers_own(shim: Shim, sandbox: Path) -> None:
    """Where the host shows its POSIX message queues as files, the container sees its own."""
    created = not Path("/dev/mqueue").exists()
    if created:
        Path("/dev/mqueue").mkdir()
    try:
        script = f"""mount -t mqueue none /dev/mqueue && touch /dev/mqueue/host &&
            {shim.program} run --sandbox {sandbox} --isolation namespaces/ipc -- ls /dev/mqueue; rm /dev/mqueue/host"""
        done = subprocess.run(
            ["unshare", "-m", "-i", "--propagation", "private", "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    finally:
        if created:
            Path("/dev/mqueue").rmdir()


def test_all_together(start: Starter, shim: Shim, who: dict[str, Any], open_tmp: Path) -> None:
    (open_tmp / "target").mkdir()
    os.chown(open_tmp / "target", who.get("user", 0), who.get("group", 0))
    names = "filesystem/shared,namespaces/pid,namespaces/ipc,posix/cpu"
    container = start("--isolation", names, "--volume", f"t:{open_tmp}/target", **who)
    container.do(f"open('{open_tmp}/target/x', 'w').close()")
    assert container.do("answer = os.listdir('t')") == "['x']"
    assert os.listdir(open_tmp / "target") == []
    assert pids(container) == {1, 2}
    assert container.record["isolation"] == names.split(",")[:1] + ["posix/cpu", "namespaces/pid", "namespaces/ipc"]
    assert container.do("answer = (os.getuid(), os.getgid())") == str((who.get("user", 0), who.get("group", 0)))


def test_explain_shows_them(shim: Shim, sandbox: Path) -> None:
    done = shim.run("explain", "--json", "--isolation", "namespaces/pid,namespaces/ipc", "--", "true", cwd=sandbox)
    steps = json.loads(done.stdout)["steps"]
    assert {"action": "unshare", "namespaces": ["mnt", "pid", "ipc"]} in steps
    assert [step["target"] for step in steps if step["action"] == "tmpfs"] == ["/dev/shm"]
    assert [step["action"] for step in steps][-4:] == ["record", "proc", "init", "exec"]


@pytest.mark.parametrize("kind", ["pid", "ipc"])
def test_what_the_agent_has_made_is_not_made_again(kind: str) -> None:
    from mesos_shim.isolators import module
    from mesos_shim.plan.model import Draft
    from mesos_shim.spec.request import LaunchRequest
    from mesos_shim.system import syscalls

    asked = LaunchRequest()
    asked.agent_namespaces = syscalls.CLONE_NEWNS
    plan = Draft("c", None, None)  # type: ignore[arg-type]
    module(f"namespaces/{kind}").add(asked, plan)
    assert plan.namespaces == [kind]
    asked.agent_namespaces |= {"pid": syscalls.CLONE_NEWPID, "ipc": syscalls.CLONE_NEWIPC}[kind]
    plan.namespaces = []
    module(f"namespaces/{kind}").add(asked, plan)
    assert plan.namespaces == []
