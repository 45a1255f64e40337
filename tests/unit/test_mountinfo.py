"""The one parser of a mount table: whatever a user calls the directory that they mount on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mesos_shim.system import mountinfo

from ..lib.shim import needs_linux, needs_root

TABLE = (
    b"22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw,errors=remount-ro\n"
    b"36 22 0:31 /a\\040b /mnt/x\\040y\\134040 ro,nosuid - fuse.sshfs  rw,user_id=1000,group_id=1000\n"
    b"37 22 0:32 / /mnt/\xff\r37 rw - tmpfs none rw\n"
    b"nonsense\n"
)


def test_the_fields_of_a_line() -> None:
    root, user, last = mountinfo.parse(TABLE)
    assert (root.id, root.parent, root.device, root.path, root.shared) == (22, 1, "8:1", "/", True)
    assert (root.optional, root.kind) == (["shared:1", "master:2"], "ext4")
    assert (user.root, user.path, user.options) == ("/a b", "/mnt/x y\\040", ["ro", "nosuid"])
    assert (user.shared, user.kind) == (False, "fuse.sshfs")
    assert user.super_options == ["rw", "user_id=1000", "group_id=1000"]  # although it has no source
    assert (last.id, last.path, last.kind) == (37, "/mnt/\udcff\r37", "tmpfs")


@needs_linux
@needs_root
@pytest.mark.parametrize("name", ["a b", "a\tb", "a\nb", "a\\b", "a\\040b", "a\rb", "a\x0bb", "a\u2028b", "a - b"])
def test_what_the_kernel_says_of_a_name(open_tmp: Path, name: str) -> None:
    """A carriage return is not escaped there, and a reader that takes it for the end of a line loses the mount."""
    place = open_tmp / name
    place.mkdir()
    text = "import sys; from mesos_shim.system import mountinfo; print([ascii(m.path) for m in mountinfo.read()])"
    words = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none "$1" && exec "$2" -c "$3"', "sh", place, sys.executable]
    done = subprocess.run([*words, text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ascii(str(place)) in eval(done.stdout)
