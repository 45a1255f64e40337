"""Stops a launch right after one of its system calls and takes the attacker's step there: a race without chance.

strace sends the SIGSTOP on the way into the call, so that the program stands before its next one until it is let go.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path


def between(
    words: list[str], cwd: Path, call: str, number: int, step: Callable[[], object]
) -> subprocess.CompletedProcess[str]:
    """Run the program `words`, and `step` while it stands after its `number`-th call of the name `call`."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        os.mkfifo(log)
        inject = f"inject={call}:signal=SIGSTOP:when={number}"
        strace = ["strace", "-qqq", "-o", str(log), "-e", f"trace={call}", "-e", inject, "--"]
        with subprocess.Popen(
            [*strace, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process, log.open() as lines:
            seen = []
            for line in lines:
                seen.append(line)
                if "stopped by SIGSTOP" in line:
                    break
            else:
                raise AssertionError(f"{call} #{number} was never called: {seen}: {process.communicate()}")
            try:
                step()
            finally:
                (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
                os.kill(int(child), signal.SIGCONT)
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)
