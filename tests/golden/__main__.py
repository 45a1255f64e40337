"""Writes the expected plans and calls anew, of this checkout: `.venv/bin/python -m tests.golden`, as root."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from ..lib.shim import install
from .host import EXPECTED, fresh
from .launches import LAUNCHES, traced
from .plans import PLANS, explained


def main() -> None:
    """Play all of them, then write: nothing is written where one fails."""
    prefix = Path(tempfile.mkdtemp(prefix="mesos-shim-golden-", dir="/var/tmp"))
    prefix.chmod(0o755)
    found = {}
    try:
        install(prefix)
        for name in PLANS:
            with fresh(prefix) as host:
                found[f"plans/{name}.json"] = json.dumps(explained(name, host), indent=2) + "\n"
        for name in LAUNCHES:
            with fresh(prefix) as host:
                found[f"calls/{name}.txt"] = "\n".join(traced(name, host)) + "\n"
    finally:
        shutil.rmtree(prefix)
    shutil.rmtree(EXPECTED, ignore_errors=True)
    for name, text in found.items():
        path = EXPECTED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


main()
