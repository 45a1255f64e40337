"""`mesos-shim doctor`: what this host can enforce, and how to fix what it cannot. Changes nothing."""

import json
import signal
import sys
from typing import Optional

from ...containers import processes
from ...errors import ShimError, one_line
from ...spec import config as configuration
from ...spec.config import Config
from .. import options
from . import installation
from .finding import BROKEN, OK, Finding, checked

HELP = """\
usage: mesos-shim doctor [--json] [--config FILE]

Shows what this host can enforce for the calling user. Each line is ok, degraded
(it works, but less well or less safely) or broken (what is configured will not
work), and says what it means and how to fix it. It changes nothing.
Exit status: 0, or 1 if something is broken.

  --json  a list of {"check", "state", "message", "remedy"}

example: mesos-shim doctor --json
"""


def main(arguments: "list[str]", config_path: str) -> int:
    """Print the findings; 1 if one of them is broken."""
    values, operands = options.parse(arguments, ("--config",), ("--json",), "doctor")
    if options.asks_help(values, HELP):
        return 0
    options.none(operands, "doctor")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # what is tried in children is told by their ends
    findings = examine(values.get("--config", config_path), "--config" in values)
    if "--json" in values:
        sys.stdout.write(json.dumps([item._asdict() for item in findings]) + "\n")
    else:
        for item in findings:
            sys.stdout.write(f"{item.state:8}  {item.check:18}  {one_line(item.message)}\n")
            if item.remedy:
                sys.stdout.write(f"{'':30}fix: {one_line(item.remedy)}\n")
    return 1 if any(item.state == BROKEN for item in findings) else 0


def examine(config_path: str, required: bool) -> "list[Finding]":
    """Every finding, in the order in which they are told."""
    findings = checked("mesos-shim", installation.system)
    config: Optional[Config] = None
    try:
        config = configuration.read(config_path, required)
        findings.append(Finding("configuration", OK, installation.configuration_text(config, config_path)))
    except ShimError as error:
        findings.append(Finding("configuration", BROKEN, str(error), installation.configuration_remedy(config_path)))
        config = Config()
    findings += checked("configuration", lambda: installation.configuration_directory(config_path))
    if processes.LINUX:
        from . import host, planned

        findings += host.examine(config)
        findings += planned.examine(config)
    findings += installation.examine(config)
    return findings
