"""Fixtures that every folder of tests shares, its own and those of tests/lib."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import termios
from pathlib import Path

import pytest

# Before they are imported: a failed assertion of theirs then shows its values too.
pytest.register_assert_rewrite("tests.lib")

from .lib.agent.fixtures import agent_build, public, start_agent  # noqa: E402
from .lib.collection import clone  # noqa: E402
from .lib.commands import following  # noqa: E402
from .lib.containers import start  # noqa: E402
from .lib.hosts.fixtures import hosts  # noqa: E402
from .lib.shim import SOAK, Shim, install  # noqa: E402
from .lib.terminals import terminal  # noqa: E402

__all__ = ["agent_build", "clone", "following", "hosts", "public", "start", "start_agent", "terminal"]

# A job in the background of a shell without job control ignores these, and what it starts inherits that: a test that
# sends one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)


# A launch warns of those that lead below a path that it covers, /tmp for example.
for name in ("TMPDIR", "SSH_AUTH_SOCK", "KRB5CCNAME", "XAUTHORITY"):
    os.environ.pop(name, None)


def _leave_terminal() -> None:
    """Tests are at no terminal, whoever runs them: a launch of another user's would get one of its own there."""
    if os.getsid(0) != os.getpid():
        with contextlib.suppress(OSError):
            fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
            fcntl.ioctl(fd, termios.TIOCNOTTY)
            os.close(fd)


_leave_terminal()


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Soak tests run only where they are asked for by `-m soak`; one on hosts may have to build an image first."""
    for item in items:
        if SOAK and item.get_closest_marker("scaled"):
            item.add_marker(pytest.mark.soak)
            item.add_marker(pytest.mark.timeout(3600))
        if item.get_closest_marker("hosts") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
    if "soak" in (config.getoption("markexpr") or ""):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="long form: make soak"))


@pytest.fixture
def open_tmp() -> Path:
    """A fresh directory that every user can enter, unlike pytest's own; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="mesos-shim-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def _installed_once() -> Path:
    path = Path(tempfile.mkdtemp(prefix="mesos-shim-installed-", dir="/var/tmp"))
    path.chmod(0o755)
    yield install(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def shim(_installed_once: Path) -> Shim:
    """The installed shim with a fresh configuration and no records."""
    shutil.rmtree(_installed_once / "state", ignore_errors=True)
    return Shim(_installed_once)


@pytest.fixture
def sandbox(open_tmp: Path) -> Path:
    """A sandbox of the caller's."""
    path = open_tmp / "sandbox"
    path.mkdir()
    return path
