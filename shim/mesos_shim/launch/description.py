"""Describes a launched container in the fields of its record."""

from ..containers.record import VERSION
from ..plan.model import BIND, TMPFS, Plan, source_path
from ..system.proc import boot_id, first, namespaces, pid_namespace, time_namespace


def describe(plan: Plan, executor_id: "str | None", framework_id: "str | None") -> "dict[str, object]":
    """The record of this process, which is about to become the container's first."""
    own_view = plan.mode == "enforced" and plan.own_view
    who = plan.first or first()
    return {
        "version": VERSION,
        "container_id": plan.container_id,
        "executor_id": executor_id,
        "framework_id": framework_id,
        **who,
        "pid_namespace": plan.pid_namespace or pid_namespace(who["pid"]),
        "time_namespace": time_namespace(),
        "boot_id": boot_id(),
        "mode": plan.mode,
        "isolation": list(plan.isolation),
        "sandbox": plan.sandbox.path,
        # Which directory that was: its user can give the name to another.
        "sandbox_inode": [plan.sandbox.status.st_dev, plan.sandbox.status.st_ino],
        "uid": plan.user.uid,
        "gid": plan.user.gid,
        "groups": plan.user.groups,
        "no_new_privs": plan.no_new_privs is not None,
        "not_as_root": plan.not_as_root,
        # In Mesos' names of a Volume.
        "volumes": [
            {
                "container_path": mount.target,
                "host_path": source_path(mount, plan),
                "mode": "RO" if mount.read_only else "RW",
            }
            for mount in plan.mounts
            if mount.action in (BIND, TMPFS)
        ],
        # Without mounts the process stays in its parent's namespace, which says nothing of who belongs to it.
        "namespaces": namespaces() if own_view else {},
        "limits": plan.limits,
        "supervisor": plan.supervisor,
        # With --rm: which directory gc may remove, if the supervisor could not.
        # Directories of its own outside of the sandbox, which go with it, and what is counted against which size.
        "private": [{"path": path, "inode": [device, inode]} for path, device, inode in plan.private],
        "quotas": {source_path(mount, plan): mount.quota for mount in plan.mounts if mount.quota},
        "remove": [plan.sandbox.status.st_dev, plan.sandbox.status.st_ino] if plan.remove else None,
        "cgroups": {name: group.directory for group in plan.cgroups for name in group.controllers},
    }


def whose(plan: Plan) -> "dict[str, object]":
    """The fields that tell the record of this launch from another's of the same name; empty where none was begun."""
    if plan.supervisor:  # its child wrote the record, whose pid may be a namespace's
        return {"supervisor": plan.supervisor}
    ours = plan.recorded
    return {} if ours is None else {name: ours[name] for name in ("pid", "start_time")}
