"""An installed shim: made from the checkout, its programs, its configuration, its records."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOAK = bool(os.environ.get("SOAK"))
NOBODY = 65534
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mount namespaces and other users' ids")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux mount namespaces")


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

    def run(self, *arguments: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
        """`mesos-shim ARGUMENTS`, its output as text."""
        keywords.setdefault("timeout", 60)
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(self.program), *map(str, arguments)], capture_output=True, text=True, check=False, **keywords
        )
        return done


def install(
    prefix: Path,
    python: str = PYTHON,
    name: str = "0.1.0-test",
    *,
    activate: bool = True,
    checkout: Path = CHECKOUT,
    options: tuple[str, ...] = (),
) -> Path:
    """Stage and, unless told otherwise, activate the checkout's shim at `prefix`, by its own release.py.

    options: more words for the staging.
    """
    with tempfile.TemporaryDirectory() as unpacked:
        lib = Path(unpacked) / "lib"
        shutil.copytree(checkout / "shim/mesos_shim", lib / "mesos_shim", ignore=shutil.ignore_patterns("__pycache__"))
        add_psutil(lib)
        release = [python, "-ISB", str(lib / "mesos_shim/release.py")]
        for action in (["stage", "--source", unpacked, *options], *([["activate"]] if activate else [])):
            subprocess.run(
                [*release, *action, "--prefix", str(prefix), "--name", name], check=True, capture_output=True
            )
    return prefix


def add_psutil(lib: Path) -> None:
    """The reader of usage, where its compiled part serves every Python 3 of this system."""
    spec = importlib.util.find_spec("psutil")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    (lib / "psutil").mkdir()
    for path in (*package.glob("*.py"), *package.glob("*.abi3.so")):
        shutil.copy(path, lib / "psutil" / path.name)


SHIM = CHECKOUT / "shim/mesos_shim"
