"""What every benchmark needs: an installed shim with its records in memory, as on a host, and a place for results."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lib.shim import CHECKOUT, PYTHON, Shim, install

from . import measure

RESULTS = CHECKOUT / "bench/results"


@dataclass
class Row:
    """One line of the table."""

    what: str
    beside: str
    target: str
    found: str
    met: bool | None  # None: nothing to be reached, or it could not be measured here
    details: dict[str, object] = field(default_factory=dict)
    # Peer and reason.
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """As a row of a Markdown table."""
        met = {True: "yes", False: "NO", None: "-"}[self.met]
        return f"| {self.what} | {self.beside} | {self.target} | {self.found} | {met} |"


HEADER = "| what | beside | to reach | here | reached |\n|---|---|---|---|---|"


class Bench:
    """An installed shim, removed with everything at the end."""

    def __init__(self, root: Path, state: Path, runs: int, python: str = PYTHON) -> None:
        self.root = root
        self.runs = runs
        self.python = python
        self.state = state
        self.shim = Shim(install(root / "prefix", python))
        self.configure()
        self.bare = measure.Command([python, "-IS", "-c", "pass"])
        self._sandboxes = 0

    def configure(self, **keys: object) -> None:
        """The shim's configuration: records in memory, as by default, and `keys`."""
        self.shim.configure(state_dir=str(self.state), **keys)

    def sandbox(self) -> str:
        """A fresh one."""
        self._sandboxes += 1
        path = self.root / f"sandbox-{self._sandboxes}"
        path.mkdir()
        return str(path)

    def launch(self, *options: str, command: tuple[str, ...] = ("/bin/true",), fresh: bool = False) -> measure.Command:
        """`mesos-shim run` in a sandbox of its own, emptied before each run where it is `fresh`.

        Without options with a private /tmp.
        """
        words = [str(self.shim.program), "run", *(options or ("--volume", "tmp:/tmp")), "--", *command]
        return measure.Command(words, self.sandbox(), fresh=fresh)

    def record(self, container: str) -> Path:
        """Where the record of a running container is."""
        return self.state / "containers" / f"{container}.json"

    def forget(self) -> None:
        """No records, so that no row finds another's."""
        shutil.rmtree(self.state / "containers", ignore_errors=True)


@contextmanager
def bench(runs: int, python: str = PYTHON) -> Iterator[Bench]:
    """A Bench while the block runs."""
    root = Path(tempfile.mkdtemp(prefix="mesos-shim-bench-", dir="/var/tmp"))
    root.chmod(0o755)
    state = Path(tempfile.mkdtemp(prefix="mesos-shim-bench-", dir=_run_directory()))
    state.chmod(0o755)
    try:
        yield Bench(root, state, runs, python)
    finally:
        os.chdir("/")
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)


def _run_directory() -> str:
    """A directory in memory, as /run is on every host; in a container it may be on a disk."""
    return "/run" if os.geteuid() == 0 and os.path.ismount("/run") else "/dev/shm"


def save(name: str, row: Row, about: dict[str, object]) -> None:
    """Write the row's figures."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    content = {
        "what": row.what,
        "beside": row.beside,
        "to_reach": row.target,
        "found": row.found,
        "reached": row.met,
        "unavailable": row.unavailable,
        **about,
        **row.details,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
