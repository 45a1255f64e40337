"""posix/cpu: seconds of CPU, as the sum over a container's processes. Nothing is limited."""

if False:  # for the type checker alone
    from ..containers.membership import Seen
    from ..containers.registry import Entry


def report(entry: "Entry", seen: "Seen", found: "dict[str, object]") -> None:
    """Seconds, those of ended children included, and the CPUs that it was given."""
    found["cpus_user_time_secs"], found["cpus_system_time_secs"] = (round(item, 3) for item in seen.cpu)
    if entry.cpus is not None:
        found["cpus_limit"] = entry.cpus
