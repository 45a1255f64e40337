# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On the controller: a release of the shim as a reproducible archive, from what is here. Nothing is downloaded."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import importlib.util
import io
import json
import platform
import re
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from ansible.errors import AnsibleError

# A host whose platform has no archive of its own gets this one, without compiled code.
ANY = "any"

_COLLECTION = Path(__file__).resolve().parents[2]
_VERSION = re.compile(r'^__version__ = "([0-9A-Za-z.+]+)"$', re.MULTILINE)


class Archive(NamedTuple):
    """One release as it travels."""

    name: str  # VERSION-DIGEST12
    sha256: str
    content: bytes


class Kept(NamedTuple):
    """One release that was made for all hosts of a run, in a file."""

    name: str
    sha256: str
    path: str

    @property
    def content(self) -> bytes:
        """The archive."""
        return Path(self.path).read_bytes()


def kept(directory: str, configured: str | None, sha256: str | None, psutil_wheel: str | None) -> dict[str, Kept]:
    """What `archives` gives, made by the first host of a run and taken from `directory` by all others.

    To pack a checkout takes a quarter of a second, which would be each host's.
    """
    key = hashlib.sha256(json.dumps([configured, sha256, psutil_wheel]).encode()).hexdigest()
    index = Path(directory, f"mesos-shim-{key}.json")
    with open(index.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the worker that holds it
        if not index.is_file():
            found = {}
            for where, archive in archives(configured, sha256, psutil_wheel).items():
                path = index.with_suffix(f".{where}")
                path.write_bytes(archive.content)
                found[where] = [archive.name, archive.sha256, str(path)]
            half = index.with_suffix(".new")
            half.write_text(json.dumps(found), encoding="utf-8")
            half.rename(index)
    return {where: Kept(*one) for where, one in json.loads(index.read_text(encoding="utf-8")).items()}


def archives(configured: str | None, sha256: str | None, psutil_wheel: str | None) -> dict[str, Archive]:
    """The release for each platform ("linux-x86_64", …, "any").

    Arguments:
        given: path of a ready archive; default is the one in a built collection, else the checkout around this file.
        sha256: what the given archive must have.
        psutil_wheel: path of psutil's abi3 wheel for a platform; for this one it goes before the psutil installed here.
    """
    bundled = bundle_name(_COLLECTION, ANY)
    if sha256 and not configured:
        raise AnsibleError(
            f"mesos_shim_archive_sha256 is {sha256}, and mesos_shim_archive names no archive that could have it"
        )
    if configured:
        return {ANY: _ready(Path(configured), sha256, "mesos_shim_archive")}
    if bundled.is_file():
        paths = [*bundled.parent.glob(bundle_name(_COLLECTION, "*").name), bundled]
        return {_platform(path): _ready(path, None) for path in paths}
    source = _COLLECTION.parent / "shim" / "mesos_shim"
    if not source.is_dir():
        raise AnsibleError(
            f"no release of the shim found: neither {bundled} nor {source}; name an archive in mesos_shim_archive"
        )
    return build(source, psutil_wheel)


def bundle_name(collection: Path, where: str) -> Path:
    """Where a built collection carries the release for a platform."""
    return collection / "files" / ("mesos-shim.tar.gz" if where == ANY else f"mesos-shim-{where}.tar.gz")


def _platform(path: Path) -> str:
    return path.name[len("mesos-shim") : -len(".tar.gz")].lstrip("-") or ANY


def build(source: Path, psutil_wheel: str | None = None) -> dict[str, Archive]:
    """Archives of a checkout: the same files always give the same bytes."""
    files = {
        f"lib/mesos_shim/{path.relative_to(source).as_posix()}": path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    version = _version(files.get("lib/mesos_shim/__init__.py", b""), source)
    files.update(_share(source.parents[1]))
    found = {ANY: _pack(files, version)}
    for where, psutil in (_installed_psutil(), _wheel(Path(psutil_wheel)) if psutil_wheel else (ANY, {})):
        if psutil:
            found[where] = _pack({**files, **psutil}, version)
    return found


def _share(checkout: Path) -> dict[str, bytes]:
    """What people need beside the program, where man(1), bash and zsh look for it below a share directory."""
    places = {
        "share/man/man1/mesos-shim.1": "man/mesos-shim.1",
        "share/bash-completion/completions/mesos-shim": "completion/mesos-shim",
        "share/zsh/site-functions/_mesos-shim": "completion/_mesos-shim",
    }
    return {name: (checkout / path).read_bytes() for name, path in places.items() if (checkout / path).is_file()}


def _version(init: bytes, where: Path) -> str:
    match = _VERSION.search(init.decode())
    if not match:
        raise AnsibleError(f"{where}: no release of the shim, lib/mesos_shim/__init__.py names no __version__")
    return match[1]


def _ready(path: Path, sha256: str | None, what: str = "archive") -> Archive:
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if sha256 and sha256.lower() != digest:  # first: half a download is blamed on what it lacks
            raise AnsibleError(
                f"mesos_shim_archive {path} has the SHA-256 {digest}, not {sha256} as mesos_shim_archive_sha256 says: "
                "copy the archive again, or correct the digest"
            )
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as tar:
            member = tar.extractfile("lib/mesos_shim/__init__.py")
            version = _version(member.read() if member else b"", path)
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise AnsibleError(
            f"{what} {path}: {error}: give a release of mesos-shim, as files/mesos-shim.tar.gz of a built collection"
        ) from error
    return Archive(f"{version}-{digest[:12]}", digest, content)


def _pack(files: dict[str, bytes], version: str) -> Archive:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(files[name]), 0o644, 0
            tar.addfile(member, io.BytesIO(files[name]))
    content = gzip.compress(raw.getvalue(), mtime=0)
    digest = hashlib.sha256(content).hexdigest()
    return Archive(f"{version}-{digest[:12]}", digest, content)


def _installed_psutil() -> tuple[str, dict[str, bytes]]:
    """The controller's own psutil, where its compiled part serves every Python 3 of this platform."""
    spec = importlib.util.find_spec("psutil")
    if sys.platform not in ("linux", "darwin") or spec is None or spec.origin is None:
        return ANY, {}
    package = Path(spec.origin).parent
    if not list(package.glob("*.abi3.so")):
        return ANY, {}
    files = {f"lib/psutil/{path.name}": path.read_bytes() for path in package.iterdir() if _of_psutil(path.name)}
    for path in package.parent.glob("psutil-*.dist-info/**/LICENSE"):
        files["lib/psutil/LICENSE"] = path.read_bytes()
    return f"{sys.platform}-{platform.machine()}", files


def _wheel(path: Path) -> tuple[str, dict[str, bytes]]:
    match = re.fullmatch(
        r"psutil-[0-9.]+-cp3[0-9]+-abi3-(manylinux|linux|macosx)\w*_(x86_64|aarch64|arm64)[\w.]*\.whl", path.name
    )
    if not match:
        raise AnsibleError(f"psutil_wheel {path} is not a psutil wheel for Linux or macOS with the abi3 tag")
    files = {}
    try:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                parts = name.split("/")
                if parts[0] == "psutil" and len(parts) == 2 and _of_psutil(parts[1]):
                    files[f"lib/{name}"] = wheel.read(name)
                elif parts[0].endswith(".dist-info") and parts[-1] == "LICENSE":
                    files["lib/psutil/LICENSE"] = wheel.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise AnsibleError(f"psutil_wheel {path}: {error}") from error
    return f"{'darwin' if match[1] == 'macosx' else 'linux'}-{match[2]}", files


def _of_psutil(name: str) -> bool:
    return name.endswith((".py", ".abi3.so"))
