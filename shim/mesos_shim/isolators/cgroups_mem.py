"""cgroups/mem: a hard limit of the memory that a container may have, and what it has, by control groups.

Swap counts: a limit that a task can leave by swapping is none. What goes beyond is killed by the kernel, and that is
said (launch/supervisor.py).
"""

from ..plan.model import Draft
from ..spec.request import LaunchRequest
from ..system import cgroups
from . import groups

if False:  # for the type checker alone: no launch imports typing
    from ..containers.membership import Seen
    from ..containers.registry import Entry


def missing(request: LaunchRequest) -> "str | None":
    """Why this host gives no memory group, None if it does."""
    return groups.why_missing(request, "memory")


def where() -> str:
    """Where the container's group would be."""
    return groups.where("memory")


def add(request: LaunchRequest, plan: Draft) -> None:
    """The container's group in the hierarchy of memory."""
    megabytes = plan.limits.get("mem")
    if megabytes is None:
        groups.add(request, plan, "memory", [], [])
        return
    limit = str(int(megabytes * (1 << 20)))
    # The limit of memory and swap together may never be below that of memory alone: it is set second.
    first = [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", limit)]
    groups.add(request, plan, "memory", first, [("memory.max", limit), ("memory.swap.max", "0")])


def report(entry: "Entry", seen: "Seen", found: "dict[str, object]") -> None:
    """Bytes as the kernel charges them: shared pages once, the page cache besides."""
    directory = entry.cgroups.get("memory")
    if directory is None:
        return
    total = cgroups.number(f"{directory}/memory.usage_in_bytes")
    if total is None:
        total = cgroups.number(f"{directory}/memory.current")
    if total is None:
        return  # it has just ended
    found["mem_total_bytes"] = total
    stat = cgroups.values(f"{directory}/memory.stat")
    for name, first, second in (
        ("mem_rss_bytes", "total_rss", "anon"),
        ("mem_anon_bytes", "total_rss", "anon"),
        ("mem_file_bytes", "total_cache", "file"),
        ("mem_mapped_file_bytes", "total_mapped_file", "file_mapped"),
    ):
        value = stat.get(first, stat.get(second))
        if value is not None:
            found[name] = value


def killed(directory: str) -> int:
    """How many processes of the group, and of those below it, the kernel has killed for memory (since Linux 4.13)."""
    events = cgroups.values(f"{directory}/memory.events")
    if events:
        return events.get("oom_kill", 0)  # what happens below counts here too
    found = (cgroups.values(f"{path}/memory.oom_control") for path in cgroups.tree(directory))
    return sum(values.get("oom_kill", 0) for values in found)
