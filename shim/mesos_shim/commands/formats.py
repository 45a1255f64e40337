"""A sample as a table for people, as JSON, or as OpenMetrics."""

import json

from ..errors import one_line
from ..usage.sample import Used

# name, unit, type, help, statistic (https://prometheus.io/docs/specs/om/open_metrics_spec)
_METRICS = (
    ("processes", "", "gauge", "Processes of the container.", "processes"),
    ("threads", "", "gauge", "Threads of the container.", "threads"),
    ("cpu_user_seconds", "seconds", "counter", "CPU time in user mode.", "cpus_user_time_secs"),
    ("cpu_system_seconds", "seconds", "counter", "CPU time in the kernel.", "cpus_system_time_secs"),
    ("cpu_limit_cpus", "", "gauge", "CPUs that the container was given.", "cpus_limit"),
    ("cpu_periods", "", "counter", "Periods of the CPU quota.", "cpus_nr_periods"),
    ("cpu_throttled_periods", "", "counter", "Periods in which the CPU quota was used up.", "cpus_nr_throttled"),
    ("cpu_throttled_seconds", "seconds", "counter", "Time spent waiting for quota.", "cpus_throttled_time_secs"),
    ("memory_rss_bytes", "bytes", "gauge", "Resident memory.", "mem_rss_bytes"),
    ("memory_total_bytes", "bytes", "gauge", "Memory charged to the container's cgroup.", "mem_total_bytes"),
    ("memory_limit_bytes", "bytes", "gauge", "Memory that the container was given.", "mem_limit_bytes"),
    ("disk_used_bytes", "bytes", "gauge", "Disk space that the sandbox takes.", "disk_used_bytes"),
)
_COLUMNS = ("CONTAINER", "PID", "MODE", "PROCS", "THREADS", "CPU SECS", "CPU %", "RSS", "LIMIT", "DISK")


def as_json(used: "list[Used]") -> str:
    """One line: a list of containers."""
    return json.dumps([item.public() for item in used]) + "\n"


def openmetrics(used: "list[Used]") -> str:
    """OpenMetrics text; node_exporter's textfile collector reads it as well (no types that only OpenMetrics has)."""
    lines = [
        "# TYPE mesos_container_enforced gauge",
        "# HELP mesos_container_enforced 1 where the isolation is enforced, 0 in usage-only mode.",
    ]
    for item in used:
        isolation = ",".join(item.entry.isolation)
        lines.append(
            f"mesos_container_enforced{{{_labels(item)},mode={_quote(item.entry.mode)},isolation={_quote(isolation)}}} "
            f"{int(item.entry.mode == 'enforced')}"
        )
    for name, unit, kind, text, statistic in _METRICS:
        values = [(item, item.statistics[statistic]) for item in used if statistic in item.statistics]
        if not values:
            continue
        family = f"mesos_container_{name}"
        lines.append(f"# TYPE {family} {kind}")
        if unit:
            lines.append(f"# UNIT {family} {unit}")
        lines.append(f"# HELP {family} {text}")
        suffix = "_total" if kind == "counter" else ""
        lines.extend(f"{family}{suffix}{{{_labels(item)}}} {value}" for item, value in values)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _labels(item: Used) -> str:
    entry = item.entry
    found = {"container_id": entry.container_id}
    if entry.executor_id is not None:
        found["executor_id"] = entry.executor_id
    if entry.framework_id is not None:
        found["framework_id"] = entry.framework_id
    return ",".join(f"{name}={_quote(value)}" for name, value in found.items())


def _quote(text: str) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def table(used: "list[Used]", earlier: "dict[str, dict[str, object]] | None" = None, width: int = 0) -> "list[str]":
    """Lines of a table with a line of totals; `earlier`: the statistics of the look before, for the share of CPU."""
    rows = [list(_COLUMNS)]
    rows.extend(_row(item, (earlier or {}).get(item.entry.container_id)) for item in used)
    if len(used) != 1:
        rows.append(_totals(used, rows[1:]))
    shown = [index for index in range(len(_COLUMNS)) if index < 7 or any(row[index] for row in rows[1:])]
    if earlier is None:
        shown.remove(_COLUMNS.index("CPU %"))
    widths = {index: max(len(row[index]) for row in rows) for index in shown}
    lines = []
    for row in rows:
        cells = [row[i].ljust(widths[i]) if i in (0, 2) else row[i].rjust(widths[i]) for i in shown]
        line = "  ".join(cells).rstrip()
        lines.append(line[:width] if width else line)
    return lines


def _row(item: Used, earlier: "dict[str, object] | None") -> "list[str]":
    found = item.statistics
    return [
        one_line(item.entry.container_id),
        str(item.entry.pid),
        item.entry.mode,
        str(found["processes"]),
        str(found["threads"]),
        f"{cpu(found):.2f}",
        share(found, earlier),
        _bytes(found.get("mem_rss_bytes")),
        _bytes(found.get("mem_limit_bytes")),
        _bytes(found.get("disk_used_bytes")),
    ]


def _totals(used: "list[Used]", rows: "list[list[str]]") -> "list[str]":
    def total(name: str) -> float:
        return sum(_number(item.statistics.get(name)) for item in used)

    shares = [float(row[6]) for row in rows if row[6]]
    limits = total("mem_limit_bytes")
    disk = total("disk_used_bytes")
    return [
        f"{len(used)} containers",
        "",
        "",
        str(int(total("processes"))),
        str(int(total("threads"))),
        f"{sum(cpu(item.statistics) for item in used):.2f}",
        f"{sum(shares):.1f}" if shares else "",
        _bytes(total("mem_rss_bytes")),
        _bytes(limits) if limits else "",
        _bytes(disk) if disk else "",
    ]


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def cpu(found: "dict[str, object]") -> float:
    """CPU seconds, user and system."""
    return _number(found.get("cpus_user_time_secs")) + _number(found.get("cpus_system_time_secs"))


def share(found: "dict[str, object]", earlier: "dict[str, object] | None") -> str:
    """Percent of one CPU since the look before."""
    if earlier is None:
        return ""
    elapsed = _number(found["timestamp"]) - _number(earlier["timestamp"])
    return f"{max(0.0, cpu(found) - cpu(earlier)) / elapsed * 100:.1f}" if elapsed > 0 else ""


def _bytes(value: object) -> str:
    if not isinstance(value, (int, float)):
        return ""
    size = float(value)
    for unit in ("B", "K", "M", "G"):
        if size < 1000:
            return f"{size:.0f}{unit}" if unit == "B" or size >= 10 else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}T"
