"""posix/mem: resident memory, as the sum over a container's processes. Nothing is limited."""

if False:  # for the type checker alone
    from ..containers.membership import Seen
    from ..containers.registry import Entry


def report(entry: "Entry", seen: "Seen", found: "dict[str, object]") -> None:
    """Bytes; a page that two processes share counts twice, as in Mesos. cgroups/mem counts it once."""
    found["mem_rss_bytes"] = sum(item.rss for item in seen.figures.values())
    if entry.mem is not None:
        found["mem_limit_bytes"] = int(entry.mem * (1 << 20))
