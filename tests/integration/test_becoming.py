"""The command is as it would be without us (threat 21); what a launch costs in modules, on every Python of hosts."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mesos_shim.bundle import pack

from ..lib import wire
from ..lib.containers import alive
from ..lib.launching import give, info, launch, said, volume
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, PYTHON, Shim, install, needs_root
from ..lib.waiting import wait_until

pytestmark = needs_root

# What the kernel says of a process, less what differs from one to the next.
SEEN = ("status", "limits", "oom_score_adj", "coredump_filter", "personality", "timerslack_ns", "cgroup", "loginuid")
VOLATILE = (
    "Pid",
    "PPid",
    "Tgid",
    "NSpid",
    "NSpgid",
    "NStgid",
    "Vm",
    "Rss",
    "voluntary",
    "nonvoluntary",
    "Hugetlb",
    "Mems",
)
FLAGS = ("Ngid", "SigQ")


def of_process(words: list[str], cwd: Path, before: Callable[[], None], environment: dict[str, str]) -> dict[str, str]:
    """What a process that `words` become is like: each line of its /proc files by name, descriptors, variables."""
    files = [f"/proc/self/{name}" for name in SEEN if Path(f"/proc/self/{name}").exists()]
    script = ["/usr/bin/cat", *files, "/proc/self/stat", "/proc/self/environ"]
    done = subprocess.run(
        [*words, *script], cwd=cwd, preexec_fn=before, env=environment, capture_output=True, check=True, timeout=60
    )
    found = {}
    for number, line in enumerate(done.stdout.decode().replace("\0", "\n").splitlines()):
        name = line.split(":")[0].strip()
        if not name.startswith((*VOLATILE, *FLAGS)):
            found[f"{number}"] = line
    stat = next(key for key, line in found.items() if "(cat)" in line)
    words_ = found.pop(stat).rpartition(")")[2].split()
    found["process group and session are the caller's"] = str([word == str(os.getpgrp()) for word in words_[2:3]])
    found["nice"] = words_[16]
    listing = subprocess.run(
        [*words, "/usr/bin/ls", "/proc/self/fd"],
        cwd=cwd,
        preexec_fn=before,
        env=environment,
        capture_output=True,
        check=True,
    )
    found["descriptors"] = listing.stdout.decode()
    return found


def plain() -> None:
    """A caller who changed nothing; Python's own child keeps SIGPIPE and SIGXFSZ as they were by default."""


def unusual() -> None:
    """A caller with signals blocked and ignored, a umask, limits, niceness, its own session."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMIN + 3})
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGRTMIN + 1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o137)
    os.nice(3)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 1 << 20))
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 23, 1 << 25))
    Path("/proc/self/oom_score_adj").write_text("77")


ENVIRONMENTS = {
    "empty": {},
    "C": {"LC_ALL": "C", "A": "1"},
    "no locale": {"LANG": "", "LC_CTYPE": "", "PATH": "/usr/bin"},
    "coerced": {"LC_CTYPE": "C.UTF-8", "TZ": "UTC"},
    "own": {"LC_CTYPE": "POSIX", "LANG": "de_DE.UTF-8", "LISTEN_FDS": "3", "_": "/x"},
}


@pytest.mark.parametrize("before", [plain, unusual])
@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
@pytest.mark.parametrize("volumes", [[], [volume("tmp", "/tmp")]], ids=["none", "private tmp"])
def test_transparent(
    shim: Shim, sandbox: Path, before: Callable[[], None], environment: dict[str, str], volumes: list[dict[str, object]]
) -> None:
    """Signals, mask, umask, limits, ids, niceness, descriptors, environment: as without the shim."""
    words = [str(shim.program), "run", "--container-info", info(*volumes), "--"]
    assert of_process(words, sandbox, before, environment) == of_process([], sandbox, before, environment)


def test_what_the_interpreter_hides(shim: Shim, sandbox: Path) -> None:
    """The one known difference: CPython ignores SIGPIPE and SIGXFSZ before any line of ours, so that a caller's own
    SIG_IGN of these two cannot be told from it. The command gets the default, as from Python's subprocess."""

    def ignore() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    ignored = {}
    for words in ([], [str(shim.program), "run", "--"]):
        done = subprocess.run(
            [*words, "/usr/bin/cat", "/proc/self/status"],
            cwd=sandbox,
            preexec_fn=ignore,
            capture_output=True,
            check=True,
        )
        line = next(line for line in done.stdout.decode().splitlines() if line.startswith("SigIgn"))
        ignored[bool(words)] = int(line.split()[1], 16) >> (signal.SIGPIPE - 1) & 1
    assert ignored == {False: 1, True: 0}


