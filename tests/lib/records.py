"""Invented records."""

from __future__ import annotations

from typing import Any

from mesos_shim.containers import registry
from mesos_shim.usage.sample import Used

BOOT = "boot-1"
STATISTICS: dict[str, object] = {
    "timestamp": 1700000000.5,
    "processes": 3,
    "threads": 7,
    "cpus_user_time_secs": 1.5,
    "cpus_system_time_secs": 0.25,
    "cpus_limit": 0.5,
    "cpus_nr_periods": 10,
    "cpus_nr_throttled": 4,
    "cpus_throttled_time_secs": 0.75,
    "mem_rss_bytes": 1048576,
    "mem_total_bytes": 2097152,
    "mem_anon_bytes": 1048576,
    "mem_file_bytes": 524288,
    "mem_mapped_file_bytes": 4096,
    "mem_limit_bytes": 67108864,
    "disk_used_bytes": 123456,
}


def entry(name: str, pid: int, start: int | None, **fields: object) -> registry.Entry:
    """A record as it would be read back."""
    value: dict[str, object] = {
        "container_id": name,
        "pid": pid,
        "start_time": start,
        "boot_id": BOOT,
        "mode": "enforced",
        "isolation": [],
        "sandbox": "/s",
        "uid": 0,
        **fields,
    }
    return registry.Entry(value, 1000.0)


def used(name: str = "c-1", **fields: object) -> Used:
    """A container with every statistic there is."""
    given: dict[str, Any] = {"executor_id": "exec", "framework_id": "frame", "isolation": ["posix/cpu"], **fields}
    statistics = given.pop("statistics", STATISTICS)
    return Used(entry(name, 10, 100, **given), dict(statistics))
