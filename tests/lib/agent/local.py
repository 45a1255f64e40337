"""Starts a real Mesos agent, gives it tasks and asks it what became of them.

The agent believes its own mount namespace to be the host. It is a copy whose `/` is shared, as on every host
with systemd, so a mount that leaks out of a container is seen here wherever the tests run, and reaches nobody.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..shim import CHECKOUT
from ..streams import piped
from ..waiting import SECONDS, wait_until
from . import tasks
from .fetch import AgentBuild, Unavailable

HERE = Path(__file__).resolve().parent
# Tasks of other users must be able to run it: never the virtual environment's, which may lie below /root.
SYSTEM_PYTHON = "/usr/bin/python3"
EXECUTOR = "helpers/mesos-executor"  # below the public directory; stands in for the packaged one too
MOUNTED_FREEZER = Path("/sys/fs/cgroup/freezer")
# What makes a namespace the agent's host: $1 is where the v1 freezer is mounted if the machine has it nowhere.
HOST = """
mount --make-rshared / || exit
if [ ! -e /sys/fs/cgroup/freezer/cgroup.procs ]; then mount -t cgroup -o freezer cgroup "$1" || exit; fi
shift
exec "$@"
"""


@dataclass(frozen=True)
class Site:
    """What the collection's site play has put on this machine for one agent."""

    prefix: Path
    flags_dir: Path


def provision(root: Path, variables: dict[str, Any]) -> Site:
    """Runs the site play as an operator does: the release, its configuration and the agent's flags below `root`."""
    site = Site(root / "shim", root / "mesos-slave")
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": SYSTEM_PYTHON,
        "mesos_shim_prefix": str(site.prefix),
        "mesos_shim_python": SYSTEM_PYTHON,
        "mesos_agent_flags_dir": str(site.flags_dir),
        **variables,
    }
    root.mkdir(mode=0o755)
    inventory = root / "inventory.json"
    inventory.write_text(json.dumps({"mesos_agents": {"hosts": {"localhost": given}}}))
    result = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "playbooks/site.yml"],
        cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, f"site play: {result.stdout[-6000:]}{result.stderr[-2000:]}"
    return site


def read_flags(directory: Path) -> dict[str, str]:
    """What the packaged init wrapper makes of a flag directory: name -> value as the agent gets it.

    Every regular file that is not hidden is a flag, its content the value; `?x` and `?no-x` are booleans;
    `attributes/` and `resources/` hold one file a key.
    """
    flags = {}
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            pairs = (f"{key.name}:{key.read_text().strip()}" for key in sorted(entry.iterdir()))
            flags[entry.name] = ";".join(pairs)
        elif entry.name.startswith("?no-"):
            flags[entry.name[len("?no-") :]] = "false"
        elif entry.name.startswith("?"):
            flags[entry.name[1:]] = "true"
        else:
            flags[entry.name] = entry.read_text().rstrip("\n")  # as $(cat …) does
    return flags


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def host_command(freezer: Path, *command: str) -> list[str]:
    """A command in a mount namespace of its own whose `/` is shared and which has the v1 freezer."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", HOST, "sh", str(freezer), *command]


def require_host(freezer: Path) -> None:
    """Raises: Unavailable where this machine gives no such namespace."""
    if shutil.which("unshare") is None:
        raise Unavailable("no unshare (util-linux): the real agent gets a mount namespace of its own")
    result = subprocess.run(host_command(freezer, "true"), capture_output=True, text=True, check=False, timeout=SECONDS)
    if result.returncode != 0:
        what = result.stderr.strip().replace("\n", "; ")
        raise Unavailable(f"no mount namespace with the v1 freezer cgroup for the real agent: {what}")


def container_id(parent: Task, *path: str) -> dict[str, Any]:
    """The id of a container nested in the task's, as the API has it."""
    found: dict[str, Any] = {"value": parent.container}
    for name in path:
        found = {"parent": found, "value": name}
    return found


