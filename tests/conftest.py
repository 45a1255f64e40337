"""Fixtures that every folder of tests shares: an installed shim, directories that task users can enter."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SOAK = bool(os.environ.get("SOAK"))
NOBODY = 65534
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount namespaces and other users' ids")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux mount namespaces")

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


class Shim:
    """An installed shim: its programs, its configuration, its records."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.program = prefix / "bin/mesos-shim"
        self.helper = prefix / "launcher/mesos-containerizer"
        self.config_path = prefix / "etc/mesos-shim/config.json"
        self.state_dir = prefix / "state"
        self.configure()

    def configure(self, **keys: object) -> None:
        """Write the configuration anew: `keys` over a state directory of its own."""
        self.config_path.parent.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(json.dumps({"state_dir": str(self.state_dir), **keys}))
        self.config_path.chmod(0o644)

    def run(self, *arguments: object, **keywords: object) -> subprocess.CompletedProcess[str]:
        """`mesos-shim ARGUMENTS`, its output as text."""
        keywords.setdefault("timeout", 60)
        return subprocess.run(
            [str(self.program), *map(str, arguments)], capture_output=True, text=True, check=False, **keywords
        )


def install(
    prefix: Path, python: str = PYTHON, name: str = "0.1.0-test", *, activate: bool = True, checkout: Path = CHECKOUT
) -> Path:
    """Stage and, unless told otherwise, activate the checkout's shim at `prefix`, by its own release.py."""
    with tempfile.TemporaryDirectory() as unpacked:
        lib = Path(unpacked) / "lib"
        shutil.copytree(checkout / "shim/mesos_shim", lib / "mesos_shim", ignore=shutil.ignore_patterns("__pycache__"))
        _add_psutil(lib)
        release = [python, "-ISB", str(lib / "mesos_shim/release.py")]
        for action in (["stage", "--source", unpacked], *([["activate"]] if activate else [])):
            subprocess.run(
                [*release, *action, "--prefix", str(prefix), "--name", name], check=True, capture_output=True
            )
    return prefix


def _add_psutil(lib: Path) -> None:
    """The reader of usage, where its compiled part serves every Python 3 of this system."""
    spec = importlib.util.find_spec("psutil")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    (lib / "psutil").mkdir()
    for path in (*package.glob("*.py"), *package.glob("*.abi3.so")):
        shutil.copy(path, lib / "psutil" / path.name)


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
