"""`Volume.source` of Mesos 1.x (include/mesos/mesos.proto), parsed and checked as container_info.py does the rest.

It names a path on the host, or one in the sandbox. Every problem is noted with its place.
"""

from ..system import paths
from ..system.strict_json import kind_of, text_of

# Volume.Source.HostPath.MountPropagation.Mode
HOST_TO_CONTAINER = "HOST_TO_CONTAINER"
BIDIRECTIONAL = "BIDIRECTIONAL"


def read(value: object, json_path: str, problems: "list[str]") -> "tuple[str | None, bool]":
    """The host path, and whether the host's later mounts propagate into it."""
    if not isinstance(value, dict):
        problems.append(f"{json_path}: {kind_of(value)} where an object belongs")
        return None, False
    kind = value.get("type")
    if kind == "HOST_PATH":
        return _host_path_source(value, json_path, problems)
    if kind == "SANDBOX_PATH":
        return _sandbox_path_source(value, json_path, problems), False
    if kind in ("DOCKER_VOLUME", "SECRET", "CSI_VOLUME"):
        problems.append(
            f"{json_path}.type: {kind!r} belongs to another isolator; filesystem/shared takes HOST_PATH, SANDBOX_PATH"
        )
    else:
        problems.append(f"{json_path}.type: {kind!r} is not HOST_PATH or SANDBOX_PATH")
    return None, False


def _host_path_source(value: "dict[str, object]", json_path: str, problems: "list[str]") -> "tuple[str | None, bool]":
    inner = _inner(value, "host_path", json_path, ("path", "mount_propagation"), problems)
    if inner is None:
        return None, False
    path = text_of(inner, "path", f"{json_path}.host_path", problems)
    if path is not None:
        _check(path, f"{json_path}.host_path.path", problems)
    propagation = False
    if "mount_propagation" in inner:
        mode = inner["mount_propagation"]
        name = mode.get("mode") if isinstance(mode, dict) and set(mode) <= {"mode"} else mode
        if name == HOST_TO_CONTAINER:
            propagation = True
        elif name == BIDIRECTIONAL:
            problems.append(
                f"{json_path}.host_path.mount_propagation: BIDIRECTIONAL would carry the container's mounts to the host"
            )
        else:
            problems.append(f"{json_path}.host_path.mount_propagation: {name!r} is not {HOST_TO_CONTAINER}")
    return path, propagation


def _sandbox_path_source(value: "dict[str, object]", json_path: str, problems: "list[str]") -> "str | None":
    inner = _inner(value, "sandbox_path", json_path, ("type", "path"), problems)
    if inner is None:
        return None
    kind = inner.get("type")
    if kind == "PARENT":
        problems.append(f"{json_path}.sandbox_path.type: 'PARENT' needs a parent's sandbox, which only an agent knows")
    elif kind != "SELF":
        problems.append(f"{json_path}.sandbox_path.type: {kind!r} is not 'SELF'")
    path = text_of(inner, "path", f"{json_path}.sandbox_path", problems)
    if path is None:
        return None
    if path.startswith("/"):
        problems.append(f"{json_path}.sandbox_path.path: {path!r} is not relative")
        return None
    _check(path, f"{json_path}.sandbox_path.path", problems)
    return path


def _inner(
    value: "dict[str, object]", name: str, json_path: str, allowed: "tuple[str, ...]", problems: "list[str]"
) -> "dict[str, object] | None":
    for key in value:
        if key not in ("type", name):
            problems.append(f"{json_path}.{key}: unknown field for type {value['type']}")
    inner = value.get(name)
    if not isinstance(inner, dict):
        problems.append(f"{json_path}.{name}: required for type {value['type']}")
        return None
    for key in inner:
        if key not in allowed:
            problems.append(f"{json_path}.{name}.{key}: unknown field")
    return inner


def _check(path: str, json_path: str, problems: "list[str]") -> None:
    fault = paths.host_fault(path)
    if fault is not None:
        problems.append(f"{json_path}: {path!r} {fault}")
