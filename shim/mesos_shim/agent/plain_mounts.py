"""An agent's plain mounts as volumes, where no ContainerInfo says what they are."""

from ..errors import ShimError
from ..spec import container_info
from ..spec.container_info import ContainerInfo, Volume
from ..system import paths


def as_mounted(pairs: "list[tuple[str, str]]", sandbox: str) -> ContainerInfo:
    """The volumes behind an agent's plain mounts (source, target), where no ContainerInfo was found."""
    volumes: list[Volume] = []
    for source, target in pairs:
        where = f"mount of {target!r}"
        for path, name in ((source, "source"), (target, "target")):
            fault = paths.fault(path) or (None if path.startswith("/") else "is not absolute")
            if fault is None and paths.normal(path) == "/":
                fault = "is the root directory"
            if fault is not None:
                raise ShimError(f"{where}: {name} {path!r} {fault}")
        fault = container_info.forbidden_target(paths.normal(target))
        if fault is not None:
            raise ShimError(f"{where}: {target!r} {fault}")
        target = paths.normal(target)
        source = paths.normal(source)
        if any(volume.container_path == target for volume in volumes):
            raise ShimError(f"{where}: there are two, and one would hide the other")
        if paths.is_below(source, sandbox):
            source = "/".join(paths.relative(source, sandbox))
        volumes.append(Volume(target, source, read_only=False, json_path=where))
    warning = (
        "no ContainerInfo found, so the agent's mounts are applied as they are, and read-write "
        "because their mode is unknown"
    )
    return ContainerInfo(volumes, [warning] if volumes else [])
