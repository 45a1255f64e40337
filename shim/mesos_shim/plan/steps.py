"""The steps of a launch as `explain` shows them."""

from _stat import S_IFDIR, S_IMODE

from ..system import paths
from .model import ENFORCED, NODEV, NOEXEC, NOSUID, Leaf, Mount, Plan, source_path

_RESTRICTIONS = (("nosuid", NOSUID), ("nodev", NODEV), ("noexec", NOEXEC))


def steps(plan: Plan) -> "list[dict[str, object]]":
    """The plan as JSON objects, for `explain` and for tests."""
    result: list[dict[str, object]] = []
    result.extend(_group_step(group) for group in plan.cgroups)
    if plan.mode == ENFORCED and plan.own_view:
        namespaces = ["user", "mnt"] if plan.new_user_namespace else ["mnt"]
        result.append({"action": "unshare", "namespaces": [*namespaces, *plan.namespaces]})
        result.append({"action": "propagation", "target": "/", "mode": "slave"})
        result.extend(_creations(plan))
        result.extend(_mount_step(mount, plan) for mount in plan.mounts)
    if plan.own_queues:
        result.append({"action": "mqueue", "target": "/dev/mqueue"})
    # Without a record nobody would remove what is not in the sandbox.
    result.append(
        {"action": "record", "target": plan.container_id, "best_effort": all(item.base is None for item in plan.mounts)}
    )
    if "pid" in plan.namespaces:
        result.append({"action": "proc", "target": "/proc"})
        result.append({"action": "init"})
    if plan.no_new_privs is not None:  # before the ids change: a program started by then could still gain rights
        result.append({"action": "no_new_privs", "because": plan.no_new_privs})
    if plan.user.switch:
        result.append({"action": "become", "uid": plan.user.uid, "gid": plan.user.gid, "groups": plan.user.groups})
    result.append({"action": "exec", "target": plan.sandbox.path, "command": list(plan.command)})
    return result


def _group_step(group: Leaf) -> "dict[str, object]":
    return {
        "action": "cgroup" if group.ours else "agents_cgroup",
        "target": group.directory,
        "controllers": group.controllers,
        "settings": dict(group.settings),
    }


def _creations(plan: Plan) -> "list[dict[str, object]]":
    """What is made in the sandbox where it is missing: sources, and in them the places of other mounts."""
    result: list[dict[str, object]] = [
        {"action": "create", "target": path, "mode": "0700"} for path in own_directories(plan)
    ]
    result += [_creation(source_path(mount, plan), mount, plan) for mount in plan.mounts if mount.source_parts]
    for mount in plan.mounts:
        parent = plan.mounts[mount.parent] if mount.parent is not None else None
        if parent is not None and parent.source_parts:
            below = "/".join(paths.relative(mount.target, parent.target))
            path = f"{source_path(parent, plan)}/{below}"
            if all(step["target"] != path for step in result):  # it may be a source itself
                result.append(_creation(path, mount, plan))
    return result


def own_directories(plan: Plan) -> "list[str]":
    """The container's own directories outside of the sandbox, each once."""
    found = [f"{mount.base.path}/{mount.source_parts[0]}" for mount in plan.mounts if mount.base is not None]
    return sorted(set(found))


def _creation(path: str, mount: Mount, plan: Plan) -> "dict[str, object]":
    """A directory that looks like what the mount covers, or an empty file for one."""
    if mount.covers.kind != S_IFDIR:
        return {"action": "create", "target": path, "kind": "file"}
    status = mount.covers.status
    return {
        "action": "create",
        "target": path,
        "mode": f"{S_IMODE(status.st_mode):04o}",
        "uid": plan.user.uid if plan.new_user_namespace else status.st_uid,
        "gid": plan.user.gid if plan.new_user_namespace else status.st_gid,
    }


def _mount_step(mount: Mount, plan: Plan) -> "dict[str, object]":
    step: dict[str, object] = {
        "action": mount.action,
        "source": source_path(mount, plan),
        "target": mount.target,
        "read_only": mount.read_only,
    }
    if mount.size:
        step["size"] = mount.size
        step["noexec"] = mount.noexec
    if mount.quota:
        step["size"] = str(mount.quota)
    if mount.restrictions:
        step["options"] = [name for name, bit in _RESTRICTIONS if mount.restrictions & bit]
    if mount.propagation:
        step["propagation"] = "HOST_TO_CONTAINER"
    if mount.parent is not None:
        step["inside"] = plan.mounts[mount.parent].target
    return step
