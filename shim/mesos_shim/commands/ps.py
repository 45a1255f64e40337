"""`mesos-shim ps`: the containers that run on this host."""

import json
import sys

from ..errors import one_line
from ..usage import sample
from . import agents_user, options

HELP = """\
usage: mesos-shim ps [--json] [--config FILE]

Lists the containers that run on this host and were launched by the shim.
It does not list those that have ended; 'mesos-shim gc' removes their records.

example: mesos-shim ps --json
"""


def main(arguments: "list[str]", config_path: str) -> int:
    """Print a table, or JSON as `usage --format json` without the statistics."""
    values, operands = options.parse(arguments, ("--config",), ("--json",), "ps")
    if options.asks_help(values, HELP):
        return 0
    options.none(operands, "ps")
    found = agents_user.look(options.read_config(values, config_path), sample.running)
    for warning in found.warnings:
        sys.stderr.write(f"mesos-shim: warning: {one_line(warning)}\n")
    running = [item.entry for item in found.used]
    if "--json" in values:
        sys.stdout.write(json.dumps([entry.public() for entry in running]) + "\n")
        return 0
    rows = [("CONTAINER", "PID", "MODE", "USER", "ISOLATION", "SANDBOX")]
    rows += [
        (entry.container_id, str(entry.pid), entry.mode, str(entry.uid), ",".join(entry.isolation), entry.sandbox)
        for entry in running
    ]
    widths = [max(len(one_line(row[index])) for row in rows) for index in range(len(rows[0]))]
    for row in rows:
        cells = [one_line(cell).ljust(width) for cell, width in zip(row, widths)]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")
    return 0
