"""Each recipe of docs/schedulers.md, done as it is written there, and then looked at."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lib import commands
from tests.lib.autofs import Automount, needs_autofs
from tests.lib.hosts import machines
from tests.lib.shim import CHECKOUT, NOBODY, Shim, add_psutil, needs_linux, needs_root
from tests.lib.waiting import wait_until

pytestmark = needs_linux


def need(*programs: str) -> None:
    """Each program, or the test is skipped by the first that is missing."""
    for program in programs:
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"needs {program}")


def environment(shim: Shim, **more: str) -> dict[str, str]:
    """Ours, with the installed shim first in PATH."""
    return {**os.environ, "PATH": f"{shim.prefix}/bin:{os.environ['PATH']}:/usr/sbin", **more}


def sh(text: str, cwd: Path, variables: dict[str, str], **keywords: object) -> subprocess.CompletedProcess[str]:
    """Run a block as it is written."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **keywords,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done


def test_parallel_and_xargs(shim: Shim, open_tmp: Path, following: commands.Following) -> None:
    need("parallel", "xargs")
    (block,) = following("docs/schedulers.md", "test here")
    variables = environment(shim, HOME=str(open_tmp))
    done = sh(block.use(), open_tmp, variables)
    # Each said its own number alone, though all wrote the same name: twice 1 to 4, in any order.
    assert sorted(done.stdout.split()) == sorted([*"1234", *"1234"])
    assert not [path for path in Path("/tmp").iterdir() if path.name == "mine"]


# --- cron


@needs_root
def test_cron(shim: Shim, open_tmp: Path, following: commands.Following) -> None:
    """Debian's cron reads the page's line; only its time is another: `@reboot`, which cron does when it starts."""
    need("cron", "unshare")
    job = open_tmp / "nightly" / "job"
    job.parent.mkdir()
    job.write_text("#!/bin/sh\ntouch /tmp/of-the-job\n{ ls /tmp; pwd; } > /srv/nightly/said.new\n")
    with job.open("a") as file:
        file.write("mv /srv/nightly/said.new /srv/nightly/said\n")
    job.chmod(0o755)
    (block,) = following("docs/schedulers.md", "file=nightly.cron")
    text = block.use()
    assert len(re.findall(r"^17 3 \* \* \*", text, re.MULTILINE)) == 1
    text = text.replace("17 3 * * *", "@reboot").replace("/opt/mesos-shim", str(shim.prefix))
    crontabs = open_tmp / "cron.d"
    crontabs.mkdir()
    (crontabs / "nightly").write_text(text)
    (open_tmp / "etc-crontab").write_text("")
    (open_tmp / "empty").mkdir()
    # Its own view of the places that it reads: this machine's own jobs are not run, /run says that it has just booted.
    view = f"""
        mount --make-rprivate / && mount --bind {crontabs} /etc/cron.d && mount -t tmpfs tmpfs /run
        mount --bind {open_tmp}/empty /var/spool/cron && mount --bind {open_tmp}/etc-crontab /etc/crontab
        mount -t tmpfs tmpfs /srv && mkdir /srv/nightly && mount --bind {job.parent} /srv/nightly
        exec cron -f
    """
    cron = subprocess.Popen(["unshare", "-m", "bash", "-euc", view], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = job.parent / "said"
    try:
        wait_until(lambda: said.exists() or cron.poll() is not None, "cron's job")
        assert said.exists(), cron.stdout.read() if cron.stdout else ""
        files, sandbox = said.read_text().split()
        assert files == "of-the-job"
        wait_until(lambda: not Path(sandbox).exists(), "removal of the sandbox")
    finally:
        cron.terminate()
        cron.wait(30)
    assert not Path("/tmp/of-the-job").exists()


# --- a CI runner's shell executor


@pytest.fixture
def runner(
    shim: Shim, open_tmp: Path, following: commands.Following
) -> Callable[[str, str], subprocess.CompletedProcess[str]]:
    """A stand-in for GitLab Runner: writes each step to a file below /tmp and calls `run_exec FILE STAGE`."""
    run_exec = open_tmp / "ci-run"
    (block,) = following("docs/schedulers.md", "file=ci-run")
    run_exec.write_text(block.use())
    run_exec.chmod(0o755)
    builds = open_tmp / "builds"
    builds.mkdir()

    def step(job: str, script: str) -> subprocess.CompletedProcess[str]:
        file = open_tmp / f"script-{job}"
        file.write_text(script)
        variables = environment(shim, BUILDS_DIR=str(builds), CUSTOM_ENV_CI_JOB_ID=job)
        command = [run_exec, file, "build_script"]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)

    return step


