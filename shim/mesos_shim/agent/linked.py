"""Volumes of a pod's tasks that the agent has made symbolic links for, to their parent's files."""

from . import common


def without(info: "dict[str, object]", linked: "list[str]") -> "dict[str, object]":
    """The ContainerInfo of a nested container without the volumes that the agent has made symbolic links for.

    Without filesystem/linux that is how a pod's tasks share their parent's files (volume/sandbox_path). Where in the
    sandbox the links are is put into `linked`.
    """
    volumes = []
    for volume in common.objects(info.get("volumes"), "ContainerInfo.volumes"):
        path = volume.get("container_path")
        if _is_of_parent(volume) and isinstance(path, str) and not path.startswith("/"):
            linked.append(path)
        else:
            volumes.append(volume)
    return {**info, "volumes": volumes}


def _is_of_parent(volume: "dict[str, object]") -> bool:
    source = volume.get("source")
    inner = source.get("sandbox_path") if isinstance(source, dict) else None
    return isinstance(inner, dict) and inner.get("type") == "PARENT"
