"""The isolators beside filesystem/shared, each a module of its own and a line in the table.

A module has these functions (docs/isolators.md); those it does not need it leaves out:

    missing(request) -> str | None       why this host cannot do it, read-only, with what mends it
    tmpfs(request) -> list[Tmpfs]        volumes in memory that it wants
    add(request, plan) -> None           its part of the plan
    report(entry, seen, found) -> None   what it adds to a container's ResourceStatistics
    measure(entry, found) -> None        the same where that takes its time: asked when the counters are saved

What is added to a plan says for itself how it is carried out and cleared: groups (`plan.cgroups`) by the parent that
stays, namespaces (`plan.namespaces`) by the kernel.
"""

from ..errors import ShimError
from ..plan.model import Plan
from ..spec.config import Tmpfs
from ..spec.request import LaunchRequest

if False:  # for the type checker alone: no launch imports typing
    from types import ModuleType

# Name as in Mesos' --isolation, module, and whether a launch has to do with it.
TABLE = {
    "posix/cpu": ("posix_cpu", False),
    "posix/mem": ("posix_mem", False),
    "cgroups/cpu": ("cgroups_cpu", True),
    "cgroups/mem": ("cgroups_mem", True),
    "namespaces/pid": ("namespaces_pid", True),
    "namespaces/ipc": ("namespaces_ipc", True),
    "disk/du": ("disk_du", False),
}


class Missing(ShimError):
    """An isolator that was named cannot be had on this host."""


def module(name: str) -> "ModuleType":
    """The module of the isolator `name`."""
    # The builtin behind `importlib.import_module`, which a launch does not load.
    return __import__(f"{__name__}.{TABLE[name][0]}", None, None, ("missing",))


def at_launch(names: "tuple[str, ...]") -> "list[str]":
    """Those of the isolators `names` that have to do with a launch, in the table's order."""
    return [name for name, (_, launches) in TABLE.items() if launches and name in names]


def tmpfs(request: LaunchRequest) -> "list[Tmpfs]":
    """The volumes in memory that the isolators want; those of the configuration and the ContainerInfo go before."""
    volumes = request.info.volumes if request.info is not None else []
    taken = [item.container_path for item in volumes]
    if "filesystem/shared" in request.isolation:
        taken += [item.container_path for item in request.config.tmpfs]
    found: list[Tmpfs] = []
    for isolator in map(module, at_launch(request.isolation)):
        for item in isolator.tmpfs(request) if hasattr(isolator, "tmpfs") else []:
            if item.container_path not in taken:
                taken.append(item.container_path)
                found.append(item)
    return found


def add(request: LaunchRequest, plan: Plan) -> None:
    """Each isolator's part of the plan. Raises Missing where the host cannot do it."""
    for name in at_launch(request.isolation):
        why = module(name).missing(request)
        if why is not None:
            raise Missing(f"{name}: {why}")
    for name in at_launch(request.isolation):
        module(name).add(request, plan)
