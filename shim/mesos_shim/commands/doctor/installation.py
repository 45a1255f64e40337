"""What was installed and configured: interpreter, psutil, configuration, records, launcher, the agent's build."""

import mmap
import os
import stat
import sys
from pathlib import Path
from typing import Iterator, Optional

import mesos_shim

from ...containers import membership, processes, record, registry
from ...containers.counters import Counters
from ...errors import ShimError, reason
from ...spec.config import Config
from ...system import files, guarded_walk
from . import agents_records, private
from .finding import BROKEN, DEGRADED, OK, Finding, checked

# src/slave/containerizer/mesos/containerizer.cpp, only with --enable-launcher-sealing.
_SEALED = b"Failed to clone a sealed file '"
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/usr/lib/mesos", "/opt/mesosphere/lib")
_AGENTS = ("mesos-agent", "mesos-slave", "lt-mesos-agent", "lt-mesos-slave")
_LOW_SPACE = 1 << 20


def system() -> "list[Finding]":
    """The program itself and its interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    findings = [
        Finding("mesos-shim", OK, f"{mesos_shim.__version__} on Python {version} ({sys.executable}), {sys.platform}")
    ]
    if not processes.LINUX:
        findings.append(
            Finding(
                "isolation",
                DEGRADED,
                f"{sys.platform} has no mount namespaces, so every launch is usage-only",
                "use Linux",
            )
        )
    blocked = _not_for_all(Path(sys.executable))
    if blocked is not None:
        findings.append(
            Finding(
                "interpreter",
                DEGRADED,
                f"ordinary users cannot execute it: {blocked} is not searchable by other users",
                f"chmod o+rx {blocked}, or stage the release with another interpreter",
            )
        )
    if getattr(mesos_shim, "__spec__", None) is not None and "/releases/" in str(mesos_shim.__path__):
        findings.append(
            Finding(
                "release",
                DEGRADED,
                "staged by another version of its interpreter, so a launch loads its modules one by one "
                "and takes 2 ms longer",
                "stage and activate the release again",
            )
        )
    return findings


def _not_for_all(path: Path) -> "Optional[Path]":
    """The first directory on the way to `path`, or `path` itself, that others may not pass."""
    real = path.resolve()
    for step in (*reversed(real.parents), real):
        try:
            if not step.stat().st_mode & stat.S_IXOTH:
                return step
        except OSError:
            return step
    return None


def configuration_text(config: Config, path: str) -> str:
    """What the configuration says, in short."""
    if config.path is None:
        return f"none at {path}: the defaults ({', '.join(config.isolation)})"
    return f"{path}: {', '.join(config.isolation)}"


def configuration_remedy(path: str) -> str:
    """What fixes a configuration that is not taken."""
    try:
        status = os.stat(path)
    except OSError:
        return f"mesos-shim validate {path}"
    if not files.is_trusted(status):
        return f"check what it says, then chown root {path}"
    if status.st_mode & 0o022:
        return f"chmod go-w {path}"
    return f"mesos-shim validate {path}"


def configuration_directory(path: str) -> "list[Finding]":
    """Whether somebody else could put another configuration in its place."""
    findings = []
    for step in Path(path).parents:
        try:
            status = step.stat()
        except OSError:
            continue
        others = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if others or not files.is_trusted(status):
            findings.append(
                Finding(
                    "configuration",
                    BROKEN,
                    f"{step} belongs to uid {status.st_uid} with mode {stat.S_IMODE(status.st_mode):04o}, "
                    "so others can replace the configuration that controls what root runs",
                    f"chown root {step} && chmod go-w {step}",
                )
            )
    return findings


def examine(config: Config) -> "list[Finding]":
    """psutil, records, launcher directory, packaged helper, the agent's build."""
    findings = checked("psutil", lambda: [_psutil()])
    findings += checked("records", lambda: [_state(config)])
    findings += checked("containers", lambda: _ended(config))
    findings += agents_records.examine(config, lambda: [_state(config), *_ended(config)])
    findings += checked("private dirs", lambda: private.examine(config))
    findings += checked("launcher", _launcher)
    findings += checked("packaged helper", lambda: _packaged(config))
    if processes.LINUX:
        findings += checked("agent", lambda: _agent(config))
    return findings


