"""Makes the plan's private view of the file system, in a mount namespace that only this process has.

The order is the defence (threats 1, 3, 17): unshare and slave first (namespaces.py), then every source and target is
opened and compared with what was checked, then what is missing is made, and only then is anything attached. A failure
anywhere ends the launch; the namespace goes with the process, so the host is as it was.
"""

import posix

from ..errors import ShimError, reason
from ..plan.model import AGENTS, EXPOSE_SANDBOX, MASK_WORK_DIR, PASS_THROUGH, TMPFS, Mount
from ..plan.mounts import mirrored_levels
from ..system import syscalls
from ..system.credentials import open_as
from ..system.mounts import Mounts
from ..system.walk import OPEN_STEP, Resolved, Status
from . import execute, sources
from .state import LaunchState

_DIRECTORY = syscalls.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_NO_LINKS = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS


class Opened:
    """The descriptors of one mount, all of them opened in the own mount namespace."""

    __slots__ = ("base", "source", "target", "tree")

    def __init__(self) -> None:
        self.base = -1
        self.source = -1
        self.target = -1
        self.tree = -1


def enter(state: LaunchState, framework: bool) -> int:
    """Carry the plan's mounts out. Returns a descriptor of the sandbox as the new mount namespace shows it.

    With `framework` the absolute sources are opened with the task user's rights. What is made on the host is noted in
    the plan, for the caller to take back if this, or anything after it, fails.
    """
    execute.stop_imports()
    try:
        if state.plan.before is not None:
            state.plan.before()
        if state.plan.shared:
            _refuse_shared(state)
        return _enter(state, framework)
    except OSError as error:
        raise ShimError(f"setting up the mount namespace: {reason(error)}") from None


def _refuse_shared(state: LaunchState) -> None:
    from ..system import propagation

    for mount in state.plan.mounts:
        propagation.refuse_shared(mount.target, mount.what)


def _enter(state: LaunchState, framework: bool) -> int:
    sandbox = _open_checked(state.plan.sandbox, "the sandbox", state.plan.sandbox.path)
    opened = [_open(mount, state, sandbox, framework) for mount in state.plan.mounts]
    _leave_out(state, opened)
    if not state.plan.isolates:
        return sandbox
    mounts = Mounts()
    _create(state, opened, sandbox, mounts, framework)
    _clone(state, opened, mounts)
    for mount, descriptors in zip(state.plan.mounts, opened):
        _attach(mount, descriptors, state, opened, mounts)
    for mount, descriptors in zip(state.plan.mounts, opened):
        if mount.action == EXPOSE_SANDBOX:
            sandbox = descriptors.tree
        if mount.action == MASK_WORK_DIR:
            try:
                mounts.seal(descriptors.tree)
            except OSError as error:
                raise ShimError(f"{mount.what}: making {mount.target!r} read-only: {reason(error)}") from None
    try:
        mounts.clear()
    except OSError as error:
        raise ShimError(f"clearing the staging mount: {reason(error)}") from None
    if state.plan.own_queues:
        from . import queues  # from the bundle, which is open still

        queues.mount()
    return sandbox


def _open_checked(found: Resolved, what: str, path: str, state: "LaunchState | None" = None) -> int:
    """Open `path` anew in the own namespace and compare: what is used is what was checked.

    With `state`, with the rights of its user.
    """
    try:
        fd = _open_path(path, OPEN_STEP) if state is None else open_as(state.plan.user, _open_path, path, OPEN_STEP)
    except OSError as error:
        raise ShimError(f"{what}: {path!r}: {reason(error)}") from None
    if not found.same(fd):
        posix.close(fd)
        raise ShimError(f"{what}: {path!r} was replaced while the launch was being prepared")
    return fd


def _open_path(path: str, flags: int) -> int:
    """Open a path that was free of links when it was checked, and through no link now."""
    try:
        return syscalls.openat2(syscalls.AT_FDCWD, path, flags, _NO_LINKS)
    except OSError as error:
        if error.errno not in syscalls.ABSENT:
            raise
    from ..system import legacy_mounts

    return legacy_mounts.open_without_links(path, flags)


