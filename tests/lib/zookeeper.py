"""A real ZooKeeper server, of Debian's package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .waiting import wait_until

JARS = Path("/usr/share/java")
PORT = 2181


class Unavailable(Exception):
    """This machine has no ZooKeeper; the text says what brings it."""


class ZooKeeper:
    """A server with its data in a directory. It can be ended and started again.

    Arguments:
        inside: a command before the server's own, such as `ip netns exec NAME`.
    """

    def __init__(self, directory: Path, address: str, port: int = PORT, inside: tuple[str, ...] = ()) -> None:
        if not (JARS / "zookeeper.jar").exists() or not shutil.which("java"):
            raise Unavailable("no ZooKeeper without: apt-get install zookeeper")
        self.address = f"{address}:{port}"
        self._directory, self._inside = directory, inside
        self._there = f"exec 3<>/dev/tcp/{address}/{port}"
        settings = f"tickTime=500\ndataDir={directory}\nclientPort={port}\nclientPortAddress={address}\n"
        (directory / "zoo.cfg").write_text(f"{settings}admin.enableServer=false\n")
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        command = [*self._inside, "java", "-cp", f"{JARS}/*", main, str(self._directory / "zoo.cfg")]
        log = self._directory / "log"
        with log.open("ab") as output:
            self._server = subprocess.Popen(command, stdout=output, stderr=output, cwd=self._directory)

        def listens() -> bool:
            assert self._server.poll() is None, log.read_text()
            tried = subprocess.run([*self._inside, "bash", "-c", self._there], stderr=subprocess.DEVNULL, check=False)
            return tried.returncode == 0

        wait_until(listens, "ZooKeeper")

    def end(self) -> None:
        """End the server at once."""
        self._server.kill()
        self._server.wait()
