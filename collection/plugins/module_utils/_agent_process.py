# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The agent's process below the main process of its unit, and what it was started with."""

from __future__ import annotations

import os

_NAMES = ("mesos-agent", "mesos-slave", "lt-mesos-agent", "lt-mesos-slave")  # libtool's "lt-": run from a build tree


def family(main):
    """The unit's main process and, where that is a shell around the agent, those below it that are the same user's.

    The nearest come first.
    """
    yield main
    user = _user(main)
    children = {}
    for name in os.listdir("/proc"):
        if name.isascii() and name.isdigit():
            children.setdefault(_parent(int(name)), []).append(int(name))
    waiting = list(children.get(main, ()))
    while waiting:
        pid = waiting.pop(0)
        waiting += children.get(pid, ())
        if user is not None and _user(pid) == user:
            yield pid


def find(main):
    """The agent: the nearest process that is called so, else the main process itself."""
    return next((pid for pid in family(main) if _program(pid) in _NAMES), main)


def started_with(pid):
    """({flag: text}, {variable: text}) of a process: the agent's flags, and its environment.

    An argument goes before the variable MESOS_<FLAG>, as it does for the agent. Both are empty where they cannot be
    read.
    """
    environment = dict(word.split("=", 1) for word in _words(pid, "environ") if "=" in word)
    flags = {name[6:].lower(): text for name, text in environment.items() if name.startswith("MESOS_")}
    for word in _words(pid, "cmdline")[1:]:
        if word.startswith("--"):
            name, equals, text = word[2:].partition("=")
            negated = not equals and name.startswith("no-")
            flags[name[3:] if negated else name] = text if equals else str(not negated).lower()
    return flags, environment


def _words(pid, name):
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as stream:
            return stream.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return []


def _program(pid):
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid)).partition(" (deleted)")[0]
    except OSError:
        return None


def _parent(pid):
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _user(pid):
    """All uids of a process, as the kernel writes them; None where it has ended."""
    try:
        with open("/proc/%d/status" % pid, "rb") as stream:
            return next(line for line in stream if line.startswith(b"Uid:"))
    except (OSError, StopIteration):
        return None
