"""What the kernel gives: calls, namespaces, control groups. Linux only.

What only the attempt can tell is tried, in a child that ends at once.
"""

import errno
import os
import platform
from functools import partial
from types import ModuleType
from typing import Callable, Optional

from ... import isolators
from ...errors import ShimError, reason
from ...launch import namespace_remedies, sources, wait
from ...spec import isolation
from ...spec.config import Config
from ...spec.request import LaunchRequest
from ...system import credentials, mountinfo, syscalls
from .finding import BROKEN, DEGRADED, OK, Finding, checked

_NOBODY = 65534
_SANDBOXES = "/var/tmp"  # noqa: S108 (where --rm makes them)


def examine(config: Config) -> "list[Finding]":
    """The kernel and what it lets this user have; broken is what the configuration names and the host lacks."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("kernel", lambda: _calls(os.geteuid() != 0)),
        ("namespace ids", _unique_ids),
        ("filesystem/shared", lambda: _mount_namespaces(config)),
    ]
    if os.geteuid() == 0:
        checks.append(("user namespaces", _user_namespaces))
    checks += [
        ("propagation", _propagation),
        ("marks", lambda: _marks(config)),
        *((name, partial(_isolator, name, module, config)) for name, module in isolators.at_launch(isolation.NAMES)),
    ]
    findings = [found for name, look in checks for found in checked(name, _listed(look))]
    return findings + _limits(config)


def _listed(look: "Callable[[], Finding]") -> "Callable[[], list[Finding]]":
    return lambda: [look()]


def _attempt(call: "Callable[[], None]") -> int:
    """The errno that `call` fails with in a child, 0 if it succeeds."""
    pid = wait.make_process("the attempt")
    if pid == 0:
        code = 255
        try:
            call()
            code = 0
        except OSError as error:
            code = min(error.errno or 255, 255)
        finally:
            os._exit(code)
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])


def _calls(user: bool) -> Finding:
    """Asked in a namespace of one's own: outside of it an ordinary user may not use them."""

    def mounts() -> None:
        _own_mount_namespace(user)()
        if not syscalls.has_mount_calls():
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    release = platform.release()
    code = _attempt(mounts)
    missing = ["open_tree, move_mount, mount_setattr"] if code == errno.ENOSYS else []
    fd = os.open("/", syscalls.O_PATH | os.O_CLOEXEC)
    try:
        os.close(syscalls.openat2(fd, ".", syscalls.O_PATH, syscalls.RESOLVE_BENEATH))
    except OSError:
        missing.append("openat2")
    finally:
        os.close(fd)
    if missing:
        return Finding(
            "kernel",
            DEGRADED,
            f"Linux {release} lacks {', '.join(missing)}, or a seccomp filter forbids them: mount(2) is used "
            "instead, with /proc/self/fd paths, which is as safe but a little slower",
            "Linux 5.12 or newer has them all",
        )
    calls = "openat2" if code else "open_tree, move_mount, mount_setattr, openat2"
    return Finding("kernel", OK, f"Linux {release}: {calls}")


def _unique_ids() -> Finding:
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.mount_namespace_id(fd)
    except OSError:
        return Finding(
            "namespace ids",
            DEGRADED,
            "this kernel does not number mount namespaces (NS_GET_MNTNS_ID), so what a container leaves running after "
            "its first process has ended is known only if 'usage' saw it before",
            "Linux 6.11 or newer has them",
        )
    finally:
        os.close(fd)
    return Finding("namespace ids", OK, "mount namespaces have ids that are never used again")


def _own_mount_namespace(user: bool) -> "Callable[[], None]":
    def call() -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWUSER if user else 0))
        syscalls.mount(None, "/", None, syscalls.MS_SLAVE | syscalls.MS_REC)

    return call