def _psutil() -> Finding:
    psutil = processes.psutil_module()
    if psutil is None:
        text = "missing: 'usage' reads /proc instead" if processes.LINUX else "missing: 'ps' and 'usage' cannot work"
        remedy = "install a release that carries psutil for this platform, or the system's python3-psutil"
        return Finding("psutil", DEGRADED if processes.LINUX else BROKEN, text, remedy)
    return Finding("psutil", OK, f"{psutil.__version__} ({Path(str(psutil.__file__)).parent})")


def _state(config: Config) -> Finding:
    path = record.state_dir(config.state_dir)
    try:
        place = record.open_place(path)
    except OSError as error:
        return Finding(
            "records",
            DEGRADED,
            f"{path}: {reason(error)}; launches continue, but ps, usage and gc will not know their containers",
            _state_remedy(config, path),
        )
    try:
        found = os.fstatvfs(place.fd)
        if found.f_flag & os.ST_RDONLY:
            return Finding(
                "records",
                DEGRADED,
                f"{path}: read-only, so no container will be recorded",
                f"mount -o remount,rw {path}",
            )
        if found.f_bavail * found.f_frsize < _LOW_SPACE or (found.f_files and found.f_favail < 10):
            return Finding(
                "records",
                DEGRADED,
                f"{path}: full, so no container will be recorded",
                "mesos-shim gc, or free some space there",
            )
        if place.missing and not os.access(f"/proc/self/fd/{place.fd}" if processes.LINUX else path, os.W_OK):
            return Finding("records", DEGRADED, f"{path}: cannot be made there", _state_remedy(config, path))
    finally:
        os.close(place.fd)
    return Finding("records", OK, f"{path}{' (not yet made)' if place.missing else ''}")


def _state_remedy(config: Config, path: str) -> str:
    if os.geteuid() == 0:
        return f"install -d -m 0700 -o root {path}"
    if config.state_dir is not None:
        return "leave state_dir out of the configuration: each user's records are then in that user's run directory"
    return f"set XDG_RUNTIME_DIR to a directory of your own, or have the file at {path} removed"


def _ended(config: Config) -> "list[Finding]":
    state = record.state_dir(config.state_dir)
    try:
        entries, warnings = registry.read_all(state)
    except registry.Closed as error:
        return [Finding("containers", DEGRADED, str(error), "as root: mesos-shim doctor")]
    except ShimError as error:
        directory = f"{state}/containers"
        return [Finding("containers", BROKEN, str(error), f"chown root {directory} && chmod go-w {directory}")]
    members = membership.find(entries, processes.table(), Counters(state, locked=False).previous_members(entries))
    findings = []
    if warnings:
        more = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        findings.append(Finding("containers", DEGRADED, warnings[0] + more, "mesos-shim gc"))
    findings += [
        Finding("containers", DEGRADED, warning, "run it as root, on the host") for warning in members.unseen()
    ]
    ended = [entry for entry in entries if members.ended(entry)]
    if ended:
        text = f"{len(ended)} records of containers that have ended"
        findings.append(Finding("containers", DEGRADED, text, "mesos-shim gc"))
    return findings


def prefix() -> "Optional[Path]":
    """The prefix of the installation that this program belongs to, None for a checkout."""
    for parent in Path(mesos_shim.__path__[0]).parents:
        if parent.parent.name == "releases":
            return parent.parent.parent
    return None


