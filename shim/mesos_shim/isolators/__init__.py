"""The isolators beside filesystem/shared, each a module that is called after it: `posix/cpu` is posix_cpu.py.

Names and declared traits are in the registry, `spec/isolation.py`. A module has those of these functions that it needs;
docs/isolators.md says what each is for:

    missing(request) -> str | None       why this host cannot do it, read-only, with what fixes it
    tmpfs(request) -> list[Tmpfs]        volumes in memory that it wants
    add(request, plan) -> None           its part of the plan
    report(entry, seen, found) -> None   what it adds to a container's ResourceStatistics
    measure(entry, found) -> None        the same where that takes its time: asked when the counters are saved
    exceeded(entry, found) -> list[str]  what to warn of, of what was measured
    attempt() -> None                    for doctor: what only the attempt shows, made in a child; raises OSError
    where() -> str                       for doctor: where the host gives it

What is added to a plan says for itself how it is carried out and cleared: groups (`plan.cgroups`) by the parent that
stays, namespaces (`plan.namespaces`) by the kernel.
"""

from ..errors import ShimError
from ..plan.model import Draft
from ..spec import isolation
from ..spec.request import LaunchRequest

if False:  # for the type checker alone: no launch imports typing
    from types import ModuleType

    from ..spec.config_tables import Tmpfs


class Missing(ShimError):
    """An isolator that was named cannot be had on this host."""


def module(name: str) -> "ModuleType":
    """The module of the isolator `name`."""
    # The builtin behind `importlib.import_module`, which a launch does not load.
    return __import__(f"{__name__}.{name.replace('/', '_')}", None, None, ("missing",))


def at_launch(names: "tuple[str, ...]") -> "list[tuple[str, ModuleType]]":
    """Those of the isolators `names` that have a part in a launch, with their modules."""
    return [(name, module(name)) for name in isolation.with_module_at_launch(names)]


def reporting(names: "list[str]") -> "list[tuple[str, ModuleType]]":
    """Those that are asked what a container with the isolators `names` uses, with their modules."""
    return [
        (item.name, module(item.name))
        for item in isolation.REGISTRY
        if item.name != isolation.FILESYSTEM_SHARED and (item.name in names or item.always_reports)
    ]


def tmpfs(request: LaunchRequest) -> "list[Tmpfs]":
    """The volumes in memory that the isolators want; those of the configuration and the ContainerInfo go before."""
    volumes = request.info.volumes if request.info is not None else []
    taken = [item.container_path for item in volumes]
    if isolation.FILESYSTEM_SHARED in request.isolation:
        taken += [item.container_path for item in request.config.tmpfs]
    found: list[Tmpfs] = []
    for _, isolator in at_launch(request.isolation):
        for item in isolator.tmpfs(request) if hasattr(isolator, "tmpfs") else []:
            if item.container_path not in taken:
                taken.append(item.container_path)
                found.append(item)
    return found


def add(request: LaunchRequest, plan: Draft) -> None:
    """Each isolator's part of the plan. Raises Missing where the host cannot do it."""
    requested = at_launch(request.isolation)
    for name, isolator in requested:
        why = isolator.missing(request)
        if why is not None:
            raise Missing(f"{name}: {why}")
    for _, isolator in requested:
        if hasattr(isolator, "add"):
            isolator.add(request, plan)
