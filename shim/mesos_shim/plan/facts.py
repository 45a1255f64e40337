"""Finds out, read-only, what a plan needs to know of this host: where paths lead, what is there, whose it is."""

import posix

from ..errors import ShimError, reason
from ..spec import policy
from ..spec.container_info import Volume, forbidden_target
from ..spec.isolation import FILESYSTEM_SHARED
from ..spec.request import FRAMEWORK, LaunchRequest
from ..system import paths, syscalls
from ..system.credentials import Identity, with_rights_of
from ..system.files import trusted_uids
from ..system.walk import Missing, Resolved, resolve
from . import sandbox
from .model import NODEV, NOEXEC, NOSUID, Facts
from .sandbox import work_dir_of

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from ..spec.config_tables import Tmpfs

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


def find(request: LaunchRequest, user: Identity, private: "list[str]", in_memory: "list[Tmpfs]") -> Facts:
    """The facts for `request`, with the volumes `in_memory` that isolators want.

    `private` are directories that no framework's absolute source may touch.
    """
    try:
        return _find(request, user, private, in_memory)
    except OSError as error:
        raise ShimError(f"inspecting the host for the launch: {reason(error)}") from None


def _find(request: LaunchRequest, user: Identity, private: "list[str]", in_memory: "list[Tmpfs]") -> Facts:
    trusted = trusted_uids()
    if request.origin == FRAMEWORK:
        private = private + _resolved(private, trusted)
    facts = Facts(sandbox.find(request, trusted), user)
    facts.agents_paths = request.agents_paths
    applies = FILESYSTEM_SHARED in request.isolation  # else nothing is mounted of what the configuration wants
    if request.config.private_directories and applies:
        _find_operators(lambda: _find_private(request, facts, trusted), request, user)
        private = private + [base.path for base in facts.bases.values()]
    if request.origin == FRAMEWORK:
        # What is said of a path, its task's user could have seen (threats 33).
        with_rights_of(user, lambda: _find_volumes(request, facts, trusted, private))
    else:
        _find_operators(lambda: _find_volumes(request, facts, trusted, private), request, user)
    if applies:
        in_memory = [*request.config.tmpfs, *in_memory]
    _find_operators(lambda: _find_in_memory(in_memory, facts, trusted), request, user)
    if applies:
        _find_operators(lambda: _find_work_dir(request, facts, trusted), request, user)
    items = request.config.pass_through if applies else []
    if request.launcher is not None and _is_covered(facts, request.launcher):
        from ..spec.config_tables import PassThrough

        items = [*items, PassThrough(request.launcher, True)]
    if items:
        from . import pass_through

        pass_through.find(items, facts, trusted)
    if facts.targets and (facts.sandbox.names or any(name != facts.sandbox.path for name in request.sandbox_names)):
        from . import sandbox_names

        sandbox_names.find(request, facts, trusted)
    is_covered = facts.work_dir or facts.names or _is_covered(facts, facts.sandbox.path)
    if is_covered and work_dir_of(facts.sandbox.path) is not None:
        from . import sandbox_links

        sandbox_links.find(request, facts, trusted)
    return facts


def _is_covered(facts: Facts, path: str) -> bool:
    """Whether a target of this launch lies above `path`."""
    return any(paths.is_below(path, found.path) for found in facts.targets.values())


def _find_private(request: LaunchRequest, facts: Facts, trusted: "tuple[int, ...]") -> None:
    """What private directories cover, with how that is mounted, and the bases that are not the sandbox."""
    for item in request.config.private_directories:
        if not _is_ours(facts, item.container_path, "configuration: private_directories", trusted):
            continue
        facts.private.append(item)
        _note_restrictions(facts, item.container_path)
        if item.base is not None and item.base not in facts.bases:
            from . import private_bases

            facts.bases[item.base] = base = private_bases.base(item.base, trusted)
            _refuse_the_kernels(base, private_bases.WHAT, item.base)


def _note_restrictions(facts: Facts, container_path: str) -> None:
    """How the file system is mounted that a directory of ours will cover: a hardened /tmp stays hardened."""
    flags = posix.fstatvfs(facts.targets[container_path].fd).f_flag
    facts.restrictions[container_path] = flags & (NOSUID | NODEV | NOEXEC)