def _launcher() -> "list[Finding]":
    """The directory that an agent is given as --launcher_dir."""
    top = prefix()
    if top is None:
        return [Finding("launcher", OK, "not installed (a checkout): there is no launcher directory")]
    launcher = top / "launcher"
    helper = launcher / "mesos-containerizer"
    if not helper.exists():
        return [
            Finding(
                "launcher",
                BROKEN,
                f"{helper} points to a missing file, so an agent cannot launch",
                "activate a release again",
            )
        ]
    findings = []
    for link in sorted(launcher.iterdir()):
        if not link.exists():
            text = f"{link} points to a missing file: {os.readlink(link)}"
            findings.append(Finding("launcher", BROKEN, text, "install Mesos there, then activate the release again"))
    for directory in (top, top / "bin", launcher, top / "releases"):
        status = directory.stat()
        if files.others_write(status):
            text = f"{directory}: uid {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}: others can write there"
            findings.append(Finding("launcher", BROKEN, text, f"chown root {directory} && chmod go-w {directory}"))
    return findings or [Finding("launcher", OK, f"{launcher} ({len(list(launcher.iterdir()))} programs)")]


def _packaged(config: Config) -> "list[Finding]":
    path = config.packaged_helper
    if path is None:
        return []
    try:
        status = os.stat(path)
    except OSError as error:
        text = f"packaged_helper {path}: {reason(error)}, so launches that need it are refused"
        return [Finding("packaged helper", BROKEN, text, "install Mesos, or correct packaged_helper")]
    if files.others_write(status):
        text = f"packaged_helper {path}: users other than root can write it, so it is not run"
        return [Finding("packaged helper", BROKEN, text, f"chown root {path} && chmod go-w {path}")]
    return [Finding("packaged helper", OK, path)]


def _agent(config: Config) -> "list[Finding]":
    """What is to be said of the Mesos that is installed or runs here."""
    libraries = sorted(set(_libraries(config)))
    if not libraries:
        return [Finding("agent", OK, "no Mesos found here")]
    findings = []
    for library in libraries:
        if _contains(library, _SEALED):
            findings.append(
                Finding(
                    "launcher sealing",
                    BROKEN,
                    f"{library} is built with launcher sealing, so the agent runs its helper from memory, where a "
                    "script cannot run",
                    "use a build without --enable-launcher-sealing",
                )
            )
        if "libmesos-0." in library.name:
            findings.append(
                Finding(
                    "agent",
                    DEGRADED,
                    f"{library}: a 0.x agent passes the framework's environment to its root helper, and LD_PRELOAD "
                    "takes effect before any program starts, so there is no defense against untrusted frameworks",
                    "let only trusted frameworks register, or use Mesos 1.x",
                )
            )
    return findings or [Finding("agent", OK, f"{', '.join(map(str, libraries))}: no launcher sealing")]


def _libraries(config: Config) -> "Iterator[Path]":
    directories = [Path(name) for name in _LIBRARIES]
    if config.packaged_helper is not None:
        directories += [parent / "lib" for parent in Path(config.packaged_helper).resolve().parents]
    for directory in directories:
        if directory.is_dir():
            yield from (path.resolve() for path in directory.glob("libmesos-*.so"))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # Whose process it is says whose words these are: anybody may call theirs so.
            if not files.is_trusted(process.stat()):
                continue
            if (process / "comm").read_text(errors="replace").strip() not in _AGENTS:
                continue
            for line in (process / "maps").read_text(errors="replace").splitlines():
                name = line.rpartition(" ")[2]
                if "/libmesos-" in name and ".so" in name:
                    yield Path(name)
        except OSError:
            continue


def _contains(path: Path, text: bytes) -> bool:
    """Whether the file holds `text`; not where it is no file of root's or ours: a FIFO waits, a device may act."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        way = guarded_walk.walk(str(path)) if processes.LINUX else os.open(path, flags)
        try:
            status = os.fstat(way)
            if not stat.S_ISREG(status.st_mode) or not files.is_trusted(status):
                return False
            again = f"/proc/self/fd/{way}" if processes.LINUX else path
            with open(again, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(text) >= 0
        finally:
            os.close(way)
    except (OSError, ValueError):
        return False
