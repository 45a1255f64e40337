"""A fleet as the playbook's first play leaves it in hostvars: one host of each kind."""

from __future__ import annotations

import json

DOCTOR_OK = [{"check": "kernel", "state": "ok", "message": "Linux 6.1", "remedy": ""}]


def container(number: int, executor: str, cpu: float, rss: int, **more: object) -> dict[str, object]:
    """One container at the second look; `cpu` is what it has used by then, in seconds."""
    statistics = {
        "timestamp": 1000.0 + more.pop("at", 0),
        "processes": 3 + number,
        "threads": 9,
        "cpus_user_time_secs": cpu,
        "cpus_system_time_secs": cpu / 10,
        "mem_rss_bytes": rss << 20,
    }
    for name in ("cpus_limit", "mem_limit_bytes"):
        if name in more:
            statistics[name] = more.pop(name)
    return {
        "container_id": f"5b1bd9e2-0c29-4b9e-9a07-3cf4b1c6{number:04x}",
        "executor_id": executor,
        "framework_id": "20140806-013434-1527386378-5050-42-0000",
        "pid": 4000 + number,
        "mode": "enforced",
        "isolation": ["filesystem/shared", "posix/cpu", "posix/mem"],
        "volumes": [{"container_path": "/tmp", "host_path": "tmp", "mode": "RW"}],
        "statistics": statistics,
        **more,
    }


def host(
    containers: list[tuple[dict[str, object], float]],
    release: str = "0.2.0-5f2c9e0b7a41",
    doctor: list[dict[str, str]] | None = None,
    change: str | None = "20260824T091502Z-7c1e",
    **more: object,
) -> dict[str, object]:
    """Hostvars of a host: containers with the CPUs that each used between the two looks, two seconds apart."""
    after = [item for item, _ in containers]
    before = json.loads(json.dumps(after))
    for item, (_, cpus) in zip(before, containers):
        item["statistics"]["timestamp"] -= 2
        item["statistics"]["cpus_user_time_secs"] -= 2 * cpus
    flags = {
        "attributes": {"rack": "r12", "zone": "b"},
        "default_container_info": None,
        "isolation": "posix/cpu,posix/mem",
        "launcher_dir": "/opt/mesos-shim/launcher",
        "master": "zk://mesos:********@10.0.0.1:2181/mesos",
        "switch_user": True,
        "work_dir": "/var/lib/mesos",
    }
    flags.update(more.pop("flags", {}))
    return {
        "mesos_agent_drift": [],
        "mesos_report_flags": {"flags": {name: value for name, value in flags.items() if value is not None}},
        "mesos_report_host": {
            "release": release,
            "generation": 3,
            "change": change,
            "cpus": 8,
            "memory": 16 << 30,
            "findings": doctor or DOCTOR_OK,
            "doctor_error": "",
        },
        "mesos_report_before": {"containers": before},
        "mesos_report_after": {"containers": after},
        **more,
    }


def fleet() -> dict[str, dict[str, object]]:
    """Six hosts: two as wanted, one that differs, one without isolation, one degraded, one that is gone."""
    gig = 1 << 30
    web = (container(1, "thermos-www-prod-frontend-0", 812.0, 640, cpus_limit=2.0, mem_limit_bytes=gig), 1.31)
    cron = (container(2, "thermos-www-prod-cron-3", 40.0, 96, cpus_limit=0.5, mem_limit_bytes=gig // 4), 0.04)
    batch = (container(3, "spark-executor-17", 5120.0, 3800, cpus_limit=4.0, mem_limit_bytes=4 * gig), 3.88)
    loose = (container(4, "thermos-data-devel-notebook-1", 9.0, 210, mode="usage-only"), 0.2)
    kafka = (container(5, "kafka-broker-2", 911.0, 2100, cpus_limit=2.0, mem_limit_bytes=6 * gig), 0.62)
    degraded = [
        {
            "check": "interpreter",
            "state": "degraded",
            "message": "ordinary users cannot execute it: /root is not searchable by other users",
            "remedy": "stage the release with another interpreter",
        }
    ]
    return {
        "agent-01.example.net": host([web, cron]),
        "agent-02.example.net": host([kafka, cron]),
        "agent-03.example.net": host(
            [web],
            release="0.1.0-0d9be1aa4c07",
            change="20260311T140911Z-b04d",
            flags={"gc_delay": "2days"},
            mesos_agent_drift=["release 0.1.0-0d9be1aa4c07 instead of 0.2.0-5f2c9e0b7a41", "flag gc_delay"],
        ),
        "agent-04.example.net": host([batch]),
        "agent-05.example.net": host([loose, cron], doctor=degraded),
        "agent-06.example.net": {"mesos_report_host": {"unreachable": True, "msg": "timed out"}},
    }
