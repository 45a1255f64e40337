"""A protobuf encoder for tests: the other half of what the shim decodes, written on its own."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """`value` in base 128."""
    result = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        result.append(low | (0x80 if value else 0))
        if not value:
            return bytes(result)


def number(field: int, value: int) -> bytes:
    """An integer or enumeration field."""
    return varint(field << 3) + varint(value)


def data(field: int, value: bytes | str) -> bytes:
    """A string or message field."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def volume(container_path: str, host_path: str, mode: int = 1) -> bytes:
    """Volume: mode 1 is RW, 2 is RO."""
    return data(1, container_path) + data(2, host_path) + number(3, mode)


def from_host(container_path: str, path: str, mode: int = 1, propagation: int | None = None) -> bytes:
    """Volume with a HOST_PATH source; propagation 1 is HOST_TO_CONTAINER, 2 is BIDIRECTIONAL."""
    inner = data(1, path) + (data(2, number(1, propagation)) if propagation is not None else b"")
    return data(1, container_path) + number(3, mode) + data(5, number(1, 4) + data(5, inner))


def from_sandbox(container_path: str, path: str, kind: int = 1, mode: int = 1) -> bytes:
    """Volume with a SANDBOX_PATH source; kind 1 is SELF, 2 is PARENT."""
    return data(1, container_path) + number(3, mode) + data(5, number(1, 2) + data(3, number(1, kind) + data(2, path)))


def secret(container_path: str, mode: int = 2) -> bytes:
    """Volume with a SECRET source, whose content the agent has resolved."""
    return data(1, container_path) + number(3, mode) + data(5, number(1, 3) + data(4, number(1, 2)))


def container_info(*volumes: bytes, kind: int = 2) -> bytes:
    """ContainerInfo; kind 2 is MESOS."""
    return number(1, kind) + b"".join(data(2, item) for item in volumes)


def checkpoint(message: bytes) -> bytes:
    """As an agent checkpoints a message: a native 4-byte length before it."""
    import sys

    return len(message).to_bytes(4, sys.byteorder) + message
