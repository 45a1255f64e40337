"""What `explain` prints of each step of a launch: objects for JSON, none for what is the same in every launch.

No launch imports this module.
"""

from _stat import S_IFDIR, S_IMODE

from ..plan.leaf import Leaf
from ..plan.model import NODEV, NOEXEC, NOSUID, Mount, Plan, source_path
from ..system import paths
from . import planning
from .state import LaunchState

if False:  # for the type checker alone
    from typing import Callable

    Described = list[dict[str, object]]

_RESTRICTIONS = (("nosuid", NOSUID), ("nodev", NODEV), ("noexec", NOEXEC))


def _nothing(state: LaunchState) -> "Described":
    return []


def _sandbox(state: LaunchState) -> "Described":
    """The sandbox that --rm makes before there is a plan."""
    if state.request.sandbox_planned is None:
        return []
    sandbox = state.plan.sandbox
    owner = {"uid": sandbox.status.st_uid, "gid": sandbox.status.st_gid}
    return [{"action": "create", "target": sandbox.path, "mode": "0700", **owner}]


def _groups(state: LaunchState) -> "Described":
    return [_group(group) for group in state.plan.cgroups if group.ours]


def _agents_groups(state: LaunchState) -> "Described":
    """Groups that the agent has made, and that its helper is in."""
    return [_group(group) for group in state.plan.cgroups if not group.ours]


def _fork(state: LaunchState) -> "Described":
    return [{"action": "supervise", "for": planning.needs_parent(state.request)}]


def _leave_host(state: LaunchState) -> "Described":
    plan = state.plan
    namespaces = ["user", "mnt"] if plan.new_user_namespace else ["mnt"]
    return [
        {"action": "unshare", "namespaces": [*namespaces, *plan.namespaces]},
        {"action": "propagation", "target": "/", "mode": "slave"},
    ]


def _enter(state: LaunchState) -> "Described":
    plan = state.plan
    result = [*_creations(plan), *(_mount_step(mount, plan) for mount in plan.mounts)]
    if plan.own_queues:
        result.append({"action": "mqueue", "target": "/dev/mqueue"})
    return result


def _record(state: LaunchState) -> "Described":
    # Without a record nobody would remove what is not in the sandbox.
    best_effort = all(item.base is None for item in state.plan.mounts)
    return [{"action": "record", "target": state.plan.container_id, "best_effort": best_effort}]


def _proc(state: LaunchState) -> "Described":
    return [{"action": "proc", "target": "/proc"}]


def _init(state: LaunchState) -> "Described":
    return [{"action": "init"}]


def _no_new_privs(state: LaunchState) -> "Described":
    return [{"action": "no_new_privs", "because": state.plan.no_new_privs}]


def _become(state: LaunchState) -> "Described":
    user = state.plan.user
    return [{"action": "become", "uid": user.uid, "gid": user.gid, "groups": user.groups}]


def _exec(state: LaunchState) -> "Described":
    return [{"action": "exec", "target": state.plan.sandbox.path, "command": list(state.plan.command)}]


def _remove_groups(state: LaunchState) -> "Described":
    return [_removal(group.directory) for group in reversed(state.plan.cgroups) if group.ours]


def _remove_sandbox(state: LaunchState) -> "Described":
    return [_removal(state.plan.sandbox.path)]


def _remove_private(state: LaunchState) -> "Described":
    return [_removal(path) for path in own_directories(state.plan)]


def _removal(path: str) -> "dict[str, object]":
    return {"action": "remove", "target": path}


def _group(group: Leaf) -> "dict[str, object]":
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


# By the name of the step.
DESCRIPTIONS: "dict[str, Callable[[LaunchState], Described]]" = {
    # of a parent that stays (supervisor.py, spawn.py)
    "make_sandbox": _sandbox,
    "join_pid_namespace": _nothing,
    "subreaper": _nothing,
    "lock_sandbox": _nothing,
    "make_cgroups": _groups,
    "pid_namespace": _nothing,  # named with the others, which the child makes
    "fork": _fork,
    "stand_in": _nothing,
    "name_command": _nothing,
    "leave_sandbox": _nothing,
    "remove_cgroups": _remove_groups,
    "keep_sandbox": _nothing,
    "remove_sandbox": _remove_sandbox,
    "remove_private": _remove_private,
    "remove_record": _nothing,
    # of the command's process (order.py)
    "join_cgroups": _agents_groups,
    "leave_host": _leave_host,
    "enter": _enter,
    "record": _record,
    "mount_proc": _proc,
    "init": _init,
    "release_signals": _nothing,
    "warn": _nothing,
    "environment": _nothing,
    "keep_descriptors": _nothing,
    "restore_signals": _nothing,
    "no_new_privs": _no_new_privs,
    "leave_keyring": _nothing,
    "become": _become,
    "exec": _exec,
    # of an agent's launch (agent/)
    "reset_signals": _nothing,
    "agents_commands": _nothing,
    "working_directory": _nothing,
    "limits": _nothing,
    "program": _nothing,
    "packaged_call": _nothing,
    "drop_inheritable": _nothing,
    "packaged": _exec,
}
