"""The installed program on a masked platform (masked_platform.py), as on macOS."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from .containers import SERVANT
from .shim import PYTHON, Shim
from .streams import piped
from .waiting import SECONDS

MASK = Path(__file__).with_name("masked_platform.py")


class Elsewhere:
    """The installed program on a system that has nothing of Linux's own."""

    def __init__(self, shim: Shim, sandbox: Path) -> None:
        self.shim = shim
        self.sandbox = sandbox

    def words(self, *arguments: object) -> list[str]:
        lib = self.shim.prefix / "current/lib"
        return [PYTHON, "-ISB", str(MASK), str(lib), str(self.shim.config_path), *map(str, arguments)]

    def run(self, *arguments: object, **keywords: Any) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            self.words(*arguments),
            cwd=self.sandbox,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            **keywords,
        )
        return done

    def start(self, *options: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.words("run", *options, "--", PYTHON, "-c", SERVANT),
            cwd=self.sandbox,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert piped(process.stdout).readline().startswith("ready"), piped(process.stderr).read()
        return process
