"""May this source of volumes have what it names? (threats 19)

Callers and operators may name anything: they could run the mount themselves. A framework's volumes go through the
operator's `framework_volumes`, because the shim runs as root on a stranger's paths.
"""

from ..errors import ShimError
from ..system import paths
from .config import Config
from .container_info import ContainerInfo, Volume


def check(info: ContainerInfo, config: Config) -> None:
    """Refuse a framework's ContainerInfo that the operator's policy does not allow."""
    allowed = config.framework_volumes
    for volume in info.volumes:
        if allowed == "none":
            raise ShimError(f"{volume.json_path}: framework_volumes is 'none', so frameworks may not bring volumes")
        if volume.relative or allowed == "all":
            continue
        if allowed == "relative" or not _matches(volume, allowed):
            raise ShimError(
                f"{volume.json_path}.host_path: {volume.host_path!r} is not allowed to frameworks; "
                f"framework_volumes is {allowed!r}"
            )


def _matches(volume: Volume, globs: "str | list[str]") -> bool:
    from fnmatch import fnmatchcase  # needed only where the operator lists globs

    parts = paths.split(volume.host_path)
    for glob in globs:
        wanted = paths.split(glob)
        # By component: `*` never reaches across a '/'.
        if len(parts) == len(wanted) and all(fnmatchcase(part, want) for part, want in zip(parts, wanted)):
            return True
    return False


def check_private(path: str, where: str, private: "list[str]") -> None:
    """Refuse a framework's absolute source in the agent's or our own directories; both paths are resolved."""
    for directory in private:
        if path == directory or paths.is_below(path, directory) or paths.is_below(directory, path):
            raise ShimError(
                f"{where}.host_path: {path!r} reaches {directory!r}, which belongs to the agent or the shim"
            )
