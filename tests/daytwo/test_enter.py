"""enter: into all of a container's namespaces, its groups, its sandbox, as its user; never into another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mesos_shim.commands import enter as module
from mesos_shim.containers import namespaces
from mesos_shim.errors import ShimError
from mesos_shim.spec import config
from mesos_shim.system import proc

from ..lib.cgroups import needs_cgroups
from ..lib.containers import Starter, alive, any_volume, children_of, forge, running
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root

# Not nobody: that is also what a namespace shows for ids which it does not know.
DAEMON = 1

ALL = "filesystem/shared,namespaces/pid,namespaces/ipc"
KINDS = ("user", "mnt", "pid", "ipc", "net", "uts", "cgroup")


def enter(shim: Shim, *words: object, name: str = "c1", **keywords: Any) -> str:
    """What a command prints inside."""
    done = shim.run("enter", name, "--", *words, **keywords)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.rstrip("\n")


def test_into_every_namespace(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start("--isolation", ALL, *any_volume(open_tmp))
    paths = " ".join(f"/proc/self/ns/{kind}" for kind in KINDS)
    inside = container.do(f"answer = ' '.join(os.readlink(p) for p in '{paths}'.split())").split()
    assert enter(shim, "sh", "-c", f"for p in {paths}; do readlink $p; done").split() == inside


def test_into_the_view_and_the_sandbox(start: Starter, shim: Shim, open_tmp: Path, sandbox: Path) -> None:
    container = start(*any_volume(open_tmp))
    container.do(f"open('{open_tmp}/target/x', 'w').close()")
    assert enter(shim, "ls", f"{open_tmp}/target") == "x"
    assert enter(shim, "pwd") == str(sandbox)
    assert os.listdir(open_tmp / "target") == []


def test_as_its_user(start: Starter, shim: Shim, sandbox: Path) -> None:
    os.chown(sandbox, NOBODY, NOBODY)
    start("--user", "nobody", "--volume", "t:/opt")
    text = enter(shim, "cat", "/proc/self/status")
    fields = {line.split(":")[0]: line.split()[1:] for line in text.splitlines() if ":" in line}
    assert fields["Uid"] == fields["Gid"] == [str(NOBODY)] * 4
    assert fields["Groups"] == [str(NOBODY)]
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert fields[name] == ["0000000000000000"]


def test_without_new_privileges_where_the_launch_had_none(start: Starter, shim: Shim, sandbox: Path) -> None:
    """Else a covered /etc would feed a set-uid program its own rules, by way of enter."""
    os.chown(sandbox, NOBODY, NOBODY)
    container = start("--user", "nobody", "--volume", "t:/opt")
    assert container.record["no_new_privs"] is True
    assert "NoNewPrivs:\t1" in enter(shim, "cat", "/proc/self/status")
    start("--isolation", "posix/cpu", name="c2")
    assert "NoNewPrivs:\t0" in enter(shim, "cat", "/proc/self/status", name="c2")


def test_into_a_user_namespace_of_an_ordinary_user(shim: Shim, start: Starter, sandbox: Path, open_tmp: Path) -> None:
    """Root joins it as the user who made it, without root's groups; the user himself can too; others cannot."""
    shim.state_dir.mkdir()
    for path in (shim.state_dir, sandbox):
        os.chown(path, DAEMON, DAEMON)
    who: dict[str, Any] = {"user": DAEMON, "group": DAEMON, "extra_groups": []}
    container = start("--isolation", ALL, "--volume", "t:/opt", **who)
    container.do("open('/opt/x', 'w').close()")
    shim.state_dir.chmod(0o755)
    script = "ls /opt; id -u; id -G; cat /proc/1/comm"
    own = enter(shim, "sh", "-c", script, **who).split()
    assert own[:3] == ["x", str(DAEMON), str(DAEMON)]
    # Root reads that user's records only if it is told to trust them.
    record = shim.state_dir / "containers/c1.json"
    for path in (shim.state_dir, shim.state_dir / "containers", record):
        os.chown(path, 0, 0)
    assert enter(shim, "sh", "-c", script).split() == own
    done = shim.run("enter", "c1", "--", "id", user=NOBODY, group=NOBODY, extra_groups=[])
    assert done.returncode == 125
    assert "Permission denied" in done.stderr or "only root or that user" in done.stderr
    for path in (shim.state_dir, shim.state_dir / "containers", record):
        os.chown(path, DAEMON, DAEMON)