@dataclass
class Task:
    """One task with an executor of its own, and where to look for what it left."""

    agent: LocalAgent
    name: str
    executor: str
    description: dict[str, Any]

    @property
    def _sandbox_glob(self) -> str:
        return f"slaves/*/frameworks/*/executors/{self.executor}/runs/latest"

    @property
    def sandbox(self) -> Path:
        (path,) = self.agent.work_dir.glob(self._sandbox_glob)
        return path.resolve()

    @property
    def container(self) -> str:
        return self.sandbox.name

    def read(self, name: str) -> str:
        return (self.sandbox / name).read_text()

    def wait_file(self, name: str, seconds: float = SECONDS) -> str:
        """The content of a file that the task puts into its sandbox."""
        pattern = f"{self._sandbox_glob}/{name}"

        def there() -> bool:
            ended = any(e["event"] == "executor_lost" and e["executor_id"] == self.executor for e in self.agent.events)
            found = any(self.agent.work_dir.glob(pattern))
            assert found or not ended, (
                f"the executor of {self.name} ended without {name}: {self.agent.said_by_helper()}"
            )
            return found

        wait_until(there, f"{name} in the sandbox of {self.name}", seconds)
        return self.read(name)

    def wait_state(self, *states: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The first status update with one of the states."""
        return self.agent.wait_event(
            lambda e: e["event"] == "status" and e["task_id"] == self.name and e["state"] in states,
            f"{self.name} in {' or '.join(states)}",
            seconds,
        )

    def wait_end(self, seconds: float = SECONDS) -> dict[str, Any]:
        return self.wait_state(
            "TASK_FINISHED", "TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_KILLED", seconds=seconds
        )

    def wait_executor(self, seconds: float = SECONDS) -> int:
        """The executor's raw wait status, as the agent reports it to the framework."""
        event = self.agent.wait_event(
            lambda e: e["event"] == "executor_lost" and e["executor_id"] == self.executor,
            f"end of the executor of {self.name}",
            seconds,
        )
        return int(event["status"])

    def release(self) -> None:
        """Lets a task go on that waits for this by WAIT_FOR_RELEASE."""
        (self.sandbox / "go").touch()


@dataclass
class LocalAgent:
    """A running agent. Its flags come from a directory and from nowhere else."""

    build: AgentBuild
    flags_dir: Path
    public: Path  # readable by every user, and by tasks with a private /tmp
    freezer: Path  # hierarchy of its cgroups, as it sees it
    port: int = field(default_factory=free_port)
    events: list[dict[str, Any]] = field(default_factory=list)
    started: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.flags = read_flags(self.flags_dir)
        self.log_path = self.public / f"agent-{self.port}.log"
        self.counter = 0
        self.cgroups: int | None = None

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self.started is not None, "the agent was not started"
        return self.started

    # A local agent keeps its state below a directory of its number.
    @property
    def work_dir(self) -> Path:
        return Path(self.flags["work_dir"]) / "agents/0/work"

    @property
    def runtime_dir(self) -> Path:
        return Path(self.flags["work_dir"]) / "agents/0/run"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def said_by_helper(self) -> list[str]:
        """The launch helper's own messages; in local mode a container's stderr is the agent's."""
        return [line for line in self.log.splitlines() if line.startswith("mesos-containerizer: ")]

    def start(self) -> LocalAgent:
        environment = {f"MESOS_{name.upper()}": value for name, value in self.flags.items()}
        environment.update(
            PATH="/usr/sbin:/usr/bin:/sbin:/bin",
            PYTHONPATH=str(self.build.site),
            PYTHONDONTWRITEBYTECODE="1",
            LD_LIBRARY_PATH=str(self.build.libraries),
            LIBPROCESS_IP="127.0.0.1",
            LIBPROCESS_PORT=str(self.port),
            MESOS_ALLOCATION_INTERVAL="50ms",  # the master's; its default of 1 s is what tests would wait for
        )
        if "http_credentials" in self.flags:  # the master in the same process has another name for them
            environment["MESOS_CREDENTIALS"] = self.flags["http_credentials"]
        with self.log_path.open("w") as log:
            self.started = subprocess.Popen(
                host_command(self.freezer, self.build.python, "-B", str(HERE / "driver.py")),
                env=environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        self.wait_event(lambda e: e["event"] == "offered", "first offer of the agent")
        # Through this they can be removed after the agent has ended and its namespace with it.
        root = f"/proc/{self.process.pid}/root{self.freezer}/{self.flags['cgroups_root']}"
        self.cgroups = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def _listen(self) -> None:
        for line in piped(self.process.stdout):
            with self.changed:
                self.events.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.events.append({"event": "ended", "code": self.process.wait()})
            self.changed.notify_all()

    def wait_event(
        self, wanted: Callable[[dict[str, Any]], bool], what: str, seconds: float = SECONDS
    ) -> dict[str, Any]:
        """The first event, past ones included, that is wanted.

        Raises: TimeoutError; AssertionError if the driver ended or said that it was misused.
        """
        deadline = time.monotonic() + seconds
        seen = 0
        with self.changed:
            while True:
                for event in self.events[seen:]:
                    if wanted(event):
                        return event
                    if event["event"] in ("ended", "error", "bad_input"):
                        raise AssertionError(f"waiting for: {what}: the agent's driver: {event}")
                seen = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    raise TimeoutError(f"after {seconds:g} s still not: {what}; helper: {self.said_by_helper()}")

    def task(
        self,
        script: str = "",
        *,
        command: str | None = None,
        user: str | None = None,
        container: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Task:
        """Describes a task with an executor of its own: ours, which runs the script, or a bare command."""
        name = self._next_name()
        description = tasks.with_executor(
            name,
            command or f"exec {self.public / EXECUTOR}",
            script,
            user=user,
            container=container,
            environment=environment,
        )
        return Task(self, name, f"ex-{name}", description)

    def command_task(self, command: str, *, container: dict[str, Any] | None = None, user: str | None = None) -> Task:
        """Describes a task without an executor: the agent makes one of its launcher directory's `mesos-executor`."""
        name = self._next_name()
        description = tasks.without_executor(name, command, user=user, container=container)
        return Task(self, name, name, description)

    def _next_name(self) -> str:
        self.counter += 1
        return f"t{self.counter}"

    def launch(self, *tasks: Task) -> None:
        stream = piped(self.process.stdin)
        stream.write(json.dumps({"launch": [task.description for task in tasks]}) + "\n")
        stream.flush()

    def run(self, *arguments: Any, **options: Any) -> Task:
        """Describes and launches one task."""
        task = self.task(*arguments, **options)
        self.launch(task)
        return task

    def get(self, path: str) -> Any:
        """An endpoint's answer as JSON; `/slave(1)` may be left out."""
        return json.loads(self._http(path if path.startswith("/master") else "/slave(1)" + path, None, SECONDS))

    def call(self, kind: str, seconds: float = SECONDS, **body: Any) -> dict[str, Any]:
        """A call of the v1 operator API: `call("WAIT_CONTAINER", container_id=…)`."""
        request = json.dumps({"type": kind, kind.lower(): body}).encode()
        answer = self._http("/slave(1)/api/v1", request, seconds)
        return dict(json.loads(answer).get(kind.lower(), {})) if answer else {}

    def _http(self, path: str, data: bytes | None, seconds: float) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error

    def healthy(self) -> bool:
        url = f"http://127.0.0.1:{self.port}/slave(1)/health"
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            return bool(response.status == 200)

    def mounts(self) -> set[str]:
        """The mount table of what the agent believes to be the host."""
        assert self.process.poll() is None, f"the agent has ended with {self.process.returncode}"
        return set(Path(f"/proc/{self.process.pid}/mountinfo").read_text().splitlines())

    def leaked(self, before: set[str]) -> set[str]:
        """Mounts that this host has got since `mounts()` said `before`.

        Not those it has lost: a mount goes in every namespace when anyone on the machine removes its mount point,
        as `ip netns del` does.
        """
        return self.mounts() - before

    def launch_nested(self, parent: Task, *path: str, command: str, **options: Any) -> None:
        """Starts a container nested in the task's: `path` is its name, after those of the ones between."""
        self.call("LAUNCH_CONTAINER", container_id=container_id(parent, *path), command={"value": command}, **options)

    def wait_nested(self, parent: Task, *path: str) -> int:
        """The raw wait status of a nested container, once it has ended."""
        return int(self.call("WAIT_CONTAINER", container_id=container_id(parent, *path))["exit_status"])

    def debug(self, parent: Task, *path: str, command: str) -> int:
        """Runs a command in a DEBUG container, as `task exec` and command checks do. Returns the raw wait status.

        An agent in local mode has no helper to carry a session's output, so after the launch it destroys the
        container at once. It is held back from that until the command has ended.
        """
        runtime = self.runtime_dir / "/".join(f"containers/{name}" for name in (parent.container, *path))
        with self._destroy_held_back(parent, *path):
            try:
                self.call(
                    "LAUNCH_NESTED_CONTAINER_SESSION",
                    container_id=container_id(parent, *path),
                    command={"value": command},
                )
            except AssertionError as refused:
                if "Not supported in local mode" not in str(refused):
                    raise
            status = runtime / "status"
            wait_until(lambda: status.exists() and status.read_text(), "status of the DEBUG container", 10)
        return int(self.call("WAIT_NESTED_CONTAINER", container_id=container_id(parent, *path))["exit_status"])

    @contextlib.contextmanager
    def _destroy_held_back(self, parent: Task, *path: str) -> Iterator[None]:
        """Delays the first system call by which the agent destroys a container; all else goes on."""
        strace = shutil.which("strace")
        if strace is None:
            raise Unavailable("no strace: it holds the local agent back from destroying its DEBUG container")
        cgroup = self.freezer / self.flags["cgroups_root"] / "/mesos/".join((parent.container, *path))
        what = ["-P", f"{cgroup}/freezer.state", "-e", "trace=openat", "-e", "inject=openat:delay_enter=9000000"]
        # Each thread by its number, not -f: the agent's children, the shim among them, stay untraced.
        threads = [name for t in Path(f"/proc/{self.process.pid}/task").iterdir() for name in ("-p", t.name)]
        tracer = subprocess.Popen(
            [strace, "-o", "/dev/null", *what, *threads], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        try:
            for _ in range(len(threads) // 2):
                line = piped(tracer.stderr).readline()
                assert "attached" in line, f"strace: {line}{piped(tracer.stderr).read()}"
            yield
        finally:
            tracer.send_signal(signal.SIGINT)  # detaches, which ends the delay
            tracer.communicate(timeout=SECONDS)

    def stop(self) -> None:
        """Ends the agent and everything below it, and takes its cgroups away."""
        if self.started is not None:
            with contextlib.suppress(OSError):
                piped(self.process.stdin).close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(SECONDS)
        wait_until(self._kill_leftovers, "end of the agent's containers")
        if self.cgroups is not None:
            for _, children, _, directory in os.fwalk(".", topdown=False, dir_fd=self.cgroups):
                for child in children:
                    _remove_cgroup(child, directory)
            _remove_cgroup(f"../{self.flags['cgroups_root']}", self.cgroups)
            os.close(self.cgroups)

    def _kill_leftovers(self) -> bool:
        """Kills every process that was given this agent's work directory. Returns whether there was none.

        By the environment, which each container's first process has from the agent: this finds those that have
        left their parent, whatever the launcher.
        """
        mark = os.fsencode(self.flags["work_dir"])
        none = True
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                    none = False
                    os.kill(int(process.name), signal.SIGKILL)
        return none


def _remove_cgroup(name: str, directory: int) -> None:
    def removed() -> bool:
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.EBUSY:  # its last process is still on its way out
                return False
            raise
        return True

    wait_until(removed, f"removal of the cgroup {name}")
