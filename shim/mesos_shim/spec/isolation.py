"""The registry of isolators: their names, and what each of them declares about itself.

It is data and lies below everything that needs it: the configuration reads names, a launch and usage-only mode read
traits. What an isolator does is in `isolators/`, in a module that is called after it: `posix/cpu` is
`isolators/posix_cpu.py`. docs/isolators.md shows how to add one. Every launch imports this file, so it imports nothing.
"""


class Isolator:
    """What is known of an isolator before its module is loaded."""

    __slots__ = ("aliases", "always_reports", "limit", "name", "needs_parent", "portable", "reports_only")

    def __init__(
        self,
        name: str,
        reports_only: bool = False,
        portable: bool = False,
        always_reports: bool = False,
        needs_parent: bool = False,
        limit: "str | None" = None,
        aliases: "tuple[str, ...]" = (),
    ) -> None:
        # As in Mesos' --isolation, if Mesos has it.
        self.name = name
        # It has no part in a launch, so it stays in usage-only mode.
        self.reports_only = reports_only
        # It reports on other systems than Linux too.
        self.portable = portable
        # It reports on every container, whatever isolators that has: the processes are looked at anyway.
        self.always_reports = always_reports
        # A parent must stay beside the command, to clear away what it ran in: control groups, a pid namespace.
        self.needs_parent = needs_parent
        # Which of a container's limits it enforces: "cpus" or "mem".
        self.limit = limit
        # Mesos' other names for it (slave/containerizer/mesos/containerizer.cpp, 0.21 and 1.11). One that names
        # several isolators stands at each of them; `cgroups/all` is all that this program has.
        self.aliases = aliases


# The one that has no module: the launch itself does what it stands for.
FILESYSTEM_SHARED = "filesystem/shared"

# In the order in which a launch asks them, records name them and doctor probes them.
REGISTRY = (
    Isolator(FILESYSTEM_SHARED),
    Isolator("posix/cpu", reports_only=True, portable=True, always_reports=True, aliases=("process",)),
    Isolator("posix/mem", reports_only=True, portable=True, always_reports=True, aliases=("process",)),
    Isolator("cgroups/cpu", needs_parent=True, limit="cpus", aliases=("cgroups", "cgroups/all")),
    Isolator("cgroups/mem", needs_parent=True, limit="mem", aliases=("cgroups", "cgroups/all")),
    Isolator("namespaces/pid", needs_parent=True),
    Isolator("namespaces/ipc"),
    Isolator("disk/du", reports_only=True, portable=True, aliases=("posix/disk",)),
)
NAMES = tuple([item.name for item in REGISTRY])


def among(names: "tuple[str, ...] | list[str]") -> "list[Isolator]":
    """The isolators `names`, in the registry's order; a record of another release may name some that are not here."""
    return [item for item in REGISTRY if item.name in names]


def with_module_at_launch(names: "tuple[str, ...]") -> "list[str]":
    """Those of `names` whose modules have a part in a launch."""
    return [item.name for item in among(names) if not item.reports_only and item.name != FILESYSTEM_SHARED]


def aliases() -> "dict[str, tuple[str, ...]]":
    """Mesos' other names, each with the isolators that it means."""
    found: dict[str, tuple[str, ...]] = {}
    for item in REGISTRY:
        for alias in item.aliases:
            found[alias] = (*found.get(alias, ()), item.name)
    return found
