"""Times programs in a mount namespace of its own: commands come in as JSON lines, times go out."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress

from tests.lib.shim import CHECKOUT

from .measure import ENVIRONMENT, Command, Sample


class Worker:
    """Another host, as far as mounts go: a process in a mount namespace of its own, where `/` is shared as on hosts.

    `mounts` more mounts are made there first.
    """

    def __init__(self, mounts: int, directory: str) -> None:
        words = ["/usr/bin/unshare", "-m", "--propagation", "private", sys.executable, "-m", "benchmarks.worker"]
        self._process = subprocess.Popen(
            [*words, str(mounts), directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
        )
        self.mounts = int(self._answer())

    def __call__(self, command: Command) -> Sample:
        """One run over there."""
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps([command.words, command.cwd, dict(command.environment), command.fresh]) + "\n"
        )
        self._process.stdin.flush()
        return Sample(*json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker has ended")
        return line

    def end(self) -> None:
        """The namespace goes with its last process."""
        with suppress(BrokenPipeError):
            self._process.communicate("", timeout=60)


def main(mounts: int, directory: str) -> None:
    """Serve until the input ends."""
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    if mounts:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "many", directory], check=True)
        script = 'cd "$1" && for n in $(seq "$2"); do mkdir $n && mount -t tmpfs -o size=4k m $n || exit 1; done'
        subprocess.run(["/bin/sh", "-c", script, "sh", directory, str(mounts)], check=True, env=ENVIRONMENT)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        print(len(table.readlines()), flush=True)
    for line in sys.stdin:
        sample = Command(*json.loads(line))()
        print(json.dumps([sample.wall, sample.cpu]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