def _mount_namespaces(config: Config) -> Finding:
    code = _attempt(_own_mount_namespace(os.geteuid() != 0))
    if code == 0:
        return Finding("filesystem/shared", OK, "a launch gets its own mount namespace")
    text = f"cannot create a mount namespace: {os.strerror(code)}"
    if config.on_unenforceable == "usage-only":
        return Finding("filesystem/shared", DEGRADED, f"{text}; launches are usage-only", _namespace_remedy(code))
    return Finding("filesystem/shared", BROKEN, f"{text}; launches with volumes are refused", _namespace_remedy(code))


def _namespace_remedy(code: int, kinds: int = syscalls.CLONE_NEWNS) -> str:
    return namespace_remedies.remedy(code, kinds | (syscalls.CLONE_NEWUSER if os.geteuid() != 0 else 0))


def _user_namespaces() -> Finding:
    def call() -> None:
        credentials.become(credentials.Identity(_NOBODY, _NOBODY, [], switch=True))
        _own_mount_namespace(user=True)()

    code = _attempt(call)
    if code == 0:
        return Finding("user namespaces", OK, "ordinary users can launch with volumes too")
    return Finding(
        "user namespaces",
        DEGRADED,
        f"ordinary users cannot launch with volumes: {os.strerror(code)}; root and the agent can",
        namespace_remedies.remedy(code, syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUSER),
    )


def _propagation() -> Finding:
    for mount in mountinfo.read():
        if mount.path == "/":
            kind = "shared: what the host mounts later arrives in containers" if mount.shared else "not shared"
            return Finding("propagation", OK, f"'/' is {kind}; a container's mounts never reach the host")
    return Finding(
        "propagation",
        DEGRADED,
        "'/' is not a mount point (a chroot), so launches with volumes fail",
        "use a pivot_root",
    )


def _marks(config: Config) -> Finding:
    """Tried where sandboxes lie, on a file without a name: nothing is left of it."""
    path = config.work_dir or _SANDBOXES
    try:
        fd = os.open(path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return Finding("marks", OK, f"not tried: {path}: {reason(error)}")
    try:
        sources.set_mark(fd, b"/tried")
    except OSError as error:
        return Finding(
            "marks",
            DEGRADED,
            f"what a launch makes in {path} cannot be marked as the shim's ({reason(error)}), so a second launch in a "
            "sandbox is refused unless the directory is empty",
            "put the sandboxes on a file system with extended attributes, or give each launch a sandbox of its own",
        )
    finally:
        os.close(fd)
    return Finding("marks", OK, f"what a launch makes in {path} is known to the next launch in that sandbox")


def _isolator(name: str, module: ModuleType, config: Config) -> Finding:
    request = LaunchRequest()
    request.config = config
    try:
        why = module.missing(request) or _attempt_fails(module)
    except (OSError, ShimError) as error:
        why = str(error)
    if why is None:
        return Finding(name, OK, module.where() if hasattr(module, "where") else "available")
    if name not in config.isolation:
        return Finding(name, OK, f"not available here, and not configured: {why}")
    state = DEGRADED if config.on_unenforceable == "usage-only" else BROKEN
    what = "launches are usage-only" if state == DEGRADED else "every launch is refused"
    return Finding(name, state, f"configured, but {what}: {why}", f"fix that, or remove {name} from 'isolation'")


def _attempt_fails(module: ModuleType) -> "Optional[str]":
    """Why what the isolator would do at a launch fails here, None if it does not."""
    code = _attempt(module.attempt) if hasattr(module, "attempt") else 0
    # Each isolator with an attempt makes one of these.
    kinds = syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC
    return f"{os.strerror(code)}: {_namespace_remedy(code, kinds)}" if code else None


def _limits(config: Config) -> "list[Finding]":
    wanted = {item.limit: item.name for item in isolation.REGISTRY if item.limit is not None}
    findings = []
    for limit in config.default_limits:
        if wanted[limit] not in config.isolation:
            findings.append(
                Finding(
                    "default_limits",
                    DEGRADED,
                    f"{limit} is reported, not enforced: {wanted[limit]} is not among the isolators",
                    f"add {wanted[limit]} to 'isolation'",
                )
            )
    return findings