def test_steps_of_one_job_share_a_tmp_and_jobs_do_not(runner: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert runner("1", "echo one > /tmp/state").returncode == 0
    assert runner("2", "echo two > /tmp/state").returncode == 0
    assert runner("1", "cat /tmp/state").stdout == "one\n"
    assert runner("2", "cat /tmp/state").stdout == "two\n"
    assert not Path("/tmp/state").exists()


def test_a_step_that_fails_fails_with_its_own_status(runner: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert runner("3", "set -e\nfalse\necho not reached").returncode == 1
    assert runner("3", "exit 42").returncode == 42


# --- a step inside a job, an automounted project directory, a hardened /tmp


@needs_root
@pytest.mark.parametrize("user", [NOBODY, 0])
def test_a_step_inside_a_job(shim: Shim, open_tmp: Path, following: commands.Following, user: int) -> None:
    """For an ordinary user the steps find root's installation where root is not mapped."""
    need("xargs")
    job, block = following("docs/schedulers.md", "file=job-with-steps", "test step")
    (open_tmp / "job-with-steps").write_text(job.use())
    os.chown(open_tmp, user, user)
    shim.configure(state_dir=str(open_tmp / "state"))
    as_user: dict[str, object] = {} if user == 0 else {"user": user, "group": user, "extra_groups": []}
    done = sh(block.use(), open_tmp, environment(shim), **as_user)
    assert (done.stdout.splitlines(), done.stderr) == (["step 1", "step 2", "job"], "")
    assert (open_tmp / "tmp/mine").read_text() == "job\n"


@needs_root
@needs_autofs
def test_an_automounted_project(shim: Shim, open_tmp: Path, following: commands.Following) -> None:
    (block,) = following("docs/schedulers.md", "test automount")
    projects = open_tmp / "projects"
    projects.mkdir()
    point = Automount(projects, "alpha/data")
    try:
        assert not point.mounted()
        done = sh(block.use().replace("/projects", str(projects)), open_tmp, environment(shim))
        assert (done.stdout.splitlines(), done.stderr) == ([f"{projects}/alpha", "data"], "")
        assert point.mounted()
    finally:
        point.close()


@needs_root
def test_a_hardened_tmp(shim: Shim, open_tmp: Path, following: commands.Following) -> None:
    (block,) = following("docs/schedulers.md", "test hardened")
    harden = "mount --make-rprivate / && mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 none /tmp"
    (open_tmp / "block").write_text(block.use())
    done = sh(f"unshare -m bash -ec '{harden} && . {open_tmp}/block'", open_tmp, environment(shim))
    assert done.stdout.splitlines() == ["refused", "runs"]


# --- Slurm


@pytest.fixture
def slurm() -> Iterator[tuple[Path, dict[str, str]]]:
    """Debian's munged, slurmctld and slurmd on this one host, with files, ports and sockets of their own."""
    need("munged", "slurmctld", "slurmd", "srun", "sbatch")
    home = Path(subprocess.check_output(["mktemp", "-d", "/var/tmp/slurm-XXXXXX"], text=True).strip())
    home.chmod(0o755)
    for name in ("state", "spool"):
        (home / name).mkdir()
    key = home / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    ports = free_ports(2)
    (home / "slurm.conf").write_text(
        f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.sock
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
    )
    variables = {**os.environ, "SLURM_CONF": f"{home}/slurm.conf", "PATH": os.environ["PATH"] + ":/usr/sbin"}
    with contextlib.ExitStack() as daemons:
        daemons.callback(shutil.rmtree, home, ignore_errors=True)
        munge = [f"--{name}={home}/munge.{end}" for name, end in MUNGE]
        start(daemons, home, variables, "munged", "--force", "--foreground", *munge)
        wait_until((home / "munge.sock").exists, "munged")
        start(daemons, home, variables, "slurmctld", "-D", "-f", str(home / "slurm.conf"))
        start(daemons, home, variables, "slurmd", "-D", "-f", str(home / "slurm.conf"), "-N", host)

        def idle() -> bool:
            asked = subprocess.run(
                ["sinfo", "-h", "-o", "%T"], env=variables, capture_output=True, text=True, check=False, timeout=30
            )
            return asked.stdout.strip() == "idle"

        wait_until(idle, f"an idle node\n{(home / 'slurmctld.out').read_text()[-1000:]}")
        yield home, variables


MUNGE = (("socket", "sock"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"))


def start(daemons: contextlib.ExitStack, home: Path, variables: dict[str, str], *command: str) -> None:
    """A daemon in the foreground, ended with the fixture."""
    with (home / f"{command[0]}.out").open("w") as out:
        process = subprocess.Popen(command, env=variables, stdout=out, stderr=out, cwd=home)

    def end() -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    daemons.callback(end)


def free_ports(number: int) -> list[int]:
    """Ports that nobody has, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


@needs_root
def test_slurm(shim: Shim, open_tmp: Path, slurm: tuple[Path, dict[str, str]], following: commands.Following) -> None:
    _, variables = slurm
    variables = {**variables, "PATH": f"{shim.prefix}/bin:{variables['PATH']}"}
    step, job, batch = following("docs/schedulers.md", "test slurm", "file=job.sh")
    (open_tmp / "job.sh").write_text(job.use())
    assert sorted(sh(step.use(), open_tmp, variables).stdout.split()) == ["0", "1"]
    said = sh(batch.use(), open_tmp, variables).stdout
    assert said.splitlines()[-2:] == ["result", "private"]
    assert not Path("/tmp/result").exists()

    # An ordinary user, and the command's own exit status.
    open_tmp.chmod(0o777)
    (open_tmp / "his").mkdir()
    os.chown(open_tmp / "his", NOBODY, NOBODY)
    state = {"XDG_RUNTIME_DIR": str(open_tmp / "his")}
    shim.configure()
    command = ["srun", f"--uid={NOBODY}", f"--gid={NOBODY}", f"--chdir={open_tmp}/his", "mesos-shim", "run"]
    done = subprocess.run(
        [*command, "--volume", "tmp:/tmp", "--", "sh", "-c", "echo his > /tmp/file; id -u; exit 7"],
        env={**variables, **state},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (7, f"{NOBODY}\n"), done.stderr
    assert (open_tmp / "his/tmp/file").read_text() == "his\n"


@needs_root
def test_scancel_reaches_the_command(shim: Shim, open_tmp: Path, slurm: tuple[Path, dict[str, str]]) -> None:
    _, variables = slurm
    variables = {**variables, "PATH": f"{shim.prefix}/bin:{variables['PATH']}"}
    script = 'trap "echo told > /tmp/told; exit 0" TERM; echo up > /tmp/up; while :; do sleep 0.05; done'
    step = subprocess.Popen(
        ["srun", "--job-name=cancelled", "mesos-shim", "run", "--volume", "tmp:/tmp", "--", "sh", "-c", script],
        cwd=open_tmp,
        env=variables,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until((open_tmp / "tmp/up").exists, "start of the step")
        subprocess.run(["scancel", "--name=cancelled"], env=variables, check=True, timeout=30)
        wait_until((open_tmp / "tmp/told").exists, "the command's own word")
    finally:
        step.communicate(timeout=60)


# --- systemd


@pytest.mark.hosts
def test_systemd(hosts: Callable[..., machines.Fleet], following: commands.Following) -> None:
    with hosts(1) as fleet:
        host = fleet["host-1"]
        put_shim(host)
        unit, block = following("docs/schedulers.md", "file=/etc/systemd/system/app.service", "test systemd")
        (host.root / "etc/systemd/system/app.service").write_text(unit.use())
        said = host.ssh(f"PATH=/opt/mesos-shim/bin:$PATH; set -eu\n{block.use()}").stdout
        pid = re.search(r"MainPID=(\d+)", said)
        assert pid, said

        def listed() -> bool:
            now = host.says("/opt/mesos-shim/bin/mesos-shim ps")
            return bool(re.search(rf"^app +{pid[1]} +enforced", now, re.MULTILINE))

        why = host.ssh("journalctl --no-pager -o cat -u app.service").stdout
        wait_until(listed, f"app among the containers\n{said}{why}")
        # The main process is the command itself, as the user that was asked for, with a /tmp and a /mnt of its own.
        assert host.says(f"cat /proc/{pid[1]}/comm; stat -c %U /proc/{pid[1]}") == "sleep\ndaemon"
        assert host.says(f"stat -c %a /srv/app/tmp; ls /proc/{pid[1]}/root/tmp | wc -l") == "1777\n0"
        assert host.ssh(f"touch /proc/{pid[1]}/root/mnt/x", check=False).returncode != 0
        assert "/srv/app/tmp" not in host.says("cat /proc/self/mountinfo")
        # It ends as the command ends: by systemd's own TERM, which is success.
        host.ssh("systemctl stop app.service")
        assert "Result=success" in host.says("systemctl show --property Result app.service")


# With a parent that stays, systemd takes the messages of its child where the unit says so.
PARENTS = {"echo": ("", "main"), "echo-rm": ("--rm", "all"), "echo-supervise": ("--supervise", "all")}


@pytest.mark.hosts
def test_a_socket_readiness_and_the_watchdog_go_through(hosts: Callable[..., machines.Fleet]) -> None:
    """LISTEN_FDS, NOTIFY_SOCKET and what names a process id reach the command; one SIGTERM with KillMode=mixed."""
    service = """[Service]
Type=notify
NotifyAccess={access}
KillMode=mixed
WatchdogSec=60
WorkingDirectory=/srv
ExecStart=/opt/mesos-shim/bin/mesos-shim run {options} --volume tmp:/tmp -- /usr/bin/python3 /srv/server /srv/{name}
"""
    server = """import os, signal, socket, sys
assert os.environ["LISTEN_PID"] == str(os.getpid()), "another's socket"
assert os.environ["WATCHDOG_PID"] == str(os.getpid()), "another's watchdog"
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
said.sendto(b"READY=1\\nWATCHDOG=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
listening = socket.socket(fileno=3)
connection, _ = listening.accept()
connection.sendall(b"through the shim")
connection.close()
signal.sigwait([signal.SIGTERM])
again = signal.sigtimedwait([signal.SIGTERM], 1)
open(sys.argv[1], "w").write("once" if again is None else "again")
"""
    ask = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/{}'); print(s.recv(99).decode())"
    with hosts(1) as fleet:
        host = fleet["host-1"]
        put_shim(host)
        (host.root / "srv/server").write_text(server)
        units = host.root / "etc/systemd/system"
        for name, (options, access) in PARENTS.items():
            (units / f"{name}.socket").write_text(f"[Socket]\nListenStream=/run/{name}\n")
            (units / f"{name}.service").write_text(service.format(name=name, options=options, access=access))
        sockets = " ".join(f"{name}.socket" for name in PARENTS)
        host.ssh(f"systemctl daemon-reload && systemctl start {sockets}")
        for name in PARENTS:
            why = f"journalctl --no-pager -o cat -u {name}.service >&2"
            assert host.says(f'python3 -c "{ask.format(name)}" || {why}') == "through the shim"
            assert host.says(f"systemctl is-active {name}.service") == "active"
            host.ssh(f"systemctl stop {name}.socket {name}.service")
            assert (host.root / "srv" / name).read_text() == "once"
            assert host.says(f"systemctl show --property Result --value {name}.service") == "success"


def put_shim(host: machines.Host) -> None:
    """Install the checkout's shim on the host at the default prefix, by its own release.py."""
    unpacked = host.root / "root/unpacked/lib"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "shim/mesos_shim", unpacked / "mesos_shim", ignore=ignore)
    add_psutil(unpacked)
    release = "python3 -ISB /root/unpacked/lib/mesos_shim/release.py"
    names = "--prefix /opt/mesos-shim --name 0.0.0-test"
    host.ssh(f"{release} stage --source /root/unpacked {names} && {release} activate {names}")
