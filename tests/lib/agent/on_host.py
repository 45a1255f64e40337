"""A real Mesos agent on a test host, as the unit `mesos-slave.service` (see "The agent" in ../hosts/README.md)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..hosts import machines
from ..waiting import SECONDS, wait_until
from . import fetch, tasks

HOME = Path("opt/mesos-agent")
HERE = Path(__file__).resolve().parent
FILES = HERE / "host_files"
DRIVER = HERE / "driver.py"
EXECUTOR = HERE / "executor.py"
UNIT = "mesos-slave.service"
# What every host has of glibc; all else that the agent links comes along.
OF_GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|util|pthread|resolv))\.so\.\d+$")


def layer() -> Path:
    """A directory to be laid over a host's files (`start(layer=…)`): the agent, its unit, its wrapper, stopped.

    Hosts must have at least this machine's glibc. Built once into the cache.
    Raises: Unavailable where the agent cannot be had.
    """
    machines.require()
    try:
        build = fetch.build()
    except fetch.Unavailable as reason:
        raise machines.Unavailable(str(reason)) from reason
    if shutil.which("patchelf") is None:
        raise machines.Unavailable("no agent on hosts without: apt-get install patchelf")
    own = [Path(__file__), DRIVER, EXECUTOR, *sorted(FILES.iterdir())]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in own) + fetch.DIGEST.encode()).hexdigest()[:12]
    root = machines.cache()
    root.mkdir(parents=True, exist_ok=True)
    ready = root / f"agent-{digest}"
    with (root / ".agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            mounted = Path("/proc/mounts").read_text()
            for old in (*root.glob("agent-*"), *root.glob("half-agent-*")):
                if f"{old}:" not in mounted:
                    shutil.rmtree(old)
            half = Path(tempfile.mkdtemp(prefix="half-agent-", dir=root))
            half.chmod(0o755)
            _fill(half, build)
            half.rename(ready)
    return ready


def _fill(root: Path, build: fetch.AgentBuild) -> None:
    home = root / HOME
    unneeded = shutil.ignore_patterns("*.pyc", "*.a", "test", "tests", "share", "include", "site-packages", "idlelib")
    python = Path(build.python).resolve().parent.parent
    shutil.copytree(python, home / "python", symlinks=True, ignore=unneeded)
    shutil.copytree(build.site, home / "site")
    libraries = home / "lib"
    libraries.mkdir()
    environment = {"LD_LIBRARY_PATH": str(build.libraries), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    extensions = sorted((python / "lib/python2.7/lib-dynload").glob("*.so"))
    linked = [python / "bin/python2.7", build.site / fetch.SCHEDULER, *extensions]
    for program in linked:
        said = subprocess.run(["ldd", program], env=environment, capture_output=True, text=True, check=True).stdout
        for name, path in re.findall(r"^\s*(\S+) => (/\S+)", said, re.MULTILINE):
            if not OF_GLIBC.match(name) and not (libraries / name).exists():
                shutil.copy(path, libraries / name)
    # Found by the object itself, not by LD_LIBRARY_PATH: that would be the launch helper's too.
    rpath = ["patchelf", "--force-rpath", "--set-rpath", f"/{HOME}/lib"]
    copies = [home / "python" / extension.relative_to(python) for extension in extensions]
    for program in (home / "python/bin/python2.7", home / "site" / fetch.SCHEDULER, *copies):
        subprocess.run([*rpath, program], check=True)
    for source, target, mode in (
        (DRIVER, home / "driver.py", 0o644),
        (FILES / "host_driver.py", home / "host_driver.py", 0o644),
        (FILES / "flags", home / "flags", 0o644),
        (FILES / "mesos-init-wrapper", root / "usr/bin/mesos-init-wrapper", 0o755),
        (FILES / "default", root / "etc/default/mesos-slave", 0o644),
        (FILES / UNIT, root / "etc/systemd/system" / UNIT, 0o644),
        (EXECUTOR, home / "executor.py", 0o644),
        (FILES / "mesos-executor", root / "usr/libexec/mesos/mesos-executor", 0o755),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        target.chmod(mode)
    for directory in root.rglob("*"):
        if directory.is_dir() and not directory.is_symlink():
            directory.chmod(0o755)


class HostAgent:
    """The agent of one host that was started with `layer()`; `systemctl start mesos-slave` starts it."""

    state_dir = "/var/lib/mesos-tasks"

    def __init__(self, host: machines.Host) -> None:
        self.host = host
        self.count = 0

    def get(self, path: str) -> Any:
        """An endpoint's answer as JSON; None where nothing answers. `/slave(1)` goes before all but these.

        Asked from inside: the agent listens on the host's own loopback alone.
        """
        whole = path if path.startswith(("/master", "/metrics")) else f"/slave(1){path}"
        ask = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=10).read().decode())"
        done = self.host.ssh(f"python3 -Ic '{ask}' 'http://127.0.0.1:5051{whole}'", check=False)
        return json.loads(done.stdout or "{}") if done.returncode == 0 else None

    @property
    def log(self) -> str:
        return self.host.ssh(f"journalctl --no-pager -o cat -u {UNIT}").stdout

    def wait_registered(self, seconds: float = SECONDS) -> str:
        """Until the agent has registered, or after a restart recovered and registered again. Returns its id.

        Raises: TimeoutError with the end of the agent's log.
        """

        def active() -> str:
            # The metric slave/registered says no more than that a master was seen, and /state has a recovered
            # agent's id before it has registered again. The master forgets with the process which agents it has.
            known = (self.get("/master/slaves") or {}).get("slaves", [])
            return next((agent["id"] for agent in known if agent["active"]), "")

        try:
            return wait_until(active, "registration of the agent", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log[-3000:]}") from None

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """What the framework was told, over all restarts."""
        path = self.host.root / self.state_dir.lstrip("/") / "events"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        assert not [event for event in found if event["event"] in ("bad_input", "error")], found
        return [event for event in found if kind in ("", event["event"])]

    def launch(self, script: str, *, user: str | None = None, container: dict[str, object] | None = None) -> HostTask:
        """Launches a task whose executor runs a shell script in its sandbox."""
        self.count += 1
        name = f"t{self.count}"
        command = "exec /usr/libexec/mesos/mesos-executor"
        description = tasks.with_executor(name, command, script, user=user, container=container)
        self._say(name, {"launch": [description]})
        return HostTask(self, name)

    def kill(self, task: HostTask) -> None:
        self._say(f"kill-{task.name}", {"kill": task.name})

    def _say(self, name: str, command: dict[str, object]) -> None:
        new = self.host.root / self.state_dir.lstrip("/") / "new"
        new.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(json.dumps(command))
        (new / name).rename(new / f"{name}.json")


class HostTask:
    """A task that was given to an agent on a host."""

    def __init__(self, agent: HostAgent, name: str) -> None:
        self.agent, self.name = agent, name

    @property
    def sandbox(self) -> Path:
        """From outside; it appears with the launch."""
        work_dir = (self.agent.host.root / "etc/mesos-slave/work_dir").read_text().strip()
        below = self.agent.host.root / work_dir.lstrip("/") / "agents/0/work"  # a local agent adds this to the flag
        runs = wait_until(
            lambda: [*below.glob(f"slaves/*/frameworks/*/executors/ex-{self.name}/runs/*-*")], f"sandbox of {self.name}"
        )
        return runs[0]

    def wait_file(self, name: str) -> str:
        """The content of a file that the task puts into its sandbox."""
        path = self.sandbox / name
        wait_until(path.exists, f"{name} in the sandbox of {self.name}")
        return path.read_text()

    def states(self) -> list[str]:
        return [event["state"] for event in self.agent.events("status") if event["task_id"] == self.name]

    def wait_state(self, *states: str) -> str:
        """The first of the states that is reported."""
        return wait_until(
            lambda: next((s for s in self.states() if s in states), ""), f"{self.name} in {' or '.join(states)}"
        )
