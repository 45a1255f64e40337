"""The parent that stays: signals, status, descriptors, --rm, --status-fd."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from ..lib.cgroups import WHY
from ..lib.containers import Starter, alive, children_of, running
from ..lib.shim import NOBODY, PYTHON, Shim, needs_root
from ..lib.waiting import SECONDS, wait_until

SIGNALS = [
    number
    for number in signal.valid_signals()
    if number < 32
    and number
    not in {
        *(signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP),
        *(signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS),
    }
]


def test_every_signal_is_forwarded(start: Starter) -> None:
    container = start("--supervise")
    for number in SIGNALS:
        container.do(f"signal.signal({int(number)}, lambda n, f: print('got', n, flush=True))")
    for number in SIGNALS:
        os.kill(container.process.pid, number)
        assert container.line() == f"got {int(number)}"


def test_the_command_has_the_callers_mask_and_dispositions(shim: Shim, sandbox: Path) -> None:
    """As the supervisor blocks signals for itself, the command must get them back as they were."""
    command = ["/bin/grep", "-E", "^(SigBlk|SigIgn)", "/proc/self/status"]
    wrapped = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR2]); "
    wrapped += "signal.signal(signal.SIGUSR1, signal.SIG_IGN); "
    wrapped += "[signal.signal(s, signal.SIG_DFL) for s in (signal.SIGPIPE, signal.SIGXFSZ)]; "
    wrapped += "os.execv(sys.argv[1], sys.argv[1:])"
    options = command, [shim.program, "run", "--supervise", "--", *command]
    bare, supervised = (
        subprocess.run(
            [PYTHON, "-c", wrapped, *map(str, words)], cwd=sandbox, capture_output=True, text=True, check=True
        )
        for words in options
    )
    assert supervised.stdout == bare.stdout
    assert "0000000000000800" in bare.stdout  # SIGUSR2


@pytest.mark.parametrize(("script", "status"), [("exit 42", 42), ("kill -TERM $$", 143), ("exec /does/not/exist", 127)])
def test_the_status_is_the_commands(shim: Shim, sandbox: Path, script: str, status: int) -> None:
    assert shim.run("run", "--supervise", "--", "sh", "-c", script, cwd=sandbox).returncode == status


@pytest.mark.parametrize(("command", "status"), [("/does/not/exist", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_start(shim: Shim, sandbox: Path, command: str, status: int) -> None:
    done = shim.run("run", "--supervise", "--", command, cwd=sandbox)
    assert done.returncode == status
    assert done.stderr.count("\n") == 1


def status_lines(shim: Shim, sandbox: Path, *words: object) -> list[dict[str, object]]:
    reading, writing = os.pipe()
    shim.run("run", "--status-fd", writing, *words, cwd=sandbox, pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading) as lines:
        return [json.loads(line) for line in lines]


def test_status_lines_tell_start_and_exit_with_rusage(shim: Shim, sandbox: Path) -> None:
    """Burnt in a child of the command and in itself: both are the container's."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    script = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n{burn}\nx = bytearray(50 << 20)"
    )
    start, end = status_lines(shim, sandbox, "--container-id", "c1", "--", PYTHON, "-c", script)
    assert (start["event"], start["container_id"]) == ("start", "c1")
    assert isinstance(start["pid"], int)
    assert (end["event"], end["container_id"], end["exit_code"]) == ("exit", "c1", 0)
    used = end["rusage"]
    assert 0.6 <= used["user_time_secs"] + used["system_time_secs"] < 3
    assert 50 << 20 <= used["max_rss_bytes"] < 150 << 20
    assert "signal" not in end


def test_a_launch_that_fails_has_no_status_lines(shim: Shim, sandbox: Path) -> None:
    assert status_lines(shim, sandbox, "--", "/does/not/exist") == []


