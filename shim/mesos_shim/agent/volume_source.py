"""Volume.Source of a checkpointed ContainerInfo, decoded into its JSON form (checkpoint.py)."""

from . import protobuf

_SOURCES = {1: "DOCKER_VOLUME", 2: "SANDBOX_PATH", 3: "SECRET", 4: "HOST_PATH", 5: "CSI_VOLUME"}
_SANDBOX_PATHS = {1: "SELF", 2: "PARENT"}
_PROPAGATIONS = {1: "HOST_TO_CONTAINER", 2: "BIDIRECTIONAL"}


def read(data: bytes, where: str) -> "dict[str, object]":
    """Volume.Source: type 1, docker_volume 2, sandbox_path 3, secret 4, host_path 5, csi_volume 6."""
    found = protobuf.fields(data, where)
    source: dict[str, object] = {"type": protobuf.enum_name(_SOURCES, protobuf.number(found, 1, where))}
    sandbox = protobuf.message(found, 3, where)
    if sandbox is not None:
        inner = protobuf.fields(sandbox, where)
        source["sandbox_path"] = {
            "type": protobuf.enum_name(_SANDBOX_PATHS, protobuf.number(inner, 1, where)),
            "path": protobuf.text(inner, 2, where),
        }
    host = protobuf.message(found, 5, where)
    if host is not None:
        inner = protobuf.fields(host, where)
        host_path: dict[str, object] = {"path": protobuf.text(inner, 1, where)}
        propagation = protobuf.message(inner, 2, where)
        if propagation is not None:
            mode = protobuf.number(protobuf.fields(propagation, where), 1, where)
            host_path["mount_propagation"] = {"mode": protobuf.enum_name(_PROPAGATIONS, mode)}
        source["host_path"] = host_path
    return source
