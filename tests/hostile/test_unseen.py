"""What cannot be seen has not ended (threat 25): gc, and whoever gives an id away, from where a container is not shown.

Each view is made for real: namespaces, a /proc that hides, another boot's id over the kernel's, a capability less.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..lib import fuse
from ..lib.containers import SERVANT, Container, Starter, alive, running
from ..lib.shim import PYTHON, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

pytestmark = needs_root

OTHER_BOOT = "00000000-0000-4000-8000-000000000000"


def shell(script: str, *before: str) -> list[str]:
    """`script` and then its words, in a mount namespace of its own."""
    return [*before, "unshare", "-m", "--propagation", "private", "sh", "-c", f'{script} && exec "$@"', "sh"]


def proc(options: str) -> str:
    return f"mount -t proc -o {options} proc /proc"


# nspawn and LXC give each container a boot_id of its own.
BOOT = "mount --bind {boot} /proc/sys/kernel/random/boot_id"
NO_PTRACE = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
VIEWS = {
    "another boot's id": shell(BOOT),
    "another boot's id in another pid namespace": shell(BOOT, "unshare", "-pf", "--mount-proc"),
    "ProcSubset=pid": shell(proc("subset=pid")),
    "hidepid without CAP_SYS_PTRACE": [*shell(proc("hidepid=4")), *NO_PTRACE],
    "another time namespace": ["unshare", "-T", "--boottime=1000", "--monotonic=1000", "--fork"],
    "another pid namespace": ["unshare", "-pf", "--mount-proc"],
}


@pytest.fixture(params=VIEWS)
def view(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The words that put a command into the view."""
    boot = tmp_path / "boot_id"
    boot.write_text(f"{OTHER_BOOT}\n")
    return [word.replace("{boot}", str(boot)) for word in VIEWS[request.param]]


def within(view: list[str], shim: Shim, *words: object) -> subprocess.CompletedProcess[str]:
    command = [*view, str(shim.program), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)


def volume(open_tmp: Path) -> tuple[str, str]:
    (open_tmp / "target").mkdir(exist_ok=True)
    return ("--volume", f"t:{open_tmp}/target")


def stays(view: list[str], shim: Shim, container: Container) -> None:
    """Neither its sandbox nor its record goes, and its id is not given away."""
    sandbox, record = Path(container.record["sandbox"]), container.record
    (sandbox / "precious").write_text("")
    done = within(view, shim, "gc")
    assert f"sandbox {sandbox}" not in done.stdout
    assert "record of c1" not in done.stdout
    assert (sandbox / "precious").exists()
    done = within(view, shim, "run", "--container-id", "c1", "--sandbox", shim.prefix, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, ""), done
    assert "'c1'" in done.stderr
    assert container.record == record


def forget_number(shim: Shim) -> None:
    """Linux before 6.11 does not number mount namespaces; the record has the inode alone."""
    path = shim.state_dir / "containers/c1.json"
    record = json.loads(path.read_text())
    del record["namespaces"]["mnt_id"]
    path.write_text(json.dumps(record))


def cleared(shim: Shim, sandbox: object) -> None:
    """gc removes it; a number that was given to another namespace meanwhile keeps it for as long as that is used."""
    wait_until(lambda: f"cleared sandbox {sandbox}" in shim.run("gc").stdout, "its removal")
    assert not Path(str(sandbox)).exists()


def kill_supervisor(container: Container) -> None:
    container.process.kill()
    container.process.wait(SECONDS)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), f"the end of {pid}")


@pytest.mark.parametrize("supervised", [True, False])
@pytest.mark.parametrize("numbered", [True, False], ids=["6.11", "before 6.11"])
def test_a_running_rm_stays(
    view: list[str], supervised: bool, numbered: bool, start: Starter, shim: Shim, open_tmp: Path
) -> None:
    container = start("--rm", *volume(open_tmp))
    sandbox = Path(container.record["sandbox"])
    if not numbered:
        forget_number(shim)
    if not supervised:
        kill_supervisor(container)
    stays(view, shim, container)
    assert running(shim) == ["c1"]
    if not supervised:
        end(container.record["pid"])
        cleared(shim, sandbox)