@needs_cgroups
def test_into_its_groups(start: Starter, shim: Shim) -> None:
    container = start("--isolation", "cgroups/cpu,cgroups/mem")
    text = enter(shim, "cat", "/proc/self/cgroup")
    for directory in set(container.record["cgroups"].values()):
        assert directory.rpartition("/mesos-shim/")[2] in text


def test_what_is_run_inside_counts_as_the_containers(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start(*any_volume(open_tmp))
    words = [str(shim.program), "enter", "c1", "--", "cat"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as inside:
        wait_until(lambda: container.used["statistics"]["processes"] == 2, "the second process")
        inside.stdin.close()


@pytest.mark.parametrize("isolation", ["posix/cpu", ALL])
def test_it_ends_as_the_command_ends(start: Starter, shim: Shim, isolation: str) -> None:
    start("--isolation", isolation)
    assert shim.run("enter", "c1", "--", "sh", "-c", "exit 7").returncode == 7
    assert shim.run("enter", "c1", "--", "sh", "-c", "kill -9 $$").returncode in (-9, 137)
    done = shim.run("enter", "c1", "--", "/does/not/exist")
    assert (done.returncode, done.stderr) == (127, "mesos-shim: command '/does/not/exist': not found\n")


def test_signals_reach_the_command_in_a_pid_namespace(start: Starter, shim: Shim) -> None:
    start("--isolation", ALL)
    # Blocked before it says ready and waited for: it is seen whenever it comes, and once is enough.
    script = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); print('ready', flush=True);"
        "signal.sigwait({signal.SIGTERM}); print('got')"
    )
    words = [str(shim.program), "enter", "c1", "--", PYTHON, "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as inside:
        assert inside.stdout.readline() == "ready\n"
        inside.send_signal(signal.SIGTERM)
        assert inside.stdout.readline() == "got\n"
    assert inside.returncode == 0


def test_no_descriptor_of_the_callers_comes_along(start: Starter, shim: Shim, open_tmp: Path) -> None:
    start("--isolation", ALL)
    fd = os.open(open_tmp, os.O_RDONLY)
    assert enter(shim, "ls", "/proc/self/fd", pass_fds=[fd]).split() == ["0", "1", "2", "3"]
    os.close(fd)


def test_a_container_of_which_only_a_daemon_is_left(start: Starter, shim: Shim, open_tmp: Path) -> None:
    container = start(*any_volume(open_tmp))
    container.do(f"open('{open_tmp}/target/x', 'w').close()")
    container.do("left = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3, start_new_session=True)")
    left = int(container.do("answer = left.pid"))
    container.end()
    assert enter(shim, "ls", f"{open_tmp}/target") == "x"
    os.kill(left, signal.SIGKILL)


def test_a_reused_pid_is_not_entered(start: Starter, shim: Shim) -> None:
    container = start()
    forge(shim, "old", start_time=container.record["start_time"] - 1)
    done = shim.run("enter", "old", "--", "echo", "inside")
    assert (done.returncode, done.stdout) == (125, "")
    assert "container 'old' has ended; 'mesos-shim gc' removes what it left behind" in done.stderr


def opened(shim: Shim, name: str = "c1", **other: Any) -> dict[str, int]:
    """What `enter` opens of the container, whose process may be said to be an`other`."""
    entry, process = module._find(config.read(str(shim.config_path), required=True), name)
    pid, start = other.get("pid", process.pid), other.get("start", process.start)
    return namespaces.open_those_of("it", pid, start, namespaces.KINDS, entry.namespaces, entry.uid)


def test_a_pid_that_is_reused_while_it_is_opened_is_not_entered(
    start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start time is compared after the namespaces were opened: here it changes between the two."""
    container = start()
    answers = iter([container.record["start_time"], 123456789])
    monkeypatch.setattr(proc, "start_time", lambda *_: next(answers))
    with pytest.raises(ShimError, match=r"it, pid \d+, has ended"):
        opened(shim)


def test_a_container_that_ends_while_it_is_entered(start: Starter, shim: Shim, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each moment: what is asked is asked of that one process, whoever has its pid."""
    real = namespaces._open
    for kind in ("mnt", "uts", "time"):
        container = start(name=kind)

        def end_first(process: int, each: str, found: dict[str, int], of: Any = container, at: str = kind) -> None:
            if each == at:
                of.end()
            real(process, each, found)

        monkeypatch.setattr(namespaces, "_open", end_first)
        with pytest.raises(ShimError, match=r"it, pid \d+, has ended"):
            opened(shim, kind)


def test_a_pid_of_an_orphan_that_was_reused_before_it_is_opened_is_not_entered(start: Starter, shim: Shim) -> None:
    """Also of a process that the container left behind it is known when that was started."""
    container = start()
    container.do("left = subprocess.Popen(['sleep', '60'])")
    left = int(container.do("answer = left.pid"))
    with pytest.raises(ShimError, match=r"it, pid \d+, has ended"):
        opened(shim, pid=left, start=proc.start_time(left) - 1)
    container.do("left.kill(); left.wait()")


def test_a_zombie_has_nothing_to_enter(start: Starter, shim: Shim) -> None:
    container = start()
    os.kill(container.process.pid, signal.SIGKILL)
    wait_until(lambda: not alive(container.process.pid), "a zombie")
    assert running(shim) == []
    assert "has ended" in shim.run("enter", "c1", "--", "true").stderr


def test_a_sandbox_that_is_gone_is_said(start: Starter, shim: Shim, sandbox: Path) -> None:
    start()
    sandbox.rmdir()
    done = shim.run("enter", "c1", "--", "pwd")
    assert (done.returncode, done.stdout) == (0, "/\n")
    assert done.stderr == f"mesos-shim: warning: sandbox {sandbox}: No such file or directory; starting in /\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "enter: one container id"),
        (("a", "b", "--", "x"), "enter: one container id"),
        (("c1",), "enter: no command; it goes after '--'"),
        (("c1", "--"), "enter: no command"),
        (("--bogus", "--", "x"), "enter: '--bogus': unknown option"),
        (("nobody", "--", "x"), "enter: no container 'nobody' in "),
    ],
)
def test_wrong_arguments(shim: Shim, words: tuple[str, ...], why: str) -> None:
    done = shim.run("enter", *words)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"mesos-shim: {why}")


