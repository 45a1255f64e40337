"""Real Debian hosts for tests: systemd as PID 1, reached over SSH and by nothing else (see README.md beside this).

    fleet = start(3)                 # three hosts, fresh; 1 to 2 s once the image is there
    fleet["host-1"].ssh("uptime")
    fleet.inventory(path, mesos_agent_service="mesos-slave")
    fleet.down()                     # also `with start(3) as fleet:`

In tests the fixture `hosts` is `start`, and ends what a test has left up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..waiting import SECONDS, wait_until

HERE = Path(__file__).resolve().parent
RUN = Path("/run/mesos-shim-tests")
PROGRAMS = {  # program -> Debian package
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
SUITES = ("bullseye", "bookworm", "trixie", "forky")
DEFAULT_SUITE = "bookworm"


class Unavailable(Exception):
    """This machine cannot have test hosts; the text says why and serves as the reason for a skip."""


def cache() -> Path:
    """Where images and layers are kept, outside of the checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesos-shim-tests/hosts"


def require() -> None:
    """Raises: Unavailable, with what is missing and what brings it."""
    if os.geteuid() != 0:
        raise Unavailable("not root: test hosts are systemd-nspawn machines with namespaces of their own")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})
    if missing:
        raise Unavailable(f"no test hosts without: apt-get install {' '.join(missing)}")
    tried = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        raise Unavailable(f"no test hosts in here, namespaces are forbidden: {tried.stderr.strip()}")


