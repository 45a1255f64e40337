# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The volumes of a ContainerInfo, for questions about the host. Whether it is valid only the shim can say."""

from __future__ import annotations


def volumes(info):
    """[(container path, host path, read only)] of what can be read as a volume of the host's or the sandbox's."""
    found = []
    items = info.get("volumes") if isinstance(info, dict) else None
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or not isinstance(item.get("container_path"), str):
            continue
        source = item.get("host_path")
        given = item.get("source")
        if isinstance(given, dict):
            inner = given.get("host_path") or given.get("sandbox_path") or {}
            source = inner.get("path") if isinstance(inner, dict) else None
        if isinstance(source, str):
            found.append((item["container_path"], source, item.get("mode") == "RO"))
    return found
