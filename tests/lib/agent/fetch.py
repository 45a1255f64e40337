"""Brings a real Mesos 1.11.0 agent from the package registry.

The wheel-less archive `mesos.scheduler` on PyPI is the native scheduler driver, whose shared object holds all
of libmesos. With the master's name `local` the driver starts a real master and a real agent in its own process.
What Debian no longer has (OpenSSL 1.0, libcurl with OpenSSL's symbol version) is made good here:

- `psycopg2-binary` 2.7.7 bundles OpenSSL 1.0.2;
- libcurl comes from the system in its GnuTLS build. The object asks for symbol version CURL_OPENSSL_3 where
  that build offers CURL_GNUTLS_3, so the name and its hash are exchanged in place; the file is pinned by
  digest before and after, so this can be no other file and no other place.

The result lies in a cache outside of the checkout, complete or not at all, and is made once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

# pip requirement, file name, sha256. Pins are exact: nothing else is ever unpacked.
ARTEFACTS = (
    (
        "mesos.scheduler===1.11.0.linux-x86_64",
        "mesos.scheduler-1.11.0.linux-x86_64.tar.gz",
        "1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e",
    ),
    (
        "mesos.interface==1.11.0",
        "mesos.interface-1.11.0-py2-none-any.whl",
        "fb2fdf3830bc4ac42b5bc73fb55c648640208fc38ccc064dc4a54f898050b0a3",
    ),
    (
        "protobuf==3.17.3",
        "protobuf-3.17.3-cp27-cp27mu-manylinux_2_5_x86_64.manylinux1_x86_64.whl",
        "13ee7be3c2d9a5d2b42a1030976f760f28755fcf5863c55b1460fd205e6cd637",
    ),
    (
        "six==1.17.0",
        "six-1.17.0-py2.py3-none-any.whl",
        "4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",
    ),
    (
        "psycopg2-binary==2.7.7",
        "psycopg2_binary-2.7.7-cp27-cp27mu-manylinux1_x86_64.whl",
        "df6444f952ca849016902662e1a47abf4fa0678d75f92fd9dd27f20525f809cd",
    ),
)
# shared object that must be loadable -> Debian package that brings it
SYSTEM_LIBRARIES = {
    "libsvn_delta-1.so.1": "libsvn1",
    "libapr-1.so.0": "libapr1",
    "libaprutil-1.so.0": "libaprutil1",
    "libsasl2.so.2": "libsasl2-2",
    "libcurl-gnutls.so.4": "libcurl3-gnutls",
}
SCHEDULER = "mesos/scheduler/_scheduler.so"
PATCHED_SCHEDULER = "45da019d83e5fc2894cc48786d31ffc7edc455357910bcf8fcb93ec62bc27ee8"
LAYOUT = 1  # to be raised with any change to what _unpack makes
DIGEST = hashlib.sha256(repr((ARTEFACTS, PATCHED_SCHEDULER, LAYOUT)).encode()).hexdigest()[:12]


class Unavailable(Exception):
    """The agent cannot run on this machine; the text says why and serves as the reason for a skip."""


@dataclass(frozen=True)
class AgentBuild:
    """A Mesos agent ready to run."""

    python: str  # Python 2.7 with UCS-4
    site: Path  # for PYTHONPATH
    libraries: Path  # for LD_LIBRARY_PATH


def find_python2() -> str:
    """Returns a Python 2.7 that can load a `cp27mu` extension.

    Raises: Unavailable, with what was looked for.
    """
    found = [shutil.which("python2.7")]
    roots = {os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")}
    # Real binaries first: a pyenv shim on PATH fails unless its version is among the selected ones.
    for root in sorted(filter(None, roots)):
        found[:0] = [str(p) for p in sorted(Path(root).glob("versions/2.7*/bin/python2.7"))]
    for python in filter(None, found):
        probe = subprocess.run(
            [python, "-c", "import sys, pip; print(sys.maxunicode)"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        if probe.stdout.strip() == b"1114111":
            return python
    raise Unavailable(
        "no Python 2.7 with UCS-4 and pip (looked on PATH and in pyenv): the real agent's driver needs it"
    )


def _missing_libraries() -> list[str]:
    ldconfig = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if ldconfig is None:
        raise Unavailable("no ldconfig: the real agent is a glibc program")
    known = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return sorted(package for name, package in SYSTEM_LIBRARIES.items() if name not in known)


def _require_libraries() -> None:
    missing = _missing_libraries()
    if not missing:
        return
    apt = shutil.which("apt-get")
    command = f"apt-get install {' '.join(missing)}"
    if apt is None or os.geteuid() != 0:
        raise Unavailable(f"the real agent needs system libraries; as root: {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [apt, "-o", "DPkg::Lock::Timeout=300", "install", "-qy", "--no-install-recommends", *missing]
    first = subprocess.run(install, env=environment, capture_output=True, check=False, timeout=600)
    if first.returncode != 0:
        subprocess.run([apt, "update", "-q"], env=environment, capture_output=True, check=False, timeout=600)
        second = subprocess.run(install, env=environment, capture_output=True, text=True, check=False, timeout=600)
        if second.returncode != 0:
            raise Unavailable(f"`{command}` failed: {second.stderr.strip()[-300:]}")
    if _missing_libraries():
        raise Unavailable(f"after `{command}` still missing: {' '.join(_missing_libraries())}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(python: str, into: Path) -> None:
    for requirement, name, digest in ARTEFACTS:
        result = subprocess.run(
            [python, "-m", "pip", "download", "-q", "--no-deps", "--pre", "-d", str(into), requirement],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
            cwd=into,
        )
        # mesos.scheduler has no setup.py, so pip ends with an error after the file has arrived: only the file counts.
        artefact = into / name
        if not artefact.exists():
            raise Unavailable(f"pip could not fetch {requirement}: {result.stderr.strip()[-300:]}")
        if (actual := _sha256(artefact)) != digest:
            raise RuntimeError(f"{name}: sha256 is {actual}, pinned is {digest}")


def _gnu_hash(name: bytes) -> int:
    """The ELF hash (System V ABI, chapter 5) that a version need entry carries."""
    h = 0
    for byte in name:
        h = (h << 4) + byte
        h = (h ^ ((h & 0xF0000000) >> 24)) & 0x0FFFFFFF
    return h


def _replace_once(data: bytearray, old: bytes, new: bytes) -> None:
    if data.count(old) != 1 or len(old) != len(new):
        raise RuntimeError(f"{SCHEDULER}: {old!r} occurs {data.count(old)} times, expected once")
    at = data.index(old)
    data[at : at + len(old)] = new


def _use_gnutls_curl(shared_object: Path) -> None:
    """Asks for libcurl's symbols by the version that Debian's GnuTLS build gives them."""
    old, new = b"CURL_OPENSSL_3", b"CURL_GNUTLS_3"
    data = bytearray(shared_object.read_bytes())
    _replace_once(data, b"\0" + old + b"\0", b"\0" + new.ljust(len(old), b"\0") + b"\0")
    # Elf64_Vernaux: hash, flags 0, version index 6 (of this file)
    _replace_once(data, struct.pack("<IHH", _gnu_hash(old), 0, 6), struct.pack("<IHH", _gnu_hash(new), 0, 6))
    shared_object.write_bytes(data)
    if (actual := _sha256(shared_object)) != PATCHED_SCHEDULER:
        raise RuntimeError(f"{SCHEDULER}: sha256 after the change is {actual}, pinned is {PATCHED_SCHEDULER}")


def _unpack(downloads: Path, into: Path) -> None:
    site, libraries = into / "site", into / "lib"
    libraries.mkdir()
    for _, name, _ in ARTEFACTS:
        if name.startswith("mesos.scheduler"):
            with tarfile.open(downloads / name) as archive:
                for member in archive:
                    _, found, inside = member.name.partition("/dist-packages/mesos/")
                    if found and member.isfile() and not inside.endswith(".pyc"):
                        target = site / "mesos" / inside
                        target.parent.mkdir(parents=True, exist_ok=True)
                        source = archive.extractfile(member)
                        assert source is not None  # a file's
                        with source, target.open("wb") as sink:
                            shutil.copyfileobj(source, sink)
        else:
            with zipfile.ZipFile(downloads / name) as wheel:
                wheel.extractall(into / "psycopg2" if name.startswith("psycopg2") else site)
    # One directory each, so these are plain packages; the *-nspkg.pth files are not needed.
    (site / "mesos/__init__.py").touch()
    (site / "google/__init__.py").touch()
    _use_gnutls_curl(site / SCHEDULER)
    bundled = into / "psycopg2/psycopg2/.libs"
    for library in bundled.iterdir():
        shutil.move(str(library), str(libraries / library.name))
        for name in ("libssl", "libcrypto"):
            if library.name.startswith(name + "-"):
                (libraries / f"{name}.so.1.0.0").symlink_to(library.name)
    shutil.rmtree(into / "psycopg2")
    # Found under the name that the object needs; the loader's search path leads on to the system's file.
    gnutls = next(p for d in ("/usr/lib", "/lib", "/usr/lib64") for p in Path(d).glob("**/libcurl-gnutls.so.4"))
    (libraries / "libcurl.so.4").symlink_to(gnutls)


def build(cache: Path | None = None) -> AgentBuild:
    """Returns the agent, fetched and built on first use; safe under concurrent calls.

    Raises: Unavailable where this machine cannot have it; RuntimeError where an artefact is not the pinned one.
    """
    if os.geteuid() != 0:
        raise Unavailable("not root: the real agent's linux launcher needs cgroups and mount namespaces")
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise Unavailable("the packaged real agent is for Linux on x86_64 only")
    python = find_python2()
    _require_libraries()
    root = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mesos-shim-tests"
    root.mkdir(parents=True, exist_ok=True)
    home = root / f"agent-{DIGEST}"
    ready = AgentBuild(python, home / "site", home / "lib")
    with (root / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            for stale in root.glob("half-*"):  # what a killed run left; under the lock nobody else has one
                shutil.rmtree(stale)
            half = Path(tempfile.mkdtemp(prefix="half-", dir=root))
            (half / "downloads").mkdir()
            _download(python, half / "downloads")
            _unpack(half / "downloads", half)
            shutil.rmtree(half / "downloads")
            half.rename(home)
    return ready


if __name__ == "__main__":
    try:
        print(build())
    except Unavailable as reason:
        sys.exit(f"the real agent is not available: {reason}")
