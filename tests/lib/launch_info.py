"""What an agent writes into a ContainerLaunchInfo."""

from __future__ import annotations

BIND, RDONLY, NOSUID, NODEV, NOEXEC, MOVE, REC, SHARED = 0x1000, 1, 2, 4, 8, 0x2000, 0x4000, 0x100000
NEWNS, NEWPID = 0x20000, 0x20000000


def bind(source: object, target: object, more: int = 0) -> dict[str, object]:
    """createContainerMount(source, target, MS_BIND | MS_REC | more)."""
    return {"flags": BIND | REC | more, "source": str(source), "target": str(target)}


PROC = {"flags": NOSUID | NODEV | NOEXEC, "source": "proc", "target": "/proc", "type": "proc"}
