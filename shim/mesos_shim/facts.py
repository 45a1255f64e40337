"""Finds out, read-only, what a plan needs to know of this host: where paths lead, what is there, whose it is."""

import posix

from . import linux, paths, policy
from .config import Config
from .container_info import Volume
from .errors import ShimError, reason
from .identity import Identity
from .plan import PASSABLE, Facts
from .request import FRAMEWORK, LaunchRequest, sandbox_path
from .resolve import S_IFDIR, Missing, Resolved, Status, resolve, trusted_uids

# File systems that are the kernel's own voice (include/uapi/linux/magic.h): nothing is mounted over a part of them,
# or a task could lie to every program that asks the kernel (runc CVE-2019-16884, CVE-2025-31133).
KERNEL_FILE_SYSTEMS = {
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x1CD1: "devpts",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0xCAFE4A11: "bpf",
    0x6165676C: "pstore",
    0xDE5E81E4: "efivarfs",
    0x62656570: "configfs",
    0xF97CFF8C: "selinuxfs",
    0x19800202: "mqueue",
    0x958458F6: "hugetlbfs",
    0x6E736673: "nsfs",
    0x42494E4D: "binfmt_misc",
    0x65735543: "fusectl",
}


def find(request: LaunchRequest, user: Identity, private: "list[str]") -> Facts:
    """The facts for `request`; `private` are directories that no framework's absolute source may touch."""
    trusted = trusted_uids()
    facts = Facts(sandbox(request, trusted), user)
    volumes = request.info.volumes if request.info is not None else []
    for volume in volumes:
        facts.targets[volume.container_path] = _target(volume.container_path, f"{volume.place}.container_path", trusted)
        if not volume.relative:
            facts.volume_sources[volume.host_path] = _source(volume, request, trusted, private)
    for item in request.config.tmpfs:
        facts.targets[item.container_path] = _target(item.container_path, "configuration: tmpfs", trusted)
    _find_work_dir(request.config, facts, trusted)
    _find_passes(request.config, facts, trusted)
    return facts


def sandbox(request: LaunchRequest, trusted: "tuple[int, ...]") -> Resolved:
    """The sandbox; where it is the current directory, that very directory, wherever its name leads by now."""
    path = sandbox_path(request)
    if path == "/":
        raise ShimError("the sandbox is '/'; change into a directory of the task's own, or give --sandbox DIR")
    if request.sandbox is not None:
        found = resolve(path, "--sandbox", trusted)
    else:
        # Where the caller stands needs no judgement: he is there.
        fd = posix.open(".", linux.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        found = Resolved(path, fd, posix.fstat(fd), _levels(path), None)
    if found.kind != S_IFDIR:
        raise ShimError(f"--sandbox: {path!r} is not a directory")
    return found


def _levels(path: str) -> "list[Status]":
    parts = paths.split(path)
    try:
        return [Status(posix.lstat(paths.join(parts[: depth + 1]))) for depth in range(len(parts))]
    except OSError as error:
        raise ShimError(f"the current directory {path!r}: {reason(error)}; give --sandbox DIR") from None


def _target(path: str, what: str, trusted: "tuple[int, ...]") -> Resolved:
    try:
        found = resolve(path, what, trusted)
    except Missing as error:
        raise ShimError(f"{error}; a container_path must exist on the host") from None
    kind = KERNEL_FILE_SYSTEMS.get(linux.file_system_type(found.fd))
    if kind is not None:
        raise ShimError(f"{what}: {path!r} is on {kind}, which belongs to the kernel")
    if found.path == "/":
        raise ShimError(f"{what}: {path!r} leads to the root directory")
    return found


def _source(volume: Volume, request: LaunchRequest, trusted: "tuple[int, ...]", private: "list[str]") -> Resolved:
    found = resolve(volume.host_path, f"{volume.place}.host_path", trusted)
    if request.origin == FRAMEWORK:
        policy.check_private(found.path, volume.place, private)
    return found


def _find_work_dir(config: Config, facts: Facts, trusted: "tuple[int, ...]") -> None:
    if not config.hide_work_dir:
        return
    path = config.work_dir or work_dir_of(facts.sandbox.path)
    if path is None:
        return
    found = resolve(path, "configuration: work_dir", trusted)
    if paths.is_below(facts.sandbox.path, found.path):
        facts.work_dir = found


def work_dir_of(sandbox_path: str) -> "str | None":
    """The agent's work_dir, from `<work_dir>/slaves/S/frameworks/F/executors/E/runs/R` (Mesos, slave/paths.hpp)."""
    parts = paths.split(sandbox_path)
    for start in range(len(parts) - 7):
        if parts[start : start + 8 : 2] == ["slaves", "frameworks", "executors", "runs"]:
            return paths.join(parts[:start])
    return None


def _find_passes(config: Config, facts: Facts, trusted: "tuple[int, ...]") -> None:
    if not config.pass_through:
        return
    from fnmatch import fnmatchcase  # only where the operator lists names

    for item in config.pass_through:
        parts = paths.split(item.pattern)
        directory, wanted = paths.join(parts[:-1]), parts[-1]
        try:
            where = resolve(directory, "configuration: pass_through", trusted)
        except Missing:
            continue
        for name in sorted(_names(where.fd)):
            if not fnmatchcase(name, wanted) or (name.startswith(".") and not wanted.startswith(".")):
                continue
            found = _passable(where.path + "/" + name, facts.user, trusted)
            if found is not None:
                facts.passes.append((found, item.read_only))


def _names(fd: int) -> "list[str]":
    try:
        readable = posix.open(f"/proc/self/fd/{fd}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return []
    try:
        return posix.listdir(readable)
    finally:
        posix.close(readable)


def _passable(path: str, user: Identity, trusted: "tuple[int, ...]") -> "Resolved | None":
    """The entry, if root or the task's user owns it and it is a directory, a file or a socket; else it stays hidden."""
    try:
        status = posix.lstat(path)
        if status.st_uid not in (0, user.uid) or status.st_mode & 0o170000 not in PASSABLE:
            return None
        found = resolve(path, "configuration: pass_through", trusted)
    except (OSError, ShimError):
        return None  # gone meanwhile, or somebody plays with it
    if found.status.st_uid not in (0, user.uid) or found.kind not in PASSABLE:
        return None
    return found
