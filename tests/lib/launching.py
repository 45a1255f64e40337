"""Launches through the installed program, as the tests of the shared file system need them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .shim import NOBODY, Shim

SHIM_FAILED = 125

# acl(5), include/uapi/linux/posix_acl_xattr.h
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
UNDEFINED = 0xFFFFFFFF


def volume(host_path: object, container_path: object, mode: str = "RW") -> dict[str, object]:
    """A Volume as Mesos writes it."""
    return {"host_path": str(host_path), "container_path": str(container_path), "mode": mode}


def info(*volumes: dict[str, object]) -> str:
    """A ContainerInfo with `volumes`, as the value of --container-info."""
    return json.dumps({"type": "MESOS", "volumes": list(volumes)})


def words(shim: Shim, volumes: list[dict[str, object]], *command: object, options: tuple[str, ...] = ()) -> list[str]:
    """`mesos-shim run` of `command` with `volumes`; one word is a shell's text."""
    last = [str(word) for word in command]
    if len(last) == 1:
        last = ["/bin/sh", "-c", *last]
    return [str(shim.program), "run", "--container-info", info(*volumes), *options, "--", *last]


def launch(
    shim: Shim,
    sandbox: Path,
    volumes: list[dict[str, object]],
    *command: object,
    options: tuple[str, ...] = (),
    **keywords: object,
) -> subprocess.CompletedProcess[str]:
    """Run the launch of these `words` in `sandbox`."""
    return shim.run(*words(shim, volumes, *command, options=options)[1:], cwd=sandbox, **keywords)


def give(path: Path, uid: int = NOBODY) -> Path:
    """Give `path` itself, a link for example, to the user."""
    os.chown(path, uid, uid, follow_symlinks=False)
    return path


def own_namespace(script: str, cwd: Path, propagation: str = "private") -> subprocess.CompletedProcess[str]:
    """Run a shell's `script` in a mount namespace of its own, whose mounts are of the `propagation`."""
    words = ["unshare", "-m", "--propagation", propagation, "/bin/sh", "-c", script]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a successful launch printed; nothing may have been said on stderr."""
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> str:
    """The one line of a launch that was refused: nothing was started."""
    assert (done.returncode, done.stdout) == (SHIM_FAILED, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(("mesos-shim: ", "mesos-containerizer: ")), done.stderr
    assert "internal error" not in done.stderr, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below `root` with type, mode, owner, size of files and access lists; links and mounts not followed."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *_below(root)):
        status = path.lstat()
        size = 0 if path.is_dir() else status.st_size
        names = os.listxattr(path, follow_symlinks=False)
        attributes = tuple(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in names))
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, size, attributes)
    return found


def _below(root: Path) -> Iterator[Path]:
    for entry in sorted(root.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry)


# Where the launches of the tests mount something, in views of their own.
_PLACES = ("/tmp", "/opt", "/etc", "/usr", "/sys", "/dev/shm", "/var/tmp")


def host_mounts() -> list[str]:
    """The mount table that the tests themselves see, where a launch could have left something."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(line for line in lines if line.split()[4].startswith(_PLACES))


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list of (tag, bits, id), as setxattr(2) takes it."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def acl_for(uid: int, bits: int) -> bytes:
    """rwxr-xr-x, and `bits` for the user `uid`."""
    return acl(
        (USER_OBJ, 7, UNDEFINED),
        (USER, bits, uid),
        (GROUP_OBJ, 5, UNDEFINED),
        (MASK, 7, UNDEFINED),
        (OTHER, 5, UNDEFINED),
    )
