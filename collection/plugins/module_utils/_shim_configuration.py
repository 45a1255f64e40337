# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Where the configuration lies, and its volumes, for questions about the host. Whether it is valid the shim says."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import DEFAULT_PREFIX


def config_path(prefix):
    """Where the configuration of an installation lies."""
    own = "/etc" if prefix == DEFAULT_PREFIX else os.path.join(prefix, "etc")
    return os.path.join(own, "mesos-shim", "config.json")


class Volume(NamedTuple):
    """A volume of the host's or the sandbox's; host_path is None for a directory of the container's own."""

    container_path: str
    host_path: str | None
    read_only: bool


def volumes(info):
    """A Volume of everything that can be read as one."""
    found = []
    items = info.get("volumes") if isinstance(info, dict) else None
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict) or not isinstance(item.get("container_path"), str):
            continue
        source = item.get("host_path")
        volume_source = item.get("source")
        if isinstance(volume_source, dict):
            inner = volume_source.get("host_path") or volume_source.get("sandbox_path") or {}
            source = inner.get("path") if isinstance(inner, dict) else None
        if isinstance(source, str):
            found.append(Volume(item["container_path"], source, item.get("mode") == "RO"))
    return found


def expected(config):
    """What a container without a ContainerInfo gets by a configuration, as volumes() has it.

    The host path is None where it is a directory of the container's own, wherever that lies (`private_directories`).
    """
    found = volumes(config.get("default_container_info"))
    named = [os.path.normpath(volume.container_path) for volume in found]
    own = config.get("private_directories")
    paths = own if isinstance(own, dict) else {}
    return found + [Volume(path, None, False) for path in sorted(paths) if os.path.normpath(path) not in named]
