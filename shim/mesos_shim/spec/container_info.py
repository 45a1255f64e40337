"""ContainerInfo and Volume as Mesos writes them in JSON (include/mesos/mesos.proto), parsed and checked.

The only place of the project where a ContainerInfo is understood. `parse` never raises for a bad ContainerInfo:
it returns every problem with its exact place, so that `validate` can list them all and a launch can refuse by the
first.
"""

from ..errors import ShimError
from ..system import paths
from ..system.strict_json import kind_of, text_of

MAX_VOLUMES = 128

RW = "RW"
RO = "RO"

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
        return info, [f"{where}: {kind_of(value)} where a ContainerInfo (an object) belongs"]
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
        problems.append(f"{where}.volumes: {kind_of(volumes)} where a list belongs")
        volumes = []
    if len(volumes) > MAX_VOLUMES:
        problems.append(f"{where}.volumes: {len(volumes)} volumes; at most {MAX_VOLUMES}")
        volumes = volumes[:MAX_VOLUMES]
    for index, item in enumerate(volumes):
        json_path = f"{where}.volumes[{index}]"
        before = len(problems)
        volume = read_volume(item, json_path, problems)
        if volume is not None and len(problems) == before:
            info.volumes.append(volume)
    problems.extend(_duplicates(info.volumes))
    for volume in info.volumes:
        if volume.propagation and volume.read_only:
            info.warnings.append(
                f"{volume.json_path}: HOST_TO_CONTAINER is not applied to a read-only volume, because "
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


def read_volume(value: object, json_path: str, problems: "list[str]") -> "Volume | None":
    """The Volume in the parsed JSON `value`, None with a problem."""
    if not isinstance(value, dict):
        problems.append(f"{json_path}: {kind_of(value)} where a Volume (an object) belongs")
        return None
    for key in value:
        if key == "image":
            problems.append(f"{json_path}.image: filesystem/shared does not provide volumes from images")
        elif key not in ("container_path", "host_path", "mode", "source"):
            problems.append(f"{json_path}.{key}: unknown field of a Volume")
    container_path = text_of(value, "container_path", json_path, problems)
    if container_path is not None:
        container_path = _container_path(container_path, json_path, problems)
    mode = text_of(value, "mode", json_path, problems)
    if mode is not None and mode not in (RW, RO):
        problems.append(f"{json_path}.mode: {mode!r} is neither 'RW' nor 'RO'")
    propagation = False
    if "source" in value:
        if "host_path" in value:
            problems.append(f"{json_path}: both host_path and source; keep one")
        from . import volume_source  # many have none

        host_path, propagation = volume_source.read(value["source"], f"{json_path}.source", problems)
    else:
        host_path = text_of(value, "host_path", json_path, problems)
        fault = None if host_path is None else paths.host_fault(host_path)
        if fault is not None:
            where = f"{json_path}.host_path"
            problems.append(f"{where}: {host_path!r} {fault}")
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
