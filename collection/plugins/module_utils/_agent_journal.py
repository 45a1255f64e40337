# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Why an agent ended, in its own words: the last fatal line that its unit has in the journal."""

from __future__ import annotations

import re

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import without_passwords

_LINES = 500  # more than the list of all flags that follows a refused one
_LONGEST = 400

# stout/exit.hpp, and what libprocess' older releases print; glog's fatal lines.
_EXIT = re.compile(r"EXIT with status \d+: (.*)")
_FATAL = re.compile(r"F\d{4,8} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\] (.*)")
# stout/flags.hpp: the reason comes before the list of all flags, with an empty line between.
_USAGE = re.compile(r"Usage: \S+ \[")
# Of glog after a fatal line.
_TRACE = re.compile(r"\*\*\* |@ +(0x)?[0-9a-f]+ ")

# What the next start refuses as this one did, until somebody changes the flags.
_OF_FLAGS = re.compile(
    r"Failed to load|Invalid value|(?i:unknown flag)|already loaded|Unknown or unsupported|Incompatible agent info"
    r"|Expected `--|Must be (less|greater|at least|at most)"
)


def fatal_line(lines):
    """The last line by which an agent says why it ends, without its prefix; empty where there is none."""
    found = before = ""
    for line in (line.strip() for line in lines):
        fatal = _EXIT.search(line) or _FATAL.match(line)
        if fatal and fatal.group(1).strip():
            found = fatal.group(1).strip()
        elif _USAGE.match(line):
            found = before or found
        if line and not _TRACE.match(line):
            before = line
    return found


def said_at_the_end(run_command, unit, invocation=""):
    """What the agent of a unit has said last, in one line; empty where the journal has nothing of it.

    invocation: of which start of the unit.
    """
    which = ["_SYSTEMD_INVOCATION_ID=%s" % invocation] if re.match(r"[0-9a-f]{32}\Z", invocation) else ["-u", unit]
    command = ["journalctl", "--no-pager", "-q", "-b", "-o", "cat", "-n", str(_LINES)] + which
    try:
        code, out, unused = run_command(command, handle_exceptions=False)
    except OSError:
        return ""
    line = " ".join(without_passwords(fatal_line(out.splitlines())).split()) if code == 0 else ""
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def of_flags(words):
    """Whether an agent that has said this will say it at every start, whatever it waits for."""
    return bool(_OF_FLAGS.search(words))