def test_another_users_ids(shim: Shim, sandbox: Path) -> None:
    """All four uids and gids, and his groups, not root's; the pid stays the caller's child's."""
    done = said(
        launch(
            shim, sandbox, [volume("tmp", "/tmp")], "/usr/bin/cat", "/proc/self/status", options=("--user", "nobody")
        )
    )
    lines = dict(line.split(":\t", 1) for line in done.splitlines() if ":\t" in line)
    assert lines["Uid"].split() == [str(NOBODY)] * 4
    assert lines["Gid"].split() == [str(NOBODY)] * 4
    assert lines["Groups"].split() == [str(group) for group in sorted(os.getgrouplist("nobody", NOBODY))]
    assert [int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]


# A caller whose command is to end with it, and who says when it has become another user's.
_CALLER = """
import ctypes, os, signal, subprocess, sys, time
def wants_to_know():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
child = subprocess.Popen(sys.argv[1:], preexec_fn=wants_to_know, stdout=subprocess.PIPE)
sys.stdout.buffer.write(child.stdout.readline())
sys.stdout.flush()
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.parametrize("user", ["nobody", "root"])
def test_a_command_ends_with_its_caller_if_that_wants_it(shim: Shim, sandbox: Path, user: str) -> None:
    """The parent-death signal, which the kernel clears when root becomes another user."""
    run = [str(shim.program), "run", "--user", user, "--volume", "tmp:/tmp", "--", "/bin/sh", "-c"]
    words = [PYTHON, "-ISc", _CALLER, *run, "echo $$; exec sleep 60"]
    with subprocess.Popen(words, cwd=sandbox, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as caller:
        pid = int(caller.stdout.readline())
        assert alive(pid)
        caller.communicate(timeout=60)
    wait_until(lambda: not alive(pid), "the command's end")


# The change of ids of the shim, after whose begin the caller ends: what the kernel then sends nobody gets.
_RACE = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from mesos_shim.launch import execute
from mesos_shim.system import credentials, syscalls

become = credentials.become
def slow(user):
    become(user)
    os.close(writing)                  # the parent ends
    while os.getppid() == parent:
        time.sleep(0.001)
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        parent = os.getppid()
        os.close(reading)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: (print("told", flush=True), os._exit(0)))
        credentials.become = slow
        execute.become(credentials.Identity(65534, 65534, [], True))
        print("not told", flush=True)
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
"""


