"""Names that lead to the sandbox through a link which this launch covers.

An agent's work_dir is often reached through a link of root's, such as /tmp/mesos to a bigger disk. The task and the
agent know its sandbox by that name. With a private /tmp the link is gone, so the sandbox is mounted at the name too.
"""

import posix

from ..errors import ShimError
from ..spec.request import LaunchRequest
from ..system import guarded_walk, paths
from ..system.other_walks import levels_by_name
from ..system.walk import Resolved, resolve
from .model import Facts

_WHAT = "a name of the sandbox"


def find(request: LaunchRequest, facts: Facts, trusted: "tuple[int, ...]") -> None:
    """Put the covered names of the sandbox into `facts.names`: of the one that was given, and of the environment's."""
    add(facts.sandbox.names, facts.sandbox, facts, trusted)
    for name in request.sandbox_names:
        add(_leading_to(facts.sandbox, name, trusted), facts.sandbox, facts, trusted)


def _leading_to(sandbox: Resolved, name: str, trusted: "tuple[int, ...]") -> "tuple[str, ...]":
    """The paths that a walk of `name` goes by, if it ends at the sandbox."""
    if paths.fault(name) is not None:
        return ()
    try:
        found = resolve(name, _WHAT, trusted, nested=True, take_step=guarded_walk.step)
    except (ShimError, OSError):
        return ()  # then the task cannot rely on it without us, too
    try:
        return found.names if sandbox.same(found.fd) else ()
    finally:
        posix.close(found.fd)


def add(names: "tuple[str, ...]", found: Resolved, facts: Facts, trusted: "tuple[int, ...]") -> None:
    """Note those of `names`, by which a walk came to `found`, that lie below what this launch covers."""
    for name in names:
        if any(target.path == name for target, _ in facts.names):
            continue
        above = _covering(name, facts)
        if above is None:
            continue
        volume = _of_the_hosts(above, facts)
        if volume is not None:
            facts.warnings.append(
                f"{volume}: covers the link through which {name!r} leads to {found.path!r}; use a relative host_path, "
                "or name the work_dir without the link"
            )
            continue
        target = Resolved(name, found.fd, found.status, levels_by_name(name, _WHAT, trusted), found.controller)
        facts.names.append((target, found))


def _covering(name: str, facts: Facts) -> "str | None":
    """The deepest path above `name` that this launch covers."""
    covered = [found.path for found in facts.targets.values()]
    if facts.work_dir is not None:
        covered.append(facts.work_dir.path)
    above = [path for path in covered if paths.is_below(name, path)]
    return max(above, key=len) if above else None


def _of_the_hosts(target: str, facts: Facts) -> "str | None":
    """The volume that covers `target` with a directory of the host's, in which nothing may be made, or None."""
    for volume in facts.volumes:
        if not volume.relative and facts.targets[volume.container_path].path == target:
            return volume.json_path
    return None