def test_a_reader_that_has_gone_does_not_end_the_command(shim: Shim, sandbox: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = shim.run("run", "--status-fd", writing, "--", "echo", "ran", cwd=sandbox, pass_fds=[writing])
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr.count("\n") == 1
    assert f"--status-fd {writing}: Broken pipe" in done.stderr


def test_the_status_descriptor_is_not_the_commands(shim: Shim, sandbox: Path) -> None:
    reading, writing = os.pipe()
    done = shim.run("run", "--status-fd", writing, "--", "ls", "/proc/self/fd", cwd=sandbox, pass_fds=[writing])
    os.close(reading)
    os.close(writing)
    assert done.stdout.split() == ["0", "1", "2", "3"]  # 3 is ls's own


def test_the_parent_keeps_no_descriptor(start: Starter, shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """One of the command's pipes would never end, one of a volume's would keep the host's file system busy."""
    (open_tmp / "target").mkdir()
    (open_tmp / "source").mkdir()
    reading, writing = os.pipe()
    container = start(
        *("--supervise", "--keep-fd", writing, "--volume", f"{open_tmp}/source:{open_tmp}/target"), pass_fds=[writing]
    )
    os.close(writing)
    directory = f"/proc/{container.process.pid}/fd"
    held = {os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)}
    # Where its record is to be removed from, which the first launch had to make; and the sandbox, for its lock.
    places = {str(shim.prefix), str(shim.state_dir), str(shim.state_dir / "containers"), str(sandbox)}
    assert {path for path in held if not path.startswith("pipe:")} <= places
    container.do(f"os.close({writing})")
    ready, _, _ = select.select([reading], [], [], SECONDS)
    assert ready and os.read(reading, 1) == b""
    os.close(reading)


@needs_root
@pytest.mark.parametrize("isolation", ["filesystem/shared", "namespaces/pid"])
def test_the_parent_leaves_the_sandbox(start: Starter, sandbox: Path, isolation: str) -> None:
    """The supervisor and a pid namespace's init: a core of theirs, with root's memory, would lie where they stand."""
    container = start("--supervise", "--isolation", isolation)
    stay = [container.process.pid]
    if isolation == "namespaces/pid":
        stay += children_of(container.process.pid)
        assert len(stay) == 2
    for pid in stay:
        wait_until(lambda pid=pid: os.readlink(f"/proc/{pid}/cwd") == "/", f"{pid} stands in /")
    assert container.do("answer = os.getcwd()") == str(sandbox)


def test_the_parent_sleeps(start: Starter) -> None:
    """No polling: it takes no CPU while it waits. In clock ticks, by the kernel's count."""
    container = start("--supervise")
    stat = Path(f"/proc/{container.process.pid}/stat")
    switches = Path(f"/proc/{container.process.pid}/status")

    def count() -> list[str]:
        return [line for line in switches.read_text().splitlines() if line.startswith(("voluntary", "nonvoluntary"))]

    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "a parent that sleeps")
    before = count()
    container.do("burn(0.2)")
    assert count() == before


def test_the_record_goes_with_the_container(start: Starter, shim: Shim) -> None:
    container = start("--supervise")
    assert running(shim) == ["c1"]
    assert container.record["supervisor"]["pid"] == container.process.pid
    assert container.end() == 0
    assert list((shim.state_dir / "containers").iterdir()) == []


def test_a_stopped_job_stops_and_goes_on(start: Starter) -> None:
    """As a shell sees it: ^Z must stop what it waits for, not only the command."""
    # A group of its own, as a shell gives each job: in one without a parent in the session the signal is dropped.
    container = start("--supervise", preexec_fn=os.setpgrp)
    parent, command = container.process.pid, container.record["pid"]

    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    os.kill(parent, signal.SIGTSTP)
    wait_until(lambda: (state(parent), state(command)) == ("T", "T"), "a stopped job")
    os.kill(parent, signal.SIGCONT)
    wait_until(lambda: "T" not in (state(parent), state(command)), "a job that goes on")
    assert container.do("answer = 1 + 1") == "2"


