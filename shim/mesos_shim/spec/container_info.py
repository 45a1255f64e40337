"""ContainerInfo and Volume as Mesos writes them in JSON (include/mesos/mesos.proto), parsed and checked.

The only place of the project where a ContainerInfo is understood. `parse` never raises for a bad ContainerInfo:
it returns every problem with its exact place, so that `validate` can list them all and a launch can refuse by the
first.
"""

from ..errors import ShimError
from ..system import paths

MAX_VOLUMES = 128

RW = "RW"
RO = "RO"

# Volume.Source.HostPath.MountPropagation.Mode
HOST_TO_CONTAINER = "HOST_TO_CONTAINER"
BIDIRECTIONAL = "BIDIRECTIONAL"

# Fields of ContainerInfo that other isolators of an agent act on. They are named in a warning, never silently dropped.
_FIELDS_OF_OTHERS = ("hostname", "linux_info", "network_infos", "rlimit_info", "tty_info")


class Volume:
    """One volume: `host_path` (relative: in the sandbox) appears at `container_path`."""

    __slots__ = ("container_path", "host_path", "json_path", "propagation", "read_only")

    def __init__(
        self, container_path: str, host_path: str, read_only: bool, propagation: bool = False, json_path: str = "volume"
    ) -> None:
        self.container_path = container_path
        self.host_path = host_path
        self.read_only = read_only
        self.propagation = propagation
        self.json_path = json_path

    @property
    def relative(self) -> bool:
        """Whether the source is a directory of the sandbox, made there when it is missing."""
        return not self.host_path.startswith("/")


class ContainerInfo:
    """What a launch needs of a ContainerInfo."""

    __slots__ = ("volumes", "warnings")

    def __init__(self, volumes: "list[Volume]", warnings: "list[str] | None" = None) -> None:
        self.volumes = volumes
        self.warnings = warnings or []


def parse(value: object, where: str, enforced: "tuple[str, ...]" = ()) -> "tuple[ContainerInfo, list[str]]":
    """The ContainerInfo in the parsed JSON `value` and the list of its problems, each with its place.

    Of fields that are other isolators' a warning says that nobody enforces them, but for those in `enforced`.
    """
    problems: list[str] = []
    info = ContainerInfo([])
    if not isinstance(value, dict):
        return info, [f"{where}: {_kind(value)} where a ContainerInfo (an object) belongs"]
    kind = value.get("type")
    if kind is None:
        problems.append(f"{where}.type: required ('MESOS')")
    elif kind == "DOCKER":
        problems.append(f"{where}.type: 'DOCKER' needs the Docker containerizer; filesystem/shared takes 'MESOS'")
    elif kind != "MESOS":
        problems.append(f"{where}.type: {kind!r} is not 'MESOS'")
    for key, item in value.items():
        if key in ("type", "volumes"):
            continue
        if key == "mesos" and isinstance(item, dict) and not item:
            continue
        if key in ("mesos", "docker"):
            problems.append(
                f"{where}.{key}: filesystem/shared does not provide images and root file systems; remove it"
            )
        elif key in _FIELDS_OF_OTHERS:
            if key not in enforced:
                info.warnings.append(f"{where}.{key} is not enforced by mesos-shim")
        else:
            problems.append(f"{where}.{key}: unknown field of a ContainerInfo")
    volumes = value.get("volumes", [])
    if not isinstance(volumes, list):
        problems.append(f"{where}.volumes: {_kind(volumes)} where a list belongs")
        volumes = []
    if len(volumes) > MAX_VOLUMES:
        problems.append(f"{where}.volumes: {len(volumes)} volumes; at most {MAX_VOLUMES}")
        volumes = volumes[:MAX_VOLUMES]
    for index, item in enumerate(volumes):
        json_path = f"{where}.volumes[{index}]"
        before = len(problems)
        volume = _volume(item, json_path, problems)
        if volume is not None and len(problems) == before:
            info.volumes.append(volume)
    problems.extend(_duplicates(info.volumes))
    for volume in info.volumes:
        if volume.propagation and volume.read_only:
            info.warnings.append(
                f"{volume.json_path}: {HOST_TO_CONTAINER} is not applied to a read-only volume, because "
                "what the host mounts below it later would be writable"
            )
    return info, problems


def parse_or_refuse(value: object, where: str, enforced: "tuple[str, ...]" = ()) -> ContainerInfo:
    """The ContainerInfo, or ShimError with its first problem and how many more there are."""
    info, problems = parse(value, where, enforced)
    refuse(problems)
    return info


def refuse(problems: "list[str]") -> None:
    """Raise ShimError for the first of `problems`, if there is one."""
    if problems:
        more = f" (and {len(problems) - 1} more: mesos-shim validate lists them)" if len(problems) > 1 else ""
        raise ShimError(problems[0] + more)