def image(suite: str) -> Path:
    """The unpacked image of a Debian release, built on first use.

    Raises: Unavailable where the machine or the registry does not give it.
    """
    require()
    done = subprocess.run([HERE / "build-image", suite], capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        said = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise Unavailable(f"no image of Debian {suite}: {said}")
    return Path(done.stdout.strip().splitlines()[-1])


def _testhosts(*arguments: object) -> None:
    environment = {"OWNER": str(os.getpid()), **os.environ}
    command = [str(HERE / "testhosts"), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"testhosts {' '.join(map(str, arguments))}: {done.stderr.strip()[-3000:]}")


@dataclass
class Host:
    """One running host."""

    fleet: Fleet
    name: str
    address: str
    suite: str

    @property
    def root(self) -> Path:
        """Its files, from outside. What is written there is on the host at once."""
        return RUN / self.fleet.name / self.name / "root"

    @property
    def console(self) -> str:
        """What the host said while it booted."""
        return (RUN / self.fleet.name / self.name / "console.log").read_text(errors="replace")

    def ssh(self, command: str, *, check: bool = True, **keywords: Any) -> subprocess.CompletedProcess[str]:
        """Runs a shell command as root on the host. Raises: AssertionError unless it ends with 0 or `check` is off."""
        keywords.setdefault("timeout", SECONDS)
        if "input" not in keywords:
            keywords["stdin"] = subprocess.DEVNULL
        argv = ["ssh", "-F", str(self.fleet.ssh_config), self.name, command]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            argv, capture_output=True, text=True, check=False, **keywords
        )
        assert not check or done.returncode == 0, (
            f"{self.name}: {command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def says(self, command: str) -> str:
        """What a command prints."""
        return self.ssh(command).stdout.strip()

    def reachable(self, yes: bool) -> None:
        """Pulls or plugs the host's network cable."""
        link = ["ip", "-n", f"msh-{self.fleet.name}", "link", "set", f"v-{self.name}", "up" if yes else "down"]
        subprocess.run(link, check=True)
        if yes:
            self.wait()  # its neighbours have to learn that it is back

    def wait(self) -> Host:
        """Until its sshd answers, as after a reboot."""
        _testhosts("wait", self.fleet.name, self.name)
        return self

    def wait_booted(self) -> str:
        """Until systemd has started all; `running`, or `degraded` where a unit failed."""
        return self.ssh("systemctl is-system-running --wait", check=False).stdout.strip()

    def reboot(self) -> None:
        """Restarts the host and waits until it is back."""
        before = self.says("cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat").split()[-1]
        self.ssh("systemctl reboot", check=False)

        def back() -> bool:
            return self.ssh("cut -d' ' -f22 /proc/1/stat", check=False, timeout=10).stdout.strip() not in ("", before)

        wait_until(back, f"reboot of {self.name}")

    def down(self) -> None:
        """Ends it as a power cut does, and forgets its files."""
        _testhosts("down", self.fleet.name, self.name)
        self.fleet.hosts.pop(self.name, None)


@dataclass
class Fleet:
    """Hosts that can reach each other and nothing else."""

    name: str
    hosts: dict[str, Host] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    def __len__(self) -> int:
        return len(self.hosts)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: every host by its name, as root by default; the other user is `deploy`."""
        return RUN / self.name / "ssh_config"

    @property
    def variables(self) -> dict[str, object]:
        """Connection variables for any inventory that names these hosts."""
        return {
            "ansible_user": "root",
            "ansible_ssh_common_args": f"-F {self.ssh_config}",
            # Another fleet has the same names: never share its connections.
            "ansible_control_path_dir": str(RUN / self.name / "control"),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def add(self, names: dict[str, str], layer: Path | None = None) -> Fleet:
        """Starts hosts, {name: suite}, all at once, and waits until each answers."""
        for suite in set(names.values()):
            image(suite)
        new = []
        for name, suite in names.items():
            used = {host.address for host in self}
            address = next(a for n in range(11, 250) if (a := f"10.88.0.{n}") not in used)
            self.hosts[name] = Host(self, name, address, suite)
            new.append(self.hosts[name])
        errors: list[BaseException] = []

        def begin(host: Host) -> None:
            try:
                _testhosts("up", self.name, host.name, host.address, host.suite, *([layer] if layer else []))
                host.wait()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=begin, args=(host,)) for host in new]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._write_ssh_config()
        if errors:
            self.down()
            raise errors[0]
        return self

    def _write_ssh_config(self) -> None:
        lines = [f"Host {host.name}\n  HostName {host.address}\n" for host in self]
        lines.append(
            "Host *\n"
            f"  ProxyCommand {HERE / 'netproxy'} {self.name} %h %p\n"
            f"  IdentityFile {cache() / 'id_ed25519'}\n"
            "  User root\n  IdentitiesOnly yes\n  BatchMode yes\n  ConnectTimeout 10\n"
            # Each start has new host keys, and the network has no other machine on it.
            "  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        )
        self.ssh_config.write_text("".join(lines))

    def inventory(
        self,
        path: Path,
        group: str = "mesos_agents",
        host_variables: dict[str, dict[str, object]] | None = None,
        **variables: object,
    ) -> Path:
        """Writes an inventory: the hosts in one group, with `variables` for all and others for single ones."""
        own = host_variables or {}
        hosts = {host.name: own.get(host.name, {}) for host in self}
        content = {"all": {"vars": self.variables}, group: {"hosts": hosts, "vars": variables}}
        path.write_text(json.dumps(content, indent=2))
        return path

    def down(self) -> None:
        """Ends all hosts and their network."""
        self.hosts.clear()
        _testhosts("down-all", self.name)


_count = 0


def start(
    n: int = 1, suite: str = DEFAULT_SUITE, *, names: dict[str, str] | None = None, layer: Path | None = None
) -> Fleet:
    """Starts a fleet: `n` hosts of one Debian release, `host-1` and so on, or {name: suite}.

    Arguments:
        layer: a directory whose files lie over the image's, the host's own to change (see ../agent/on_host.py).
    Returns: the Fleet, every host answering on SSH.
    Raises: Unavailable where this machine cannot have such hosts.
    """
    global _count  # noqa: PLW0603
    require()
    _count += 1
    fleet = Fleet(f"t{os.getpid()}-{_count}")
    return fleet.add(names or {f"host-{number}": suite for number in range(1, n + 1)}, layer)


def reap() -> None:
    """Ends the hosts of test runs that were killed."""
    if RUN.exists() and os.geteuid() == 0:
        _testhosts("reap")
