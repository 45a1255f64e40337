"""The limits that a ContainerLaunchInfo has for the command's process (RLimitInfo): read, and set."""

import resource

from ..errors import ShimError
from ..system import strict_json
from . import common

# Of RLimitInfo's types the one that Python has no name for (asm-generic/resource.h: the same on every machine).
_NAMELESS_LIMITS = {"RLMT_LOCKS": 10}


def read(outer: object) -> "list[tuple[str, int, int, int]]":
    """RLimitInfo as (name, resource, soft, hard); without values a limit is unlimited."""
    if not isinstance(outer, dict):
        raise ShimError("ContainerLaunchInfo.rlimits: not an object")
    result = []
    for item in common.objects(outer.get("rlimits"), "ContainerLaunchInfo.rlimits.rlimits"):
        kind = str(item.get("type"))
        where = f"ContainerLaunchInfo.rlimits: {kind}"
        number = getattr(resource, "RLIMIT_" + kind.replace("RLMT_", "", 1), _NAMELESS_LIMITS.get(kind))
        if number is None:
            raise ShimError(f"{where}: no such limit on this host")
        if (item.get("soft") is None) != (item.get("hard") is None):
            raise ShimError(f"{where}: soft and hard go together; give both, or neither for unlimited")
        soft, hard = (_limit(item.get(side), resource.RLIM_INFINITY, f"{where}.{side}") for side in ("soft", "hard"))
        result.append((kind, int(number), soft, hard))
    return result


def _limit(value: object, infinity: int, where: str) -> int:
    """One uint64, which protobuf's JSON may write as a string; from the largest int64 on it is no limit at all."""
    if value is None:
        return infinity
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= strict_json.MAX_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ShimError(f"{where}: {value!r} is not a number")
    # RLIM_INFINITY is ~0 to the kernel; Python's resource module takes no more than a signed 64 bit number.
    return infinity if value >= (1 << 63) - 1 else value


def set_one(name: str, number: int, soft: int, hard: int) -> None:
    """setrlimit(2), while we are still root."""
    try:
        resource.setrlimit(number, (soft, hard))
    except (OSError, ValueError) as error:
        raise ShimError(f"ContainerLaunchInfo.rlimits: {name}: soft {soft}, hard {hard}: {error}") from None
