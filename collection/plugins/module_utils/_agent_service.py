# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The agent's unit: what systemd knows of it, the drop-in that keeps executors alive, its restart."""

from __future__ import annotations

import contextlib
import glob
import os
import re

from ansible_collections.mesos.containerizer.plugins.module_utils import _agents_user as agents_user

DROP_IN = "zzz-mesos-shim.conf"  # the last one counts, and the usual name of a user's is override.conf
FORMER_DROP_IN = "50-mesos-shim.conf"  # up to 0.2
_HEAD = "# Written by mesos.containerizer; do not edit.\n"
UNITS = ("mesos-slave", "mesos-agent")

# KillMode, Delegate: else systemd ends the executors with the agent, or takes their cgroups.
# PrivateTmp: else the agent's /tmp is not the host's, and is deleted with everything in it when the agent stops.
# ExecStartPre: an agent that comes back counts no groups and directories of containers that ended without it. With "-"
# the agent starts all the same, with "+" root clears away whoever the agent runs as (systemd.service(5)). Trees that
# users have made stay, and nothing takes longer than the agent can wait: its start has a time-out.
_DROP_IN = (
    _HEAD
    + """\
[Service]
Delegate=yes
KillMode=process
PrivateTmp=no
ExecStartPre=-+/usr/bin/timeout -k 5 30 "%s/bin/mesos-shim" gc --keep-sandboxes
"""
)

# For the records of an agent that is not root's. They outlive a stop of the unit, as its executors do.
_OF_ANOTHER_USER = """\
RuntimeDirectory=%s
RuntimeDirectoryPreserve=yes
"""

_PROGRAM = re.compile(r'"((?:[^"\\]|\\.)*)/bin/mesos-shim"')

# Of a unit file that `systemctl enable` could make one that starts with the host. One that is static or generated
# starts by something else, which nobody here knows.
_NOT_STARTED = ("disabled", "linked", "linked-runtime", "masked", "masked-runtime", "bad")
_UNITS_DIRECTORY = "/etc/systemd/system"

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "InvocationID",
    "KillMode",
    "Delegate",
    "PrivateTmp",
)


class ServiceError(Exception):
    """What systemd did not do, in one line."""


def drop_in_text(prefix, user=None):
    """The drop-in for a host whose shim is installed in `prefix`, and whose agent runs as `user` if not as root."""
    state = _OF_ANOTHER_USER % os.path.basename(agents_user.STATE_DIR % user.pw_uid) if user else ""
    return _DROP_IN % quoted(prefix) + state


def quoted(path):
    """A path within the quotes of a unit's word."""
    # "%" begins a specifier, "$" a variable, and in quotes a word may hold white space (systemd.syntax(7)).
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")


def is_ours(text):
    """Whether a drop-in is one of this collection's, of any of its versions."""
    return text is not None and text.startswith(_HEAD)


def keeps_executors(text):
    """Whether a drop-in has systemd leave executors alone when it stops the agent."""
    found = re.findall(r"^\s*KillMode\s*=\s*(\S*)", text or "", re.M)
    return bool(found) and found[-1] == "process"


def drop_in_path(unit):
    """Where the drop-in of a unit lies."""
    return "%s/%s.d/%s" % (_UNITS_DIRECTORY, full_name(unit), DROP_IN)


def prefix_of(text):
    """The prefix of the installation whose program a drop-in of ours runs; None where it names none."""
    found = _PROGRAM.search(text or "") if is_ours(text) else None
    return re.sub(r"%%|\$\$|\\(.)", lambda match: match[1] or match[0][0], found[1]) if found else None


def drop_ins():
    """{path: prefix} of the drop-ins of ours, of all units of this host."""
    path, found = drop_in_path("*"), {}
    former = os.path.join(os.path.dirname(path), FORMER_DROP_IN)
    for place in glob.glob(path) + glob.glob(former):
        with contextlib.suppress(OSError), open(place, encoding="utf-8", errors="replace") as stream:
            found[place] = prefix_of(stream.read())
    return {place: prefix for place, prefix in found.items() if prefix is not None}


def all_of_ours(prefix):
    """Paths of the drop-ins that name programs of `prefix`, of all units of this host."""
    return [place for place, named in drop_ins().items() if named == prefix]


def former_drop_in(unit):
    """The path of the drop-in that an earlier release has left for a unit, None where there is none of ours."""
    path = os.path.join(os.path.dirname(drop_in_path(unit)), FORMER_DROP_IN)
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return path if stream.read(len(_HEAD)) == _HEAD else None
    except (FileNotFoundError, NotADirectoryError):
        return None


