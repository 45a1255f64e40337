"""The kernel's autofs at a directory, as automount(8) and systemd's automount units have it: mounted when it is used.

Its daemon is ours: a direct map of one entry, a tmpfs with a directory `project` and a file in it (autofs(5),
Documentation/filesystems/autofs.rst of the kernel).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .shim import PYTHON

_KNOWN = Path("/proc/filesystems")
needs_autofs = pytest.mark.skipif(
    not _KNOWN.exists() or "autofs" not in _KNOWN.read_text().split(), reason="needs a kernel with autofs"
)

# What the daemon's own process group does waits for nobody, so it is one of its own.
_DAEMON = """
import ctypes, fcntl, os, struct, sys
path, inside, answers = sys.argv[1], sys.argv[2], sys.argv[3] == "answers"
READY, FAIL, MISSING_DIRECT = 0x9360, 0x9361, 5
libc = ctypes.CDLL(None, use_errno=True)

def mount(kind, options):
    if libc.mount(kind.encode(), os.fsencode(path), kind.encode(), 0, options.encode()):
        sys.exit(os.strerror(ctypes.get_errno()))

requests, kernels_end = os.pipe()
mount("autofs", f"fd={kernels_end},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct")
os.close(kernels_end)
trigger = os.open(path, os.O_RDONLY)
print("mounted", flush=True)
while packet := os.read(requests, 304):
    version, kind, token = struct.unpack_from("=iiI", packet)
    assert (version, kind) == (5, MISSING_DIRECT), packet
    if answers:
        mount("tmpfs", "mode=0755")
        os.makedirs(f"{path}/{inside}")
        os.chmod(f"{path}/{inside}", 0o755)
        open(f"{path}/{inside}/data", "w").close()
    fcntl.ioctl(trigger, READY if answers else FAIL, token)
"""


class Automount:
    """An automount point at `path` with its daemon."""

    def __init__(self, path: Path, inside: str = "project", *, answers: bool = True) -> None:
        self.path = path
        words = [PYTHON, "-c", _DAEMON, str(path), inside, "answers" if answers else "fails"]
        self._daemon = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
        assert self._daemon.stdout is not None
        assert self._daemon.stdout.readline() == b"mounted\n"

    def mounted(self) -> bool:
        """Whether something has used it since it was last idle."""
        return f" {self.path} rw,relatime - tmpfs " in Path("/proc/self/mountinfo").read_text()

    def expire(self) -> None:
        """Unmount what lies there, as the daemon does when nothing has used it for a while."""
        subprocess.run(["umount", "--no-canonicalize", str(self.path)], check=True)

    def close(self) -> None:
        """Unmount it, and end the daemon."""
        words = ["umount", "--no-canonicalize", "-l", str(self.path)]
        while subprocess.run(words, check=False, capture_output=True).returncode == 0:
            pass
        self._daemon.kill()
        self._daemon.wait()
