"""A release that lies below a covered path: inside the view nothing of it can be imported any more."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lib.shim import Shim, install, needs_root

pytestmark = needs_root


@pytest.fixture(params=["bundle", "modules"])
def covered(request: pytest.FixtureRequest) -> Iterator[Shim]:
    """A shim installed below the very /tmp that its volumes cover; with another interpreter's bundle, too."""
    prefix = Path(tempfile.mkdtemp(prefix="mesos-shim-covered-", dir="/tmp"))
    prefix.chmod(0o755)
    shim = Shim(install(prefix))
    if request.param == "modules":
        text = shim.program.read_text()
        assert "sys.hexversion >> 16 ==" in text
        shim.program.resolve().write_text(text.replace("sys.hexversion >> 16 ==", "0 =="))
    yield shim
    shutil.rmtree(prefix)


@pytest.mark.parametrize(
    ("command", "status"),
    [(["true"], 0), (["/no/such/program"], 127), (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 137)],
)
@pytest.mark.parametrize("isolation", ["filesystem/shared", "filesystem/shared,namespaces/pid,namespaces/ipc"])
def test_every_end_of_a_launch(covered: Shim, sandbox: Path, command: list[str], status: int, isolation: str) -> None:
    """Success, both refusals after the view was made, and a command killed: as from anywhere else."""
    done = covered.run(
        *("run", "--supervise", "--isolation", isolation, "--volume", "tmp:/tmp", "--", *command), cwd=sandbox
    )
    assert done.returncode == status
    assert "internal error" not in done.stderr
    assert done.stderr.count("\n") == (1 if status in (126, 127) else 0)


def test_a_failure_takes_back_what_was_made(covered: Shim, sandbox: Path) -> None:
    """Also without a supervisor, where the refusing process stands inside the view."""
    done = covered.run("run", "--volume", "tmp:/tmp", "--", "/no/such/program", cwd=sandbox)
    assert done.returncode == 127
    assert list(sandbox.iterdir()) == []