def test_a_caller_that_ends_meanwhile_is_noticed() -> None:
    shim = Path(pack.__file__).parents[2]
    done = subprocess.run([PYTHON, "-ISBc", _RACE, str(shim)], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "told\n"


def test_the_pid_stays(shim: Shim, sandbox: Path) -> None:
    words = [str(shim.program), "run", "--volume", "tmp:/tmp", "--", "/bin/sh", "-c", "echo $$"]
    with subprocess.Popen(words, cwd=sandbox, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=60)
    assert out == f"{process.pid}\n"


def test_a_script_without_an_interpreters_line_runs_as_env_runs_it(shim: Shim, sandbox: Path) -> None:
    """By /bin/sh, as execvp(3) has it: named by its path, and found by PATH."""
    (sandbox / "job").write_text('echo "$0: $1"\n')
    (sandbox / "job").chmod(0o755)
    variables = {"PATH": str(sandbox)}
    for name in ("./job", "job"):
        words = [name, "a b"]
        bare = subprocess.run(
            ["/usr/bin/env", *words], cwd=sandbox, env=variables, capture_output=True, text=True, check=True
        )
        for options in ((), ("--volume", "tmp:/tmp", "--supervise")):
            assert said(shim.run("run", *options, "--", *words, cwd=sandbox, env=variables)) == bare.stdout.rstrip("\n")
    assert bare.stdout == f"{sandbox}/job: a b\n"


def test_an_agents_command_may_be_such_a_script(shim: Shim, open_tmp: Path) -> None:
    """As with Mesos' own helper, which ends in execvp(3); the helper starts it without a copy of itself."""
    agent = PlayedAgent(open_tmp / "agent", shim)
    agent.hold(None)
    script = agent.sandbox / "job"
    script.write_text('echo "$1"\n')
    script.chmod(0o755)
    done = end(agent.start({"shell": False, "value": str(script), "arguments": ["job", "a b"]}))
    assert done == (0, "a b\n", "")


def test_what_no_shell_can_run_either_is_not_executable(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """Where there is no shell the command is what could not be executed."""
    (sandbox / "job").write_text("echo\n")
    (sandbox / "job").chmod(0o755)
    (open_tmp / "empty").mkdir()
    done = shim.run("run", "--volume", f"{open_tmp}/empty:{Path('/bin').resolve()}", "--", "./job", cwd=sandbox)
    assert (done.returncode, done.stdout) == (126, "")
    assert done.stderr == "mesos-shim: command './job': Exec format error\n"


# What a launch imports.

_LISTS_MODULES = """
import posix, sys
before = set(sys.modules)
def execve(path, arguments, variables):
    posix.write(1, " ".join(sorted(set(sys.modules) - before)).encode())
    posix._exit(0)
posix.execve = execve
program, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = program
if {bundled}:
    with open(program) as file:
        text = file.read()
    exec(compile(text, program, "exec"), {{"__name__": "__main__"}})
else:
    sys.path.insert(0, {lib!r})
    from mesos_shim.main import main
    main({config!r})
"""

# Everything that is not ours: C modules of the interpreter, without a line of Python.
ALLOWED = {"_ctypes", "_json", "_signal", "_stat", "_imp", "errno", "marshal", "posix"}


def modules(shim: Shim, sandbox: Path, bundled: bool, *options: str) -> set[str]:
    """The modules that a launch has imported by its exec, beyond the bare interpreter's."""
    program = shim.program.resolve()
    lib = program.parent.parent / "lib"
    code = _LISTS_MODULES.format(bundled=bundled, lib=str(lib), config=str(shim.config_path))
    words = [PYTHON, "-ISB", "-c", code, str(program), "run", *options, "--", "/bin/true"]
    done = subprocess.run(words, cwd=sandbox, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


@pytest.mark.parametrize("bundled", [True, False])
def test_the_modules_of_a_launch(shim: Shim, sandbox: Path, bundled: bool) -> None:
    """Each further import costs every launch on every host: this list grows by a decision, not by accident.

    Without a bundle all that any launch may need is imported before the view (unbundled.py).
    """
    found = modules(shim, sandbox, bundled, "--volume", "tmp:/tmp", "--volume", "/usr/share:/opt:RO")
    ours = {name for name in found if name.split(".")[0] == "mesos_shim"}
    lib = Path(pack.__file__).parents[2]
    expected = set(pack.in_order(pack.read_sources(lib, lib), pack.AT_ONCE["mesos-shim"]))
    assert ours == expected if bundled else ours >= expected
    assert not bundled or found - ours <= ALLOWED


def test_options_import_no_more_than_the_account_database(shim: Shim, sandbox: Path) -> None:
    config = shim.config_path.parent / "other.json"
    keys = {"tmpfs": {"/dev/shm": "64k"}, "hide_work_dir": True, "work_dir": "/var/nowhere", "pass_through": ["/tmp/x"]}
    config.write_text(json.dumps(keys))
    options = ("--config", str(config), "--user", "nobody", "--volume", "a/b:/opt", "--volume", "tmp:/tmp")
    found = {name for name in modules(shim, sandbox, True, *options) if not name.startswith("mesos_shim")}
    assert found <= {*ALLOWED, "pwd"}


# Every Python that hosts have.


def interpreter(version: str) -> str | None:
    """A Python of `version` on this machine, or None."""
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"))
    found += [Path(path) for path in (shutil.which(f"python{version}"),) if path]
    return str(found[0]) if found else None  # pyenv's `python3.x` on PATH is a script that may find none


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_every_python_of_hosts(open_tmp: Path, sandbox: Path, version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as prefix:
        Path(prefix).chmod(0o755)
        (open_tmp / "place/inner").mkdir(parents=True)
        (open_tmp / "file").write_text("covered")
        (open_tmp / "mine").write_text("mine")
        (open_tmp / "shm").mkdir()
        shim = Shim(install(Path(prefix), python=python))
        shim.configure(tmpfs={str(open_tmp / "shm"): "64k"}, pass_through=[f"{open_tmp}/place/p*"])
        volumes = [
            volume("a/b", open_tmp / "place"),
            volume("c", open_tmp / "place/inner"),
            volume("/usr/share", "/opt", "RO"),
            volume(open_tmp / "mine", open_tmp / "file", "RO"),
        ]
        script = f"touch {open_tmp}/place/inner/x; touch /opt/x 2>/dev/null || echo ro; cat {open_tmp}/file"
        done = launch(shim, sandbox, volumes, script)
        assert said(done).split() == ["ro", "mine"]
        assert (sandbox / "c/x").exists()
        # The same, refused: the error path runs the undo, and says its one line.
        failed = launch(shim, sandbox, [volume("new", open_tmp / "place")], "/nowhere", "x")
        assert (failed.returncode, failed.stderr.count("\n"), (sandbox / "new").exists()) == (127, 1, False)
        assert said(shim.run("explain", "--volume", f"x:{open_tmp}/place", "--", "/bin/true", cwd=sandbox))
        # And by a 1.x agent's helper, whose command is no copy of it, for another user.
        agent = PlayedAgent(open_tmp / "agent", shim)
        agent.hold(wire.container_info(wire.volume("/tmp", "tmp")))
        give(agent.sandbox)
        words = "stat -c %a /tmp; grep -E '^(Uid|CapPrm|SigBlk)' /proc/self/status"
        _, out, err = end(agent.start(words, user="nobody"))
        ids = "\t".join(["Uid:", *[str(NOBODY)] * 4])
        assert (err, agent.status) == ("", "0")
        assert out.splitlines() == ["1777", ids, f"SigBlk:\t{0:016x}", f"CapPrm:\t{0:016x}"]
