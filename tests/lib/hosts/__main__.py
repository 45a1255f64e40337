"""Fleets by hand and for molecule.

    python -m tests.lib.hosts up FLEET NAME=SUITE... [--agent] [--user USER] [--instance-config FILE]
    python -m tests.lib.hosts down FLEET

`--agent` lays the real agent over every host. `--instance-config` writes what molecule wants to know of them. The
fleet stays until it is taken down, or belongs to the process that $OWNER names (see testhosts).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from . import machines


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("action", choices=["up", "down"])
    parser.add_argument("fleet")
    parser.add_argument("hosts", nargs="*", metavar="NAME=SUITE")
    parser.add_argument("--agent", action="store_true")
    parser.add_argument("--user", default="root")
    parser.add_argument("--instance-config", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("OWNER", "")
    fleet = machines.Fleet(given.fleet)
    if given.action == "down":
        fleet.down()
        return
    try:
        machines.require()
        layer = None
        if given.agent:
            from ..agent import on_host

            layer = on_host.layer()
        fleet.add(dict(host.split("=", 1) for host in given.hosts), layer)
    except machines.Unavailable as reason:
        sys.exit(str(reason))
    if given.instance_config:
        known = [
            {"instance": host.name, "address": host.name, "user": given.user, "port": 22, "connection": "ssh"}
            for host in fleet
        ]
        given.instance_config.write_text(json.dumps(known))


if __name__ == "__main__":
    main()
