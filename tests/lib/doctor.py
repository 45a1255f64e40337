"""What doctor finds, here and on a host that a script has changed."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from .shim import Shim
from .waiting import SECONDS


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    """The report by check; its form and its exit status are judged on the way."""
    items = json.loads(done.stdout)
    for item in items:
        assert set(item) == {"check", "state", "message", "remedy"}
        assert item["state"] in ("ok", "degraded", "broken")
        assert item["message"]
        assert item["state"] == "ok" or item["remedy"], item
    assert done.returncode == int(any(item["state"] == "broken" for item in items)), items
    assert done.stderr == ""
    return {item["check"]: item for item in items}


def doctor(shim: Shim, *options: object, **keywords: Any) -> dict[str, dict[str, str]]:
    return findings(shim.run("doctor", "--json", *options, **keywords))


def in_host(shim: Shim, script: str, *unshare: str) -> dict[str, dict[str, str]]:
    """The report in a mount namespace that `script` has changed first."""
    words = ["unshare", "-m", "--propagation", "private", *unshare, "sh", "-c", f'{script}; exec "$@"', "sh"]
    words += [str(shim.program), "doctor", "--json"]
    return findings(subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS))