def parse_argument(text: str) -> Volume:
    """The Volume of a `--volume HOST:CONTAINER[:RW|RO]` argument."""
    parts = text.split(":")
    mode = RW
    if len(parts) == 3:
        mode = parts.pop()
    if len(parts) != 2:
        raise ShimError(f"--volume {text!r}: not HOST:CONTAINER[:RW|RO]; for a path with ':' use --container-info")
    value = {"host_path": parts[0], "container_path": parts[1], "mode": mode}
    problems: list[str] = []
    volume = _volume(value, f"--volume {text!r}", problems)
    refuse(problems)
    assert volume is not None  # noqa: S101 (for the type checker: a volume or a problem)
    return volume


def _duplicates(volumes: "list[Volume]") -> "list[str]":
    seen: dict[str, str] = {}
    problems = []
    for volume in volumes:
        first = seen.setdefault(volume.container_path, volume.json_path)
        if first != volume.json_path:
            problems.append(
                f"{volume.json_path}.container_path: {volume.container_path!r} is already the target of {first}"
            )
    return problems


def _volume(value: object, json_path: str, problems: "list[str]") -> "Volume | None":
    if not isinstance(value, dict):
        problems.append(f"{json_path}: {_kind(value)} where a Volume (an object) belongs")
        return None
    for key in value:
        if key == "image":
            problems.append(f"{json_path}.image: filesystem/shared does not provide volumes from images")
        elif key not in ("container_path", "host_path", "mode", "source"):
            problems.append(f"{json_path}.{key}: unknown field of a Volume")
    container_path = _text(value, "container_path", json_path, problems)
    if container_path is not None:
        container_path = _container_path(container_path, json_path, problems)
    mode = _text(value, "mode", json_path, problems)
    if mode is not None and mode not in (RW, RO):
        problems.append(f"{json_path}.mode: {mode!r} is neither 'RW' nor 'RO'")
    propagation = False
    if "source" in value:
        if "host_path" in value:
            problems.append(f"{json_path}: both host_path and source; keep one")
        host_path, propagation = _source(value["source"], f"{json_path}.source", problems)
    else:
        host_path = _text(value, "host_path", json_path, problems)
        if host_path is not None:
            _check_host_path(host_path, f"{json_path}.host_path", problems)
    if host_path is None or container_path is None:
        return None
    if not host_path.startswith("/"):
        host_path = "/".join(paths.split(host_path))
    else:
        host_path = paths.normal(host_path)
    return Volume(container_path, host_path, mode == RO, propagation, json_path)


def _container_path(path: str, json_path: str, problems: "list[str]") -> str:
    fault = paths.fault(path)
    if fault is None and not path.startswith("/"):
        fault = "is not absolute"
    normal = paths.normal(path)
    if fault is None:
        fault = forbidden_target(normal)
    if fault is not None:
        problems.append(f"{json_path}.container_path: {path!r} {fault}")  # as it was written, or nobody finds it
    return normal


def forbidden_target(path: str) -> "str | None":
    """Why nothing may be mounted on the normal `path`, checked by its name alone, or None.

    The kernel's own file systems are refused by their type besides, when the path is opened (threats 7).
    """
    if path == "/":
        return "is the root directory, and covering it would hide everything"
    top = paths.split(path)[0]
    if top in ("proc", "sys") or (top == "dev" and path != "/dev/shm" and not paths.is_below(path, "/dev/shm")):  # noqa: S108
        return f"lies in /{top}, which belongs to the kernel"
    return None


def _check_host_path(path: str, json_path: str, problems: "list[str]") -> None:
    fault = paths.fault(path) if path.startswith("/") else paths.fault_relative(path)
    if fault is None and path.startswith("/") and paths.normal(path) == "/":
        fault = "is the root directory"
    if fault is not None:
        problems.append(f"{json_path}: {path!r} {fault}")


def _source(value: object, json_path: str, problems: "list[str]") -> "tuple[str | None, bool]":
    """`Volume.source` of Mesos 1.x: host path and whether the host's later mounts propagate into it."""
    if not isinstance(value, dict):
        problems.append(f"{json_path}: {_kind(value)} where an object belongs")
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
    path = _text(inner, "path", f"{json_path}.host_path", problems)
    if path is not None:
        _check_host_path(path, f"{json_path}.host_path.path", problems)
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
    path = _text(inner, "path", f"{json_path}.sandbox_path", problems)
    if path is None:
        return None
    if path.startswith("/"):
        problems.append(f"{json_path}.sandbox_path.path: {path!r} is not relative")
        return None
    _check_host_path(path, f"{json_path}.sandbox_path.path", problems)
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


def _text(value: "dict[str, object]", key: str, json_path: str, problems: "list[str]") -> "str | None":
    if key not in value:
        problems.append(f"{json_path}.{key}: required")
        return None
    text = value[key]
    if not isinstance(text, str):
        problems.append(f"{json_path}.{key}: {_kind(text)} where a string belongs")
        return None
    return text


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
