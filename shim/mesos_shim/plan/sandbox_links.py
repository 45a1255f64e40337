"""Links that an agent has put into the sandbox: where they lead must be there in the container's namespace as well.

Without filesystem/linux an agent gives a container its persistent volumes so (filesystem/posix), and a pod's tasks
their parent's files (volume/sandbox_path). Only a link of root's, or of the caller's own, that leads to one of these
counts: what else a user has in the sandbox stays hidden.
"""

import posix
from _stat import S_ISLNK

from ..errors import ShimError, reason
from ..spec.request import LaunchRequest
from ..system import paths, walk
from ..system.syscalls import O_PATH
from ..system.walk import Missing, resolve
from .model import Facts
from .sandbox import work_dir_of

# An agent links before anything is fetched; more than these are a user's.
MAX_ENTRIES = 10_000
# More would cost a launch more descriptors than it may have.
MAX_LINKED = 64


def find(request: LaunchRequest, facts: Facts, trusted: "tuple[int, ...]") -> None:
    """Put what the agent's links lead to into `facts.linked`, and into its warnings which of them will dangle."""
    sandbox = facts.sandbox.path
    try:
        names = _names(facts.sandbox.fd) + request.linked_paths
    except OSError as error:
        facts.warnings.append(f"links in the sandbox {sandbox!r}: {reason(error)}: volumes behind them may be hidden")
        return
    for name in names:
        target = _target(facts.sandbox.fd, name, trusted)
        if target is None or not _is_agents(target, sandbox):
            continue
        if len(facts.linked) == MAX_LINKED:
            facts.warnings.append(
                f"{name!r} in the sandbox leads to {target!r}, which is hidden: {MAX_LINKED} are shown"
            )
            return
        try:
            found = resolve(target, "a link in the sandbox", trusted, nested=True)
            facts.linked.append(found)
            if found.names:
                from . import sandbox_names

                sandbox_names.add(found.names, found, facts, trusted)
        except Missing:
            continue  # it leads nowhere without us, too
        except (ShimError, OSError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            facts.warnings.append(f"{name!r} in the sandbox leads to {target!r}, which is hidden: {why}")


def _names(sandbox: int) -> "list[str]":
    found: list[str] = []
    fd = posix.open(f"/proc/self/fd/{sandbox}", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        with posix.scandir(fd) as entries:
            for count, entry in enumerate(entries):
                if count == MAX_ENTRIES:
                    break
                if entry.is_symlink():
                    found.append(entry.name)
    finally:
        posix.close(fd)
    return found


def _target(sandbox: int, name: str, trusted: "tuple[int, ...]") -> "str | None":
    """Where the link `name` leads, if a trusted user made it and it is absolute."""
    fd = posix.dup(sandbox)
    try:
        *way, last = paths.split(name)
        for part in way:
            child = walk.step(fd, part, O_PATH | posix.O_DIRECTORY)
            posix.close(fd)
            fd = child
        status = posix.stat(last, dir_fd=fd, follow_symlinks=False)
        if not S_ISLNK(status.st_mode) or status.st_uid not in trusted:
            return None
        text = posix.readlink(last, dir_fd=fd)
    except (OSError, ValueError):
        return None
    finally:
        posix.close(fd)
    return paths.normal(text) if text.startswith("/") and paths.fault(text) is None else None


def _is_agents(target: str, sandbox: str) -> bool:
    """Whether an agent's link leads there: to a persistent volume, or into the sandbox of a container above."""
    parts = paths.split(target)
    if len(parts) > 4 and parts[-4:-2] == ["volumes", "roles"]:  # slave/paths.cpp, getPersistentVolumePath
        return True
    work_dir = work_dir_of(sandbox)
    if work_dir is None:
        return False
    top = paths.join(paths.split(sandbox)[: len(paths.split(work_dir)) + 8])
    return paths.is_below(target, top) and target != sandbox and not paths.is_below(sandbox, target)