def test_an_interrupt_at_the_terminal_arrives_once(shim: Shim, sandbox: Path) -> None:
    """The terminal sends it to the whole group: forwarded besides, it would count twice."""
    script = "import signal, sys, time\nsignal.signal(2, lambda n, f: print('got', flush=True))\n"
    script += "print('ready', flush=True)\nsys.stdin.readline()\nprint('end', flush=True)"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(sandbox)
        os.execv(shim.program, ["mesos-shim", "run", "--supervise", "--", PYTHON, "-c", script])
    said = b""

    def read_until(word: bytes) -> None:
        nonlocal said
        deadline = time.monotonic() + SECONDS
        while word not in said:
            assert time.monotonic() < deadline, said
            ready, _, _ = select.select([terminal], [], [], 1)
            if ready:
                said += os.read(terminal, 4096)

    read_until(b"ready")
    os.write(terminal, b"\x03")
    read_until(b"got")
    os.write(terminal, b"\n")
    read_until(b"end")
    assert said.count(b"got") == 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def test_what_the_terminal_has_sent_is_not_forwarded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of a kind that are pending at once are one, so the test above can miss it."""
    from mesos_shim.launch import supervisor, wait

    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(supervisor.posix, "kill", lambda *what: sent.append(what))
    groups = {10: os.getpgrp(), 20: os.getpgrp() + 1}
    monkeypatch.setattr(supervisor.posix, "getpgid", groups.__getitem__)
    wait._forward(10, signal.SIGINT, from_kernel=True, stop_too=True)
    assert sent == []
    wait._forward(10, signal.SIGINT, from_kernel=False, stop_too=True)  # kill(1)
    wait._forward(20, signal.SIGINT, from_kernel=True, stop_too=True)  # a group of its own has not had it
    wait._forward(10, signal.SIGALRM, from_kernel=True, stop_too=True)  # a timer's
    assert sent == [(10, signal.SIGINT), (20, signal.SIGINT), (10, signal.SIGALRM)]


@needs_root
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_rm_makes_a_sandbox_and_removes_it(shim: Shim, sandbox: Path, user: str) -> None:
    script = "pwd; stat -c '%a %U' .; mkdir -p a/b; touch a/b/c; mkfifo f; ln -s /etc l; mkdir -m 0 shut"
    done = shim.run("run", "--rm", "--user", user, "--", "sh", "-c", script, cwd=sandbox)
    path, rights = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert path.startswith("/var/tmp/mesos-shim-")
    assert rights == f"700 {user}"
    assert not Path(path).exists()
    assert Path("/etc/passwd").exists()


def fresh_sandboxes() -> set[Path]:
    """What `--rm` has made in its usual place."""
    return {path for path in Path("/var/tmp").iterdir() if re.fullmatch("mesos-shim-[0-9a-f]{16}", path.name)}


def explained(shim: Shim, cwd: Path, *options: str, **who: int) -> dict[str, Any]:
    """The plan, as JSON."""
    done = shim.run("explain", "--json", *options, "--", "pwd", cwd=cwd, **who)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@needs_root
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_explain_plans_on_the_sandbox_that_rm_would_make(shim: Shim, sandbox: Path, user: str) -> None:
    """Not on where the caller stands: '/' is none for a task, and a volume on it would be refused."""
    found = explained(shim, Path("/"), "--rm", "--user", user, "--volume", f"x:{sandbox}", "--volume", "y:/var/tmp")
    steps = found["steps"]
    assert found["sandbox"].startswith("/var/tmp/mesos-shim-X")
    owner = {"uid": 0, "gid": 0} if user == "root" else {"uid": NOBODY, "gid": NOBODY}
    assert steps[0] == {"action": "create", "target": found["sandbox"], "mode": "0700", **owner}
    assert steps[1] == {"action": "supervise", "for": ["--rm"]}
    assert (f"{found['sandbox']}/x", str(sandbox)) in [(step.get("source"), step.get("target")) for step in steps]
    assert [step["source"] for step in steps if step["action"] == "keep"] == [found["sandbox"]]
    assert steps[-2] == {"action": "exec", "target": found["sandbox"], "command": ["pwd"]}
    assert steps[-1] == {"action": "remove", "target": found["sandbox"]}
    assert not Path(found["sandbox"]).exists()
    assert list(sandbox.iterdir()) == []
    # The launch's own way is the same one, but for the name.
    done = shim.run(
        "run", "--rm", "--user", user, "--volume", f"x:{sandbox}", "--volume", "y:/var/tmp", "--", "pwd", cwd="/"
    )
    assert (done.returncode, len(done.stdout.strip())) == (0, len(found["sandbox"])), done.stderr


def test_explain_shows_what_a_parent_stays_for(shim: Shim, sandbox: Path) -> None:
    steps = explained(shim, sandbox, "--supervise", "--status-fd", "1")["steps"]
    assert steps[0] == {"action": "supervise", "for": ["--supervise", "--status-fd"]}
    assert steps[-1]["action"] == "exec"
    steps = explained(shim, sandbox, "--rm", "--sandbox", str(sandbox))["steps"]
    assert [step["action"] for step in steps if step["action"] in ("create", "supervise")] == ["supervise"]
    assert steps[-1] == {"action": "remove", "target": str(sandbox)}
    assert "supervise" not in {step["action"] for step in explained(shim, sandbox)["steps"]}
    text = shim.run("explain", "--supervise", "--", "true", cwd=sandbox).stdout
    assert text.splitlines()[0] == "supervise    for=--supervise"


@needs_root
@pytest.mark.parametrize("command", ["run", "explain"])
def test_no_place_for_a_fresh_sandbox(shim: Shim, command: str) -> None:
    view = f"""
        mount --bind {shim.prefix} /mnt && mount -t tmpfs t /var/tmp
        mkdir {shim.prefix} && mount --bind /mnt {shim.prefix} && mount -o remount,ro /var/tmp
        mount -t tmpfs -o ro t /tmp && cd / && exec {shim.program} {command} --rm -- true
    """
    words = ["unshare", "-m", "sh", "-euc", view]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 125
    said = "mesos-shim: --rm: no sandbox can be made in /var/tmp or /tmp: Read-only file system; give --sandbox DIR\n"
    assert done.stderr == said


def test_rm_removes_the_sandbox_that_was_named(shim: Shim, sandbox: Path) -> None:
    (sandbox / "file").touch()
    assert shim.run("run", "--rm", "--sandbox", sandbox, "--", "touch", "x").returncode == 0
    assert not sandbox.exists()
    assert sandbox.parent.exists()


def test_rm_removes_what_it_made_where_the_launch_is_refused(shim: Shim, sandbox: Path) -> None:
    before = fresh_sandboxes()
    done = shim.run("run", "--rm", "--volume", "/does/not/exist:/opt", "--", "true", cwd=sandbox)
    assert done.returncode == 125
    assert fresh_sandboxes() <= before


@needs_root
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_rm_leaves_no_sandbox_that_could_not_be_given_away(shim: Shim, sandbox: Path) -> None:
    def made() -> set[Path]:
        return {path for place in ("/var/tmp", "/tmp") for path in Path(place).glob("mesos-shim-" + "[0-9a-f]" * 16)}

    before = made()
    inject = ["strace", "-qqq", "-o", os.devnull, "-e", "trace=fchown", "-e", "inject=fchown:error=EIO"]
    words = [*inject, str(shim.program), "run", "--rm", "--user", "nobody", "--", "/bin/echo", "started"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (125, "")
    assert "no sandbox can be made in /var/tmp or /tmp: Input/output error" in done.stderr
    assert made() == before


def test_rm_leaves_another_directory_of_that_name_alone(shim: Shim, sandbox: Path) -> None:
    script = f"mv {sandbox} {sandbox}.old && mkdir {sandbox} && touch {sandbox}/precious"
    done = shim.run("run", "--rm", "--sandbox", sandbox, "--", "sh", "-c", script)
    assert "is another directory by now" in done.stderr
    assert (sandbox / "precious").exists()


@needs_root
def test_a_killed_supervisor_of_a_rm_leaves_its_sandbox_to_gc(start: Starter, shim: Shim, sandbox: Path) -> None:
    container = start("--rm", cwd=sandbox)
    path = Path(container.record["sandbox"])
    pid = container.record["pid"]
    container.process.kill()
    container.process.wait(SECONDS)
    shim.run("gc")
    assert path.exists()  # it runs
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of the container")
    done = shim.run("gc")
    assert done.stdout.splitlines() == [f"cleared sandbox {path}", "cleared record of c1"]
    assert not path.exists()


@needs_root
def test_the_legacy_protocol_gets_a_parent_that_ends_as_the_command(shim: Shim, open_tmp: Path) -> None:
    """0.21's agent reads the helper's own end: with a parent in between it must be the same, by signal too."""
    shim.configure(isolation=["namespaces/pid"])
    sandbox = open_tmp / "work/slaves/S/frameworks/F/executors/E/runs/r1"
    sandbox.mkdir(parents=True)
    for script, expected in (("exit 5", 5), ("kill -9 $$", -9), ("kill -TERM $$", -15), ("echo $$ > pid", 0)):
        reading, writing = os.pipe()
        os.write(writing, b"\0")
        words = [shim.helper, "launch", f"--command={json.dumps({'value': script})}", f"--directory={sandbox}"]
        words += ["--user=root", f"--pipe_read={reading}", f"--pipe_write={writing}"]
        done = subprocess.run(list(map(str, words)), pass_fds=[reading, writing], check=False, timeout=SECONDS)
        os.close(reading)
        os.close(writing)
        assert done.returncode == expected, script
    assert (sandbox / "pid").read_text() == "2\n"


@needs_root
def test_a_supervisor_is_small(start: Starter) -> None:
    """It stays as long as the command: what it holds beyond the interpreter's own is bounded."""
    container = start("--supervise")

    def private(pid: int) -> int:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(("Private_Dirty", "Swap:")))

    program = "print(flush=True); input()"
    bare = subprocess.Popen([PYTHON, "-ISB", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    bare.stdout.readline()
    try:
        assert private(container.process.pid) < private(bare.pid) + 3000  # kB
    finally:
        bare.communicate()


IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


@needs_root
@pytest.mark.parametrize("options", [[], ["--isolation", "filesystem/shared,namespaces/pid"]])
def test_a_caller_that_ignores_its_childrens_ends(shim: Shim, sandbox: Path, options: list[str]) -> None:
    """Cron jobs and old daemons do. The kernel tells them of no child's end, and so it would tell the supervisor."""
    script = "import re, sys; print(re.search('SigIgn:(.*)', open('/proc/self/status').read())[1]); sys.exit(3)"
    words = [shim.program, "run", "--supervise", *options, "--", PYTHON, "-c", script]
    done = subprocess.run(
        [PYTHON, "-c", IGNORING, *map(str, words)],
        cwd=sandbox,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 3, done
    assert int(done.stdout, 16) >> (signal.SIGCHLD - 1) & 1  # the command has it as the caller gave it


def test_real_time_signals_are_forwarded(start: Starter) -> None:
    """Their default is to end who gets them: the supervisor, and the command would have nobody."""
    container = start("--supervise")
    for number in (signal.SIGRTMIN, signal.SIGRTMAX):
        container.do(f"signal.signal({int(number)}, lambda n, f: print('got', n, flush=True))")
    for number in (signal.SIGRTMIN, signal.SIGRTMAX):
        os.kill(container.process.pid, number)
        assert container.line() == f"got {int(number)}"


DAEMON = "setsid sleep 60 >/dev/null 2>&1 & echo $!"


@needs_root
@pytest.mark.parametrize("isolation", ["filesystem/shared", "filesystem/shared,cgroups/cpu"])
def test_what_a_daemon_still_needs_stays_for_gc(shim: Shim, sandbox: Path, isolation: str) -> None:
    """The command has ended, the container has not: its record is the only way to find what is left of it."""
    if "cgroups" in isolation and WHY is not None:
        pytest.skip(WHY)
    done = shim.run("run", "--rm", "--container-id", "c1", "--isolation", isolation, "--", "sh", "-c", f"pwd; {DAEMON}")
    path, pid = Path(done.stdout.split()[0]), int(done.stdout.split()[1])
    try:
        assert done.returncode == 0
        assert "processes of c1 still run" in done.stderr
        assert path.exists()
        assert running(shim) == ["c1"]
        assert "record" not in shim.run("gc").stdout
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of the daemon")
    said = shim.run("gc").stdout
    assert f"cleared sandbox {path}\ncleared record of c1\n" in said
    assert not path.exists()


@needs_root
def test_a_child_from_before_the_launch_is_not_the_containers(shim: Shim, sandbox: Path) -> None:
    """Whoever becomes mesos-shim by exec keeps his children."""
    script = f"sleep 60 >/dev/null 2>&1 & echo $!; sleep 0.1; exec {shim.program} run --supervise -- true"
    done = subprocess.run(
        ["sh", "-c", script], cwd=sandbox, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    os.kill(int(done.stdout), signal.SIGKILL)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((shim.state_dir / "containers").iterdir()) == []


WITHOUT_THE_RIGHT = ("setpriv", "--bounding-set=-sys_admin")


def without_the_right(
    shim: Shim, sandbox: Path, *words: object, **keywords: object
) -> subprocess.CompletedProcess[str]:
    command = [*WITHOUT_THE_RIGHT, shim.program, *words]
    return subprocess.run(
        list(map(str, command)), cwd=sandbox, capture_output=True, text=True, check=False, timeout=SECONDS, **keywords
    )


@needs_root
@pytest.mark.parametrize("options", [["--volume", "t:/opt"], ["--isolation", "namespaces/pid"]])
def test_explain_tries_what_only_the_kernel_can_tell(shim: Shim, sandbox: Path, options: list[str]) -> None:
    done = without_the_right(shim, sandbox, "explain", *options, "--", "true")
    assert (done.returncode, done.stdout) == (125, "")
    assert "namespace: Operation not permitted" in done.stderr
    done = without_the_right(
        shim, sandbox, "explain", "--json", "--on-unenforceable", "usage-only", *options, "--", "true"
    )
    made = json.loads(done.stdout)
    stays = ["supervise"] if "--isolation" in options else []  # that is decided before
    assert (made["mode"], [step["action"] for step in made["steps"]]) == ("usage-only", [*stays, "record", "exec"])
    made = json.loads(without_the_right(shim, sandbox, "explain", "--json", "--", "true").stdout)
    assert (made["mode"], [step["action"] for step in made["steps"]]) == ("enforced", ["record", "exec"])
    assert "unshare" in shim.run("explain", "--", "true", cwd=sandbox).stdout


@needs_root
def test_the_start_line_tells_the_mode_that_it_came_to(shim: Shim, sandbox: Path) -> None:
    (start, _) = status_lines(shim, sandbox, "--volume", "t:/opt", "--", "true")
    assert (start["mode"], start["isolation"][0]) == ("enforced", "filesystem/shared")
    reading, writing = os.pipe()
    options = ["--on-unenforceable", "usage-only", "--volume", "t:/opt", "--status-fd", writing]
    done = without_the_right(shim, sandbox, "run", *options, "--", "true", pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading) as lines:
        start = json.loads(lines.readline())
    assert done.returncode == 0
    assert (start["mode"], "filesystem/shared" in start["isolation"]) == ("usage-only", False)


def test_a_reader_that_does_not_read_does_not_stop_the_supervisor(shim: Shim, sandbox: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    done = shim.run(
        "run", "--status-fd", writing, "--", "echo", "ran", cwd=sandbox, pass_fds=[writing], timeout=SECONDS
    )
    os.close(reading)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"--status-fd {writing}: its reader does not read" in done.stderr