def elsewhere(shim: Shim, sandbox: Path, *unshare: str) -> subprocess.Popen[str]:
    """A --rm job of other namespaces, whose supervisor says that it is ready."""
    words = ["unshare", *unshare, str(shim.program), "run", "--rm", "--container-id", "c1"]
    words += ["--", PYTHON, "-c", SERVANT]
    process = subprocess.Popen(words, cwd=sandbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("ready")
    return process


@pytest.fixture
def job(request: pytest.FixtureRequest, shim: Shim, sandbox: Path) -> Iterator[Container]:
    process = elsewhere(shim, sandbox, *request.param)
    container = Container(shim, process, "c1")
    yield container
    process.stdin.close()
    process.wait(SECONDS)
    process.stdout.close()


@pytest.mark.parametrize("job", [("-pf", "--mount-proc")], indirect=True)
@pytest.mark.parametrize("before", [[], NO_PTRACE, VIEWS["ProcSubset=pid"]], ids=["root", "no ptrace", "subset"])
def test_a_job_of_another_pid_namespace_stays(job: Container, shim: Shim, before: list[str]) -> None:
    stays(list(before), shim, job)


@pytest.mark.parametrize("job", [("-T", "--boottime=1000", "--fork")], indirect=True)
def test_a_job_of_another_time_namespace_stays(job: Container, shim: Shim) -> None:
    stays([], shim, job)


def strace(*inject: str) -> list[str]:
    return ["strace", "-f", "-qqq", "-o", os.devnull, *(word for item in inject for word in ("-e", f"inject={item}"))]


def leave_behind(container: Container) -> int:
    """Let the container start a daemon and end; the daemon's pid."""
    container.do(
        "left = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3, stderr=-3, cwd='/', start_new_session=1)"
    )
    left = int(container.do("answer = left.pid"))
    kill_supervisor(container)
    end(container.record["pid"])
    return left


def test_what_is_left_in_a_namespace_without_a_unique_id_keeps_it(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start("--rm", *volume(open_tmp))
    forget_number(shim)
    record = container.record
    left = leave_behind(container)
    stays([], shim, container)
    stays(strace("ioctl:error=ENOTTY"), shim, container)
    end(left)
    cleared(shim, record["sandbox"])


def test_an_id_that_the_kernel_no_longer_tells_keeps_it(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start("--rm", *volume(open_tmp))
    left = leave_behind(container)
    stays(strace("ioctl:error=ENOTTY"), shim, container)
    end(left)


def test_a_namespace_that_is_anothers_by_now_keeps_nothing(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """Its number was given to the next launch, whose first process stands in it."""
    start(*volume(open_tmp), name="next")
    record = json.loads((shim.state_dir / "containers/next.json").read_text())
    del record["namespaces"]["mnt_id"]
    (shim.state_dir / "containers/next.json").write_text(json.dumps(record))
    record.update(container_id="before", pid=(1 << 22) + 1)
    (shim.state_dir / "containers/before.json").write_text(json.dumps(record))
    assert "cleared record of before" in shim.run("gc").stdout
    assert running(shim) == ["next"]


THREADS = """
import ctypes, os, sys, threading
threading.Thread(target=sys.stdin.read).start()
print("ready", os.getpid(), flush=True)
ctypes.CDLL(None).syscall(ctypes.c_long({exit}), 0)
"""
EXIT = {"x86_64": 60, "aarch64": 93}.get(os.uname().machine)


@pytest.mark.skipif(EXIT is None, reason="needs the number of exit(2)")
def test_a_process_whose_main_thread_has_ended_runs(start: Starter, shim: Shim, open_tmp: Path) -> None:
    command = [PYTHON, "-c", THREADS.format(exit=EXIT)]
    container = start("--rm", *volume(open_tmp), command=command)
    assert container.line().startswith("ready")
    pid = container.record["pid"]
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "the thread's end")
    assert running(shim) == ["c1"]
    kill_supervisor(container)
    stays([], shim, container)
    container.process.stdin.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the process")
    assert "cleared record of c1" in shim.run("gc").stdout


def forge(shim: Shim, **fields: Any) -> None:
    path = shim.state_dir / "containers/c1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


ENDED = {"pid": (1 << 22) + 1, "supervisor": {"pid": (1 << 22) + 2, "start_time": 1}, "namespaces": {}, "cgroups": {}}


def test_a_sandbox_whose_lock_its_supervisor_holds_stays_whatever_proc_says(
    start: Starter, shim: Shim, open_tmp: Path
) -> None:
    """A record by which all has ended: the lock alone tells gc that the supervisor is there."""
    container = start("--rm", *volume(open_tmp))
    record = container.record
    container.do("os.chdir('/')")
    forge(shim, **ENDED)
    done = shim.run("gc")
    assert (done.returncode, done.stdout) == (1, "")
    assert "its lock is held" in done.stderr
    assert Path(record["sandbox"]).is_dir()
    kill_supervisor(container)
    assert alive(record["pid"])  # which has no part in the lock
    assert f"cleared sandbox {record['sandbox']}" in shim.run("gc").stdout


def test_a_sandbox_in_which_somebody_works_stays(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start("--rm", *volume(open_tmp))
    record = container.record
    forge(shim, **ENDED)
    kill_supervisor(container)
    done = shim.run("gc")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"pid {record['pid']} has its working directory in it" in done.stderr
    assert Path(record["sandbox"]).is_dir()
    forge(shim, **record)


def test_the_command_has_no_part_in_the_lock(start: Starter) -> None:
    """The descriptor leads to the host's view: `..` of it is outside of the container's."""
    container = start("--rm")
    held = container.do("answer = sorted(os.listdir('/proc/self/fd'))")
    assert held == "['0', '1', '2', '3']"  # the last one is listdir's
    assert (
        "FLOCK  ADVISORY  READ"
        in Path(f"/proc/{container.process.pid}/fdinfo")
        .joinpath(
            next(
                name
                for name in os.listdir(f"/proc/{container.process.pid}/fd")
                if os.path.samefile(f"/proc/{container.process.pid}/fd/{name}", container.record["sandbox"])
            )
        )
        .read_text()
    )


@pytest.mark.skipif(not Path("/usr/bin/systemd-tmpfiles").exists(), reason="needs systemd-tmpfiles")
def test_nothing_ages_in_the_sandbox_of_a_running_job(start: Starter, shim: Shim, open_tmp: Path) -> None:
    sandbox = open_tmp / "aged/sandbox"
    sandbox.mkdir(parents=True)
    (open_tmp / "aged/other").mkdir()
    old = [directory / "old" for directory in (sandbox, open_tmp / "aged/other")]
    for path in old:
        path.write_text("")
        os.utime(path, (1, 1))
    container = start("--supervise", "--sandbox", sandbox)
    configuration = open_tmp / "aged.conf"
    configuration.write_text(f"e {open_tmp}/aged - - - m:1s\n")
    subprocess.run(["systemd-tmpfiles", "--clean", configuration], check=True, timeout=SECONDS)
    assert [path.exists() for path in old] == [True, False]
    container.end()
    subprocess.run(["systemd-tmpfiles", "--clean", configuration], check=True, timeout=SECONDS)
    assert not old[0].exists()


def test_a_sandbox_that_cannot_be_locked_is_never_gcs(shim: Shim, sandbox: Path) -> None:
    """Another program holds it alone: said, and the record names no sandbox that gc could remove."""
    command = ["flock", "--exclusive", "--close", sandbox, shim.program, "run", "--rm", "--sandbox", sandbox]
    command += ["--container-id", "c1", "--", "cat", shim.state_dir / "containers/c1.json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 0
    assert f"the sandbox '{sandbox}' is not locked" in done.stderr
    assert json.loads(done.stdout)["remove"] is None


@pytest.mark.parametrize("options", [[], ["--container-id", "c1"]])
def test_a_record_that_no_reader_would_take_is_not_written(shim: Shim, open_tmp: Path, options: list[str]) -> None:
    directory = os.fsencode(open_tmp) + b"/\xff"
    os.mkdir(directory)
    words = [str(shim.program), "run", *options, "--", "/bin/echo", "ran"]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "no record in" in done.stderr
    assert "is no UTF-8" in done.stderr
    assert list((shim.state_dir / "containers").iterdir()) == []


def test_a_character_above_the_first_plane_is_one(shim: Shim, open_tmp: Path) -> None:
    """It is written as a pair of the same escapes."""
    (open_tmp / "\N{PILE OF POO}").mkdir()
    path = shim.state_dir / "containers/c1.json"
    done = shim.run("run", "--container-id", "c1", "--", "cat", path, cwd=open_tmp / "\N{PILE OF POO}")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["sandbox"] == f"{open_tmp}/\N{PILE OF POO}"


def test_a_record_of_an_earlier_release_that_no_reader_takes_stays_while_its_process_runs(
    start: Starter, shim: Shim
) -> None:
    container = start()
    record = container.record
    path = shim.state_dir / "containers/c1.json"
    path.write_text(json.dumps({**record, "sandbox": f"{record['sandbox']}/\udcff"}))
    done = shim.run("gc")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"pid {record['pid']} still runs" in done.stderr
    done = shim.run("run", "--container-id", "c1", "--sandbox", shim.prefix, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert "has a record that cannot be read" in done.stderr
    assert path.exists()


def test_a_supervisor_that_is_not_told_whose_its_children_are_keeps_the_sandbox(shim: Shim, sandbox: Path) -> None:
    """No record could be kept, and the command has left a daemon that the supervisor has adopted."""
    shim.configure(state_dir="/nowhere/at/all")
    script = "sleep 60 >/dev/null 2>&1 & echo $! $PWD"
    done = shim.run("run", "--rm", "--", "sh", "-c", script, cwd=sandbox)
    pid, place = done.stdout.split()
    try:
        assert done.returncode == 0
        assert "remove it by hand when they have ended" in done.stderr
        assert Path(place).is_dir()
    finally:
        os.kill(int(pid), signal.SIGKILL)
        Path(place).rmdir()


def test_no_group_goes_where_its_maker_may_be_hidden(shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    from mesos_shim.commands import gc, sweep
    from mesos_shim.containers.sight import Sight

    monkeypatch.setattr(gc, "current_sight", lambda: Sight(None, None, None, "hidden"))
    monkeypatch.setattr(gc, "_cgroup_mounts", lambda: sys.exit("looked for groups"))
    gc._groups(sweep.Sweep(dry=False))


@fuse.needs_fuse
def test_gc_asks_no_fuse_mount_on_the_way_to_a_sandbox(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """Its owner has mounted it over a directory of theirs since; it never answers."""
    sandbox = open_tmp / "home/sandbox"
    sandbox.mkdir(parents=True)
    container = start("--rm", "--sandbox", sandbox)
    pid = container.record["pid"]
    kill_supervisor(container)
    end(pid)
    command = [*fuse.over(open_tmp / "home"), str(shim.program), "gc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"sandbox {sandbox}: a FUSE mount, which may never answer" in done.stderr
    assert f"cleared sandbox {sandbox}" in shim.run("gc").stdout


def test_gc_before_an_agents_start_keeps_sandboxes(start: Starter, shim: Shim, open_tmp: Path) -> None:
    """An agent does not wait for as long as somebody's tree takes; the timer's gc finds it by its record."""
    container = start("--rm", *volume(open_tmp))
    start(name="c2").end()
    record = container.record
    kill_supervisor(container)
    end(record["pid"])
    done = shim.run("gc", "--keep-sandboxes")
    assert "record of c1" not in done.stdout
    assert "cleared record of c2" in done.stdout
    assert (done.returncode, Path(record["sandbox"]).is_dir(), container.record) == (0, True, record)
    assert f"cleared sandbox {record['sandbox']}" in shim.run("gc").stdout