def full_name(unit):
    """A unit's name with its suffix."""
    return unit if re.search(r"\.(service|target|scope|timer)$", unit) else unit + ".service"


class Service:
    """One unit of this host."""

    def __init__(self, run_command, unit):
        self.run_command, self.unit = run_command, full_name(unit)

    def _systemctl(self, *words):
        try:
            code, out, err = self.run_command(["systemctl"] + list(words), handle_exceptions=False)
        except OSError as error:
            raise ServiceError(
                "systemctl cannot be run: %s; leave mesos_agent_service empty to manage no unit" % error
            ) from error
        if code != 0:
            raise ServiceError("systemctl %s: %s" % (" ".join(words), (err or out).strip().replace("\n", "; ")))
        return out

    def properties(self):
        """{property: text} of the unit; LoadState is not-found where there is none."""
        return self.show(_PROPERTIES)

    def show(self, names):
        """{property: text} of these properties, as they are in force; those that this systemd does not know are left
        out."""
        if self.unit.endswith("@.service"):
            raise ServiceError("%s is a template: name an instance of it, such as %s" % (self.unit, self._instance()))
        out = self._systemctl("show", "--property=" + ",".join(names), "--", self.unit)
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def _instance(self):
        return self.unit.replace("@.", "@1.")

    def resolved(self):
        """The same unit under its own name, where it was given an alias of it."""
        found = self.show(("Id", "LoadState"))
        real = found.get("Id") if found.get("LoadState") != "not-found" else None
        return Service(self.run_command, real or self.unit)

    def known(self):
        """Whether there is such a unit."""
        return self.properties().get("LoadState") not in ("not-found", None, "")

    def status(self):
        """Whether it starts with the host, runs, has ended by itself; its process; how often systemd restarted it."""
        found = self.properties()
        ended = found.get("ActiveState") == "failed" or found.get("SubState") == "auto-restart"
        return {
            "enabled": found.get("UnitFileState") not in _NOT_STARTED,
            "active": found.get("ActiveState") in ("active", "activating", "reloading"),
            "ended": ended,
            # One that never gets any further is activating for ever.
            "starting": found.get("ActiveState") == "activating",
            "pid": int(found.get("MainPID") or 0),
            "restarts": int(found.get("NRestarts") or 0),
            "invocation": found.get("InvocationID", ""),
        }

    def reload(self):
        """Has systemd read its files again."""
        self._systemctl("daemon-reload")

    def restart(self):
        """Stops and starts the unit."""
        # A unit that was restarted too often before is not to be refused for that.
        self._systemctl("reset-failed", "--", self.unit)
        self._systemctl("restart", "--", self.unit)

    def stop(self):
        """Stops the unit."""
        self._systemctl("stop", "--", self.unit)

    def enable_now(self):
        """Starts the unit now and with the host."""
        self._systemctl("enable", "--quiet", "--now", "--", self.unit)

    def disable_now(self):
        """Ends the unit, and it no longer starts with the host."""
        self._systemctl("disable", "--quiet", "--now", "--", self.unit)

    def enable(self):
        """Has it start with the host; returns the links that were made for that."""
        before = _links()
        self._systemctl("enable", "--quiet", "--", self.unit)
        return sorted(set(_links()) - set(before))

    def unlink(self, paths):
        """Takes away links that `enable` has made. Not by disabling, which takes away a user's links as well."""
        gone = [path for path in paths if os.path.islink(path)]
        for path in gone:
            os.unlink(path)
        if gone:
            self.reload()


def _links():
    """Paths of the links by which units of this host are started, or have other names."""
    found = []
    for directory, names, files in os.walk(_UNITS_DIRECTORY):
        if directory != _UNITS_DIRECTORY:
            del names[:]
        found += [os.path.join(directory, name) for name in files if os.path.islink(os.path.join(directory, name))]
    return found


def start_time(pid):
    """When a process started, in clock ticks since boot; None if there is none, or only its remains.

    One whose main thread has ended while others run (field 20 counts them) is no remains, though its state says so.
    """
    try:
        with open("/proc/%d/stat" % pid, "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except (OSError, ValueError):
        return None
    return None if fields[0] in (b"Z", b"X") and int(fields[17]) < 2 else int(fields[19])


def sealed_launcher(pid):
    """Whether a running agent holds its launch helper as a sealed copy in memory (a build with launcher sealing)."""
    if not pid:
        return False
    directory = "/proc/%d/fd" % pid
    try:
        names = os.listdir(directory)
    except OSError:
        return False
    for name in names:
        try:
            target = os.readlink(os.path.join(directory, name))
        except OSError:
            continue
        if target.startswith("/memfd:") and "mesos-containerizer" in target:
            return True
    return False