def test_options_after_the_double_dash_are_the_commands(start: Starter, shim: Shim) -> None:
    start()
    assert enter(shim, "echo", "--help", "--", "--config") == "--help -- --config"


def test_leaves_nothing_behind(start: Starter, shim: Shim) -> None:
    container = start("--isolation", ALL)
    enter(shim, "true")
    assert len(children_of(container.record["pid"])) == 1
    assert json.loads(shim.run("ps", "--json").stdout)[0]["pid"] == container.record["pid"]


def test_a_link_in_the_sandboxs_place_is_followed_by_the_user_alone(
    start: Starter, shim: Shim, sandbox: Path, open_tmp: Path
) -> None:
    private = open_tmp / "private"
    (private / "inside").mkdir(parents=True)
    private.chmod(0o700)
    home = open_tmp / "home"
    (home / "sandbox").mkdir(parents=True)
    for path in (home, home / "sandbox"):
        os.chown(path, NOBODY, NOBODY)
    start("--user", "nobody", "--sandbox", home / "sandbox", "--volume", "t:/opt")
    (home / "sandbox").rename(home / "old")
    (home / "sandbox").symlink_to(private / "inside")
    done = shim.run("enter", "c1", "--", "pwd")
    assert (done.returncode, done.stdout) == (0, "/\n")
    assert "Permission denied; starting in /" in done.stderr
