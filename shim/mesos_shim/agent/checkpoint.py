"""What the agent holds of a container: its ContainerConfig (1.x) or ExecutorInfo (0.21), read from its own files.

Both are a 4-byte native-endian length and a protobuf message. Only the fields that a launch needs are decoded, into
the JSON form, so that container_info stays the only check of a ContainerInfo. Field numbers:
include/mesos/mesos.proto, include/mesos/slave/containerizer.proto (1.11); for 0.21 include/mesos/mesos.proto.
"""

import posix
import sys

from ..errors import ShimError, reason
from ..spec import config as configuration
from ..system import files
from . import protobuf

MAX_BYTES = 4 << 20
DEBUG = 2  # ContainerClass

_TYPES = {1: "DOCKER", 2: "MESOS"}
_MODES = {1: "RW", 2: "RO"}
# Of ContainerInfo and Volume, by number: what is there is named, so that nothing is honoured or dropped in silence.
_CONTAINER_FIELDS = {3: "docker", 4: "hostname", 5: "mesos", 7: "network_infos", 8: "linux_info", 10: "tty_info"}
_RLIMIT_INFO = 9
_VOLUME_FIELDS = {4: "image"}


class Held:
    """The parts of ContainerConfig or ExecutorInfo that a launch needs."""

    __slots__ = ("container_class", "container_info", "directory", "executor_id", "framework_id", "rootfs")

    def __init__(self) -> None:
        self.directory: str | None = None
        self.executor_id: str | None = None
        self.framework_id: str | None = None
        self.container_class: int | None = None
        # Of an image: the container's own, or with a command executor its task's.
        self.rootfs: str | None = None
        # In the JSON form, not yet checked; None where the agent has none.
        self.container_info: dict[str, object] | None = None


def read_message(path: str) -> "bytes | None":
    """The message in the checkpoint file `path`, None where there is none. Raises ShimError for a damaged one."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    try:
        data = _read_own(fd, path)
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    size = int.from_bytes(data[:4], sys.byteorder)
    if len(data) < 4 or size != len(data) - 4:
        raise ShimError(f"{path}: {len(data)} bytes where its own length says {size + 4}")
    return data[4:]


def _read_own(fd: int, path: str) -> bytes:
    try:
        if not files.is_trusted(posix.fstat(fd)):
            raise ShimError(f"{path}: does not belong to the agent")
        return configuration.read_all(fd, MAX_BYTES, path)
    finally:
        posix.close(fd)


def container_config(data: bytes, where: str) -> Held:
    """ContainerConfig of 1.x. The ContainerInfo is field 12: a nested container's ExecutorInfo is its parent's."""
    found = protobuf.fields(data, where)
    held = Held()
    held.directory = protobuf.text(found, 3, where)
    held.rootfs = protobuf.text(found, 5, where)
    held.container_class = protobuf.number(found, 14, where)
    executor = protobuf.message(found, 8, where)
    if executor is not None:
        _ids(protobuf.fields(executor, where), held, where)
    info = protobuf.message(found, 12, where)
    if info is not None:
        held.container_info = container_info(info, where)
    return held


def executor_info(data: bytes, where: str) -> Held:
    """ExecutorInfo of 0.21, into which the agent has merged its default."""
    found = protobuf.fields(data, where)
    held = Held()
    _ids(found, held, where)
    info = protobuf.message(found, 11, where)
    if info is not None:
        held.container_info = container_info(info, where)
    return held


def _ids(found: "list[tuple[int, int | bytes]]", held: Held, where: str) -> None:
    for number, name in ((1, "executor_id"), (8, "framework_id")):
        value = protobuf.message(found, number, where)
        if value is not None:
            setattr(held, name, protobuf.text(protobuf.fields(value, where), 1, where))


def container_info(data: bytes, where: str) -> "dict[str, object]":
    """ContainerInfo in its JSON form."""
    found = protobuf.fields(data, where)
    info: dict[str, object] = {"type": protobuf.enum_name(_TYPES, protobuf.number(found, 1, where))}
    info["volumes"] = [_volume(item, where) for item in protobuf.messages(found, 2, where)]
    for number, _ in found:
        if number in _CONTAINER_FIELDS:
            name = _CONTAINER_FIELDS[number]
            info[name] = _mesos(found, where) if name == "mesos" else True
        elif number == _RLIMIT_INFO:
            info["rlimit_info"] = True
        elif number > 2:
            info[f"field {number}"] = True
    return info


def _mesos(found: "list[tuple[int, int | bytes]]", where: str) -> object:
    """MesosInfo: empty is nothing, an image is not ours."""
    inner = protobuf.message(found, 5, where)
    return {} if not inner else True


def _volume(data: bytes, where: str) -> "dict[str, object]":
    found = protobuf.fields(data, where)
    volume: dict[str, object] = {}
    for number, name in ((1, "container_path"), (2, "host_path")):
        value = protobuf.text(found, number, where)
        if value is not None:
            volume[name] = value
    mode = protobuf.number(found, 3, where)
    if mode is not None:
        volume["mode"] = protobuf.enum_name(_MODES, mode)
    for number, _ in found:
        if number in _VOLUME_FIELDS:
            volume[_VOLUME_FIELDS[number]] = True
        elif number > 5:
            volume[f"field {number}"] = True
    source = protobuf.message(found, 5, where)
    if source is not None:
        from . import volume_source  # many have none

        volume["source"] = volume_source.read(source, where)
    return volume