def _find_operators(find: "Callable[[], None]", request: LaunchRequest, user: Identity) -> None:
    """Find what the operator or the caller named. Under an agent a failure is told as the task's user would meet it.

    For it goes to the task's stderr, and of root's directories no more than that is the task's to know.
    """
    try:
        return find()
    except ShimError as error:
        if request.sandbox_named == "--sandbox":  # an agent gives no options of ours
            raise
        try:
            with_rights_of(user, find)
        except ShimError as seen:
            if str(seen) != str(error):
                raise ShimError(f"{seen}; run 'mesos-shim explain' as root for the full reason") from None
        raise


def _find_volumes(request: LaunchRequest, facts: Facts, trusted: "tuple[int, ...]", private: "list[str]") -> None:
    for volume in request.info.volumes if request.info is not None else []:
        json_path = f"{volume.json_path}.container_path"
        if _is_ours(facts, volume.container_path, json_path, trusted):
            facts.volumes.append(volume)
            if volume.relative:
                _note_restrictions(facts, volume.container_path)
            else:
                facts.volume_sources[volume.host_path] = _source(volume, request, trusted, private)


def _find_in_memory(volumes: "list[Tmpfs]", facts: Facts, trusted: "tuple[int, ...]") -> None:
    for item in volumes:
        if _is_ours(facts, item.container_path, "configuration: tmpfs", trusted):
            facts.tmpfs.append(item)
            _note_restrictions(facts, item.container_path)


def _is_ours(facts: Facts, path: str, what: str, trusted: "tuple[int, ...]") -> bool:
    """Whether `path`, whose facts are noted, is ours to mount on: not where the agent has mounted something itself."""
    found = _target(path, what, trusted)
    for taken in facts.agents_paths:
        if found.path == taken or paths.is_below(found.path, taken):
            posix.close(found.fd)
            facts.warnings.append(f"{what}: {path!r} is left to the agent, which has mounted a volume on {taken!r}")
            return False
    facts.targets[path] = found
    return True


def _target(path: str, what: str, trusted: "tuple[int, ...]") -> Resolved:
    try:
        found = resolve(path, what, trusted)
    except Missing as error:
        raise ShimError(f"{error}; a container_path must exist on the host") from None
    _refuse_the_kernels(found, what, path)
    fault = forbidden_target(found.path)
    if fault is not None:  # through a link of the system's own
        raise ShimError(f"{what}: {path!r} leads to {found.path!r}, which {fault}")
    return found


def _refuse_the_kernels(found: Resolved, what: str, path: str) -> None:
    kind = KERNEL_FILE_SYSTEMS.get(syscalls.file_system_type(found.fd))
    if kind is not None:
        raise ShimError(f"{what}: {path!r} is on {kind}, which belongs to the kernel")


def _resolved(directories: "list[str]", trusted: "tuple[int, ...]") -> "list[str]":
    """Where `directories` lead: a comparison of paths must not be fooled by a link such as /var/run."""
    found = []
    for directory in directories:
        try:
            there = resolve(directory, "a private directory", trusted)
        except Missing:
            continue  # what is not there cannot be reached
        posix.close(there.fd)
        found.append(there.path)
    return found


def _source(volume: Volume, request: LaunchRequest, trusted: "tuple[int, ...]", private: "list[str]") -> Resolved:
    if request.origin == FRAMEWORK:
        trusted = tuple(trusted)  # what stands for a root who is not mapped is not trusted for others (threats 6)
    found = resolve(volume.host_path, f"{volume.json_path}.host_path", trusted)
    if request.origin == FRAMEWORK:
        policy.check_private(found.path, volume.json_path, private)
        _refuse_the_kernels(found, f"{volume.json_path}.host_path", volume.host_path)
    return found


def _find_work_dir(request: LaunchRequest, facts: Facts, trusted: "tuple[int, ...]") -> None:
    """The directory to be hidden: the configured work_dir, wherever the sandbox is, else the one it lies in."""
    config = request.config
    if not config.hide_work_dir:
        return
    path = config.work_dir or work_dir_of(facts.sandbox.path)
    if path is None:
        facts.warnings.append(
            "hide_work_dir: nothing is hidden, because no work_dir is configured, and the sandbox "
            f"{facts.sandbox.path!r} is not where an agent puts one"
        )
        return
    try:
        found = resolve(path, "configuration: work_dir", trusted)
    except Missing:
        return  # nothing there that could be seen
    if found.path == facts.sandbox.path:
        raise ShimError(f"hide_work_dir: the sandbox {found.path!r} is the work_dir itself")
    facts.work_dir = found
