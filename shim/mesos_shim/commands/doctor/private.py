"""Private directories of every container: are their places there, safe, and large enough?"""

import os

from ...containers import processes
from ...errors import ShimError
from ...plan import private_bases
from ...spec.config import Config
from ...spec.config_tables import PrivateDirectory
from ...system.files import trusted_uids
from ...system.walk import Missing
from .finding import BROKEN, DEGRADED, OK, Finding

_LOW_SPACE = 1 << 20


def examine(config: Config) -> "list[Finding]":
    """One finding for each that is not as it should be, else one for all."""
    if not config.private_directories:
        return []
    names = ", ".join(item.container_path for item in config.private_directories)
    if not processes.LINUX:
        return [_finding(DEGRADED, f"{names}: no container gets one, because launches are usage-only", "use Linux")]
    if "filesystem/shared" not in config.isolation:
        text = f"{names}: no container gets one, because filesystem/shared is not in isolation"
        return [_finding(DEGRADED, text, "add filesystem/shared to isolation, or remove private_directories")]
    findings = [found for item in config.private_directories for found in (_target(item), _size(item, config)) if found]
    findings += [found for base in _bases(config) for found in [_base(base, config)] if found]
    return findings or [_finding(OK, f"{names}: for every container")]


def _finding(state: str, text: str, remedy: str = "") -> Finding:
    return Finding("private dirs", state, text, remedy)


def _target(item: PrivateDirectory) -> "Finding | None":
    if os.path.isdir(item.container_path):
        return None
    text = f"{item.container_path} is not a directory here, so every launch is refused"
    return _finding(BROKEN, text, f"mkdir {item.container_path}, or remove it from private_directories")


def _size(item: PrivateDirectory, config: Config) -> "Finding | None":
    if not item.quota or "disk/du" in config.isolation:
        return None
    text = f"{item.container_path}: its size is not counted, because disk/du is not in isolation"
    return _finding(DEGRADED, text, "add disk/du to isolation, or remove the size")


def _bases(config: Config) -> "list[str]":
    return sorted({item.base for item in config.private_directories if item.base is not None})


def _base(path: str, config: Config) -> "Finding | None":
    try:
        found = private_bases.base(path, trusted_uids())
    except Missing as error:
        return _finding(BROKEN, f"{error}; every launch is refused", f"install -d -m 0755 -o root {path}")
    except ShimError as error:
        return _finding(BROKEN, f"{error}; every launch is refused", f"chown root {path} && chmod go-w {path}")
    try:
        space = os.fstatvfs(found.fd)
        wanted = sum(item.quota for item in config.private_directories if item.base == path)
        free = space.f_bavail * space.f_frsize
        if space.f_flag & os.ST_RDONLY:
            return _finding(BROKEN, f"{path}: read-only, so every launch is refused", f"mount -o remount,rw {path}")
        if not os.access(f"/proc/self/fd/{found.fd}", os.W_OK):
            return _finding(BROKEN, f"{path}: uid {os.geteuid()} cannot write there", f"chown it to {os.geteuid()}")
        if free < max(wanted, _LOW_SPACE) or (space.f_files and space.f_favail < 10):
            text = f"{path}: {free >> 20} MiB are free, but one container may take {wanted >> 20}"
            return _finding(DEGRADED, text, "mesos-shim gc, or free some space there")
    finally:
        os.close(found.fd)
    return None