def _open(mount: Mount, state: LaunchState, sandbox: int, framework: bool) -> Opened:
    opened = Opened()
    if mount.parent is None:  # a child's target is opened inside its parent, once that is attached
        opened.target = _open_checked(mount.covers, mount.what, mount.target)
    if mount.action == EXPOSE_SANDBOX:
        opened.source = sandbox
    elif mount.action == PASS_THROUGH:
        from . import passed

        opened.source = passed.open_name(mount, state)
    elif mount.action == AGENTS:
        opened.source = _open_path(mount.target, OPEN_STEP)
    elif mount.source is not None:
        as_task = state if framework else None
        opened.source = _open_checked(mount.source, mount.what, mount.source.path, as_task)
    elif mount.base is not None:
        opened.base = _open_checked(mount.base, mount.what, mount.base.path)
    elif mount.source_parts:
        # Refuse what cannot be before anything is made.
        fd, _ = sources.open_or_report(sandbox, mount.source_parts, mount.what)
        posix.close(fd)
    return opened


def _leave_out(state: LaunchState, opened: "list[Opened]") -> None:
    """Forget the mounts of names that are not passed through after all."""
    mounts = state.plan.mounts
    new_index: dict[int, int] = {}  # of those that stay, by the index of before
    kept: list[Mount] = []
    for index, mount in enumerate(mounts):
        if mount.action == PASS_THROUGH and opened[index].source < 0:
            continue
        if mount.parent is not None and mount.parent not in new_index:
            gone = mounts[mount.parent]
            raise ShimError(f"{mount.what}: {mount.target!r} has no mount point any more, because {gone.what} is gone")
        new_index[index] = len(kept)
        kept.append(mount if mount.parent is None else mount.inside(new_index[mount.parent]))
    if len(kept) < len(mounts):
        opened[:] = [opened[index] for index in new_index]
        state.plan = state.plan.but(mounts=kept)


def _create(state: LaunchState, opened: "list[Opened]", sandbox: int, mounts: Mounts, framework: bool) -> None:
    # A source inside another's comes after it, as its target does (mounts.arrange).
    for mount, descriptors in zip(state.plan.mounts, opened):
        if mount.base is not None:
            from . import private_directories  # loaded when the base was checked

            descriptors.source = private_directories.make(descriptors.base, mount, state)
        elif mount.source_parts:
            descriptors.source = sources.make(sandbox, _source(mount), state)
        elif mount.action in (TMPFS, MASK_WORK_DIR):
            from . import tmpfs

            descriptors.source = descriptors.tree = tmpfs.make(mount, state, mounts)
    for mount in state.plan.mounts:
        if mount.parent is not None:
            from . import mount_points  # most mount namespaces have none inside another

            parent, root = state.plan.mounts[mount.parent], opened[mount.parent].source
            if framework and not parent.fresh:
                mount_points.look_for(mount, parent, root, state)
            mount_points.make(mount, parent, root, state)


def _source(mount: Mount) -> sources.Source:
    levels: list[Status | None] = []
    mirrored = mirrored_levels(mount)
    if mirrored is not None:
        levels.extend(mirrored)
    else:
        levels.extend([None] * (len(mount.source_parts) - 1))
        levels.append(mount.covers.levels[-1])
    return sources.Source(mount.source_parts, levels, mount.target, mount.covers.fd, mount.what)


def _clone(state: LaunchState, opened: "list[Opened]", mounts: Mounts) -> None:
    """Copies of all sources before the first is attached, so that no volume shows another by accident."""
    for mount, descriptors in zip(state.plan.mounts, opened):
        if descriptors.tree >= 0:
            continue
        # Private: else a mount that arrives later from the host below a read-only volume is writable.
        # The sandbox is writable, and an agent mounts and unmounts persistent volumes in it while the container runs.
        follows = mount.propagation or mount.action in (EXPOSE_SANDBOX, AGENTS)
        propagation = syscalls.MS_SLAVE if follows else syscalls.MS_PRIVATE
        try:
            descriptors.tree = mounts.clone(descriptors.source, mount.read_only, propagation, mount.restrictions)
        except OSError as error:
            raise ShimError(f"{mount.what}: copying the mount for {mount.target!r}: {reason(error)}") from None


def _attach(mount: Mount, descriptors: Opened, state: LaunchState, opened: "list[Opened]", mounts: Mounts) -> None:
    target = descriptors.target
    if mount.parent is not None:
        from . import mount_points  # from the bundle, which is open still

        target = mount_points.open_inside(opened[mount.parent].tree, mount, state.plan.mounts[mount.parent])
    state.notes.append(("attached", descriptors.tree))
    try:
        mounts.move(descriptors.tree, target)
    except OSError as error:
        raise ShimError(f"{mount.what}: attaching it at {mount.target!r}: {reason(error)}") from None
