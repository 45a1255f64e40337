"""A host of its own for one launch, all of whose paths, modes and owners are the test's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..lib.shim import NOBODY, Shim

EXPECTED = Path(__file__).parent / "expected"
# Starts a program as an ordinary user.
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


class GoldenHost:
    """What a launch finds below the directory `root`, its options, and what is started before the shim."""

    def __init__(self, shim: Shim, root: Path) -> None:
        self.shim = shim
        self.root = root
        self.options: list[str] = []
        self.prefix: list[str] = []
        self.inject: list[str] = []
        self.place = self.directory("place")
        self.cwd = self.directory("sandbox")  # where it is launched

    def directory(self, name: str, mode: int = 0o755, uid: int = 0) -> Path:
        """The directory `name` below the root, of that mode and owner."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        os.chown(path, uid, uid)
        return path

    def file(self, name: str) -> Path:
        """The empty file `name` below the root."""
        path = self.root / name
        path.touch()
        return path

    def volumes(self, *volumes: str) -> None:
        """Options for volumes, each HOST:CONTAINER or HOST:CONTAINER:MODE."""
        self.options += [word for volume in volumes for word in ("--volume", volume)]

    def ordinary_user(self) -> None:
        """Launch as an ordinary user, whose are the sandbox and the records."""
        self.directory("sandbox", uid=NOBODY)
        self.shim.configure(state_dir=str(self.directory("state", uid=NOBODY)))
        self.prefix = AS_NOBODY

    def words(self, command: str, *options: str) -> list[str]:
        """`mesos-shim COMMAND` of /bin/true."""
        words = [str(self.shim.program), command, "--container-id", "golden", *options, *self.options]
        return [*self.prefix, *words, "--", "/bin/true"]


@contextmanager
def fresh(prefix: Path) -> Iterator[GoldenHost]:
    """A host on which the shim of `prefix` has launched nothing yet."""
    root = Path(tempfile.mkdtemp(prefix="mesos-shim-test-", dir="/var/tmp"))
    root.chmod(0o755)
    umask = os.umask(0o022)
    try:
        shutil.rmtree(prefix / "state", ignore_errors=True)
        yield GoldenHost(Shim(prefix), root)
    finally:
        os.umask(umask)
        shutil.rmtree(root, ignore_errors=True)
