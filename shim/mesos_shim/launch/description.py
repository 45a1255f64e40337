"""Describes a launched container in the fields of its record."""

from ..containers import record
from ..plan.model import BIND, TMPFS, source_path
from ..system.proc import boot_id, first, namespaces, pid_namespace, time_namespace
from .state import LaunchState


def describe(state: LaunchState) -> "dict[str, object]":
    """The record of this process, which is about to become the container's first."""
    own_mount_namespace = state.plan.mode == "enforced" and state.plan.own_mount_namespace
    who = state.first or first()
    return {
        "version": record.VERSION,
        "container_id": state.plan.container_id,
        "executor_id": state.request.executor_id,
        "framework_id": state.request.framework_id,
        **who,
        "pid_namespace": state.pid_namespace or pid_namespace(who["pid"]),
        "time_namespace": time_namespace(),
        "boot_id": boot_id(),
        "mode": state.plan.mode,
        "isolation": list(state.plan.isolation),
        "sandbox": state.plan.sandbox.path,
        # Which directory that was: its user can give the name to another.
        "sandbox_inode": [state.plan.sandbox.status.st_dev, state.plan.sandbox.status.st_ino],
        "uid": state.plan.user.uid,
        "gid": state.plan.user.gid,
        "groups": state.plan.user.groups,
        "no_new_privs": state.plan.no_new_privs is not None,
        "not_as_root": state.plan.not_as_root,
        # In Mesos' names of a Volume.
        "volumes": [
            {
                "container_path": mount.target,
                "host_path": source_path(mount, state.plan),
                "mode": "RO" if mount.read_only else "RW",
            }
            for mount in state.plan.mounts
            if mount.action in (BIND, TMPFS)
        ],
        # Without mounts the process stays in its parent's namespace, which says nothing of who belongs to it.
        "namespaces": namespaces() if own_mount_namespace else {},
        "limits": state.plan.limits,
        "supervisor": state.supervisor,
        # With --rm: which directory gc may remove, if the supervisor could not.
        # Directories of its own outside of the sandbox, which go with it, and what is counted against which size.
        "private": [{"path": path, "inode": [device, inode]} for path, device, inode in state.private],
        "quotas": {source_path(mount, state.plan): mount.quota for mount in state.plan.mounts if mount.quota},
        "remove": [state.plan.sandbox.status.st_dev, state.plan.sandbox.status.st_ino] if state.remove else None,
        "cgroups": {name: group.directory for group in state.plan.cgroups for name in group.controllers},
    }


def whose(state: LaunchState) -> "dict[str, object]":
    """The fields that tell the record of this launch from another's of the same name; empty where none was begun."""
    if state.supervisor:  # its child wrote the record, whose pid may be a namespace's
        return {"supervisor": state.supervisor}
    ours = state.recorded
    return {} if ours is None else {name: ours[name] for name in ("pid", "start_time")}


def started(state: LaunchState) -> "int | None":
    """When the container's first process started, which its record says; None without one."""
    if state.place is None:
        return None
    try:
        found = record.read(record.reopened(state.place), state.plan.container_id).get("start_time")
    except OSError:
        return None
    return found if isinstance(found, int) else None
