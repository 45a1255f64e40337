"""Whether a container's id is free: only where its record is of one that is known to have ended.

Not on the way of a usual launch: only where there is a record of that id.
"""

from ..errors import ShimError
from . import membership, processes, record, registry
from .counters import Counters
from .sight import current_sight


def check_unused(place: "record.Place", container_id: str) -> None:
    """Refuse an id that a container has which runs, or may run, for all that can be seen from here."""
    found = record.which(place, f"{container_id}.json")
    problem = why(place, container_id)
    if problem is not None:
        raise ShimError(f"--container-id: {container_id!r} {problem}")
    place.replaceable = found


def why(place: "record.Place", container_id: str) -> "str | None":
    """Why the id, of which there is a record, cannot be given away; None where it can. Raises OSError."""
    damaged: dict[str, str] = {}
    entries, _ = registry.read_from(place.fd, place.path, damaged)
    name = f"{container_id}.json"
    if name in damaged:
        return (
            f"has a record that cannot be read ({damaged[name]}); 'mesos-shim gc' removes it if no process of it runs"
        )
    entry = next((item for item in entries if item.container_id == container_id), None)
    if entry is None:
        return None  # it has just gone
    members = membership.find(entries, processes.table(), Counters(place.path, locked=False).previous_members(entries))
    if members.alive(entry):
        return f"is in use by pid {members.one(entry).pid}"
    hidden, sight = members.hidden.get(container_id), current_sight()
    # Of this boot, it may just be beginning: then nobody is in its namespace yet.
    begins = not sight.counts_pids_of(entry.pid_namespace) and membership.same_boot(entry, sight.boot)
    if hidden == membership.OTHER_PIDS or (begins and hidden is None):
        return (
            "belongs to a container in another pid namespace, whose end is not visible from here; run "
            "'mesos-shim gc' where it was launched"
        )
    return None if hidden is None else f"may be in use, because its state is unknown from here: {hidden}"
