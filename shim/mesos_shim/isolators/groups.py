"""Which control groups a container gets: planned, and made.

A container's group is made below the group that the launch runs in, in a directory `mesos-shim`, and is
called `<container id>@<pid>-<start time>` after the process that made it: so gc knows whose it was without a record.

Sources: cgroups(7), systemd's CGROUP_DELEGATION.md.
"""

import posix

from ..errors import ShimError, reason
from ..plan.leaf import Leaf
from ..plan.model import Draft
from ..spec.request import LaunchRequest
from ..system import cgroups, files, paths
from ..system.cgroups import DIRECTORY, Hierarchy, Unavailable

_SYSTEMD = "/run/systemd/system"  # sd_booted(3)


def why_missing(request: LaunchRequest, controller: str) -> "str | None":
    """Why a container of `request` gets no group with `controller`, None if it does; makes nothing."""
    try:
        found = cgroups.find(controller)
        if not agents_own(request, found):
            leaf(found, "any")
    except Unavailable as error:
        return str(error)
    return None


def where(controller: str) -> str:
    """Where the host gives groups with `controller`, for doctor. Raises Unavailable."""
    found = cgroups.find(controller)
    return f"cgroup version {found.version}, below {found.directory(found.own)}"


def agents_own(request: LaunchRequest, hierarchy: Hierarchy) -> bool:
    """Whether the agent's own isolation has put this launch into a group of its container.

    The group says so itself: an agent calls it by the container's id (`mesos/<id>` by default). Its flags need not be
    known, and a change of them cannot be missed.
    """
    parts = paths.split(hierarchy.own)
    return any(name in parts for name in request.agent_ids)


def add(
    request: LaunchRequest,
    plan: Draft,
    controller: str,
    first: "list[tuple[str, str]]",
    second: "list[tuple[str, str]]",
) -> None:
    """Plan a group with `controller`, with the settings `first` in version 1, `second` in version 2."""
    hierarchy = cgroups.find(controller)
    if agents_own(request, hierarchy):
        found = Leaf(hierarchy.version, "", "")
        found.ours, found.directory = False, hierarchy.directory(hierarchy.own)
        found.controllers = [controller]
        plan.cgroups.append(found)
        return
    found = leaf(hierarchy, cgroups.name_for(plan.container_id))
    for item in plan.cgroups:
        if item.directory == found.directory:
            found = item
            break
        if item.ours and item.version == hierarchy.version == 2:  # a process is in one group of version 2 only
            raise Unavailable(
                f"{controller} is available only in {found.delegate}, and {item.controllers[0]} only in another cgroup"
            )
    else:
        plan.cgroups.append(found)
    found.controllers.append(controller)
    found.settings.extend(first if hierarchy.version == 1 else second)


def leaf(hierarchy: Hierarchy, name: str) -> Leaf:
    """The group `name` to be made for a container. Raises Unavailable where none may be made; makes nothing."""
    if hierarchy.version == 1:
        base = hierarchy.directory(hierarchy.own)
        if not posix.access(base, posix.W_OK | posix.X_OK):
            remedy = "run it as root" if posix.geteuid() else "mount the cgroup hierarchy writable"
            raise Unavailable(f"the cgroup {base} is not writable; {remedy}")
        return Leaf(1, base, name)
    found = Leaf(2, _delegated(hierarchy), name)
    found.step_aside = found.delegate == hierarchy.directory(hierarchy.own) and _occupants(found.delegate) != []
    return found


def _delegated(hierarchy: Hierarchy) -> str:
    """The nearest group of version 2, from our own upwards, that we may divide and whose children may have limits."""
    parts = paths.split(hierarchy.own)
    why = ""
    for depth in range(len(parts), -1, -1):
        where = hierarchy.directory(paths.join(parts[:depth]))
        problem = _not_ours(hierarchy, parts[:depth])
        if problem is not None:
            raise Unavailable(why or problem)
        try:
            if hierarchy.controller not in cgroups.read(f"{where}/cgroup.controllers").split():
                why = why or (
                    f"the cgroup {where} has no {hierarchy.controller} controller; enable it above "
                    f"('+{hierarchy.controller}' in the cgroup.subtree_control there; under systemd Delegate=yes)"
                )
                continue
            if hierarchy.controller in cgroups.read(f"{where}/cgroup.subtree_control").split():
                return where
            if not set(_occupants(where)) - {str(posix.getpid())}:
                return where
        except OSError as error:
            raise Unavailable(f"{where}: {reason(error)}") from None
        # "No internal processes": cgroups(7).
        why = why or (
            f"the cgroup {where} has processes of its own, so its children can have no {hierarchy.controller} limits; "
            "under systemd start the service with DelegateSubgroup= (254), or use the agent's own cgroups isolators"
        )
    raise Unavailable(why)


def _occupants(where: str) -> "list[str]":
    """The processes that keep the group's controllers from its children; the top of all has no such rule."""
    if not files.exists(f"{where}/cgroup.type"):
        return []
    return cgroups.read(f"{where}/cgroup.procs").split()


def _not_ours(hierarchy: Hierarchy, parts: "list[str]") -> "str | None":
    """Why the group may not be divided by us, or None. Under systemd only what it delegated is (single writer)."""
    where = hierarchy.directory(paths.join(parts))
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
        if not posix.access(where + name, posix.W_OK):
            return f"the cgroup {where} is not delegated to uid {posix.geteuid()}; {_SCOPE}"
    if not files.exists(_SYSTEMD):
        return None
    for depth in range(len(parts), -1, -1):
        directory = hierarchy.directory(paths.join(parts[:depth]))
        for attribute in ("trusted.delegate", "user.delegate"):
            try:
                if posix.getxattr(directory, attribute) == b"1":
                    return None
            except OSError:
                continue
    if posix.geteuid() != 0:
        return None  # whoever gave it to an ordinary user delegated it
    return f"the cgroup {where} is systemd's and not delegated; {_SCOPE}"


_SCOPE = "systemd-run --scope -p Delegate=yes (with --user for an ordinary user) starts a command in one that is"


def make(leaves: "list[Leaf]") -> None:
    """Make the groups and set their limits; on a failure nothing of them stays. Raises ShimError."""
    try:
        for item in leaves:
            _make(item)
    except BaseException:
        cgroups.remove([item.directory for item in leaves])
        raise


def _make(item: Leaf) -> None:
    common = f"{item.delegate}/{DIRECTORY}"
    try:
        cgroups.make_directory(common)
        if item.step_aside:
            cgroups.make_directory(f"{common}/{cgroups.name_for('launcher')}")
            cgroups.write(f"{common}/{cgroups.name_for('launcher')}/cgroup.procs", "0")
        if item.version == 2:
            for where in (item.delegate, common):
                missing = set(item.controllers) - set(cgroups.read(f"{where}/cgroup.subtree_control").split())
                if missing:
                    cgroups.write(f"{where}/cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(missing)))
        posix.mkdir(item.directory, 0o755)
    except OSError as error:
        raise ShimError(f"making the cgroup {item.directory}: {reason(error)}") from None
    for file, value in item.settings:
        try:
            cgroups.write(f"{item.directory}/{file}", value)
        except FileNotFoundError:
            if not file.startswith(OPTIONAL):
                raise ShimError(f"{item.directory}/{file}: this kernel has no such limit") from None
        except OSError as error:
            raise ShimError(f"{item.directory}/{file}: {value!r}: {reason(error)}") from None


# Kernels without swap accounting lack these files; there a limit holds for memory alone.
OPTIONAL = ("memory.memsw.", "memory.swap.")
