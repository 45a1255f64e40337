# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The timers beside an installation: gc clears away, metrics writes for node_exporter's textfile collector."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils import _generations as generations
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import Service
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import DEFAULT_PREFIX

UNITS = "/etc/systemd/system"
# There only where systemd is what runs the host (sd_booted(3)).
BOOTED = "/run/systemd/system"
NAMES = ("mesos-shim-gc", "mesos-shim-metrics")

# What systemd and a shell take for themselves in a path (systemd.syntax(7), systemd.unit(5)) is not for a unit.
_PLAIN = re.compile(r"/[A-Za-z0-9/._+@:,=-]*\Z")

_SERVICE = """\
# Written by mesos.containerizer for {prefix}; do not edit.
[Unit]
Description={description}
ConditionFileIsExecutable={prefix}/bin/mesos-shim

[Service]
Type=oneshot
TimeoutStartSec={seconds}
{service}
"""

_TIMER = """\
# Written by mesos.containerizer for {prefix}; do not edit.
[Unit]
Description={description}

[Timer]
{timer}

[Install]
WantedBy=timers.target
"""

_GC = "Clear away what ended Mesos containers left behind"
_METRICS = "What Mesos containers use, for node_exporter's textfile collector"

# The file is replaced whole: a collector that comes in the middle reads the old one.
_WRITE = (
    "WorkingDirectory={directory}\nUMask=0022\n"
    "ExecStart=/bin/sh -c '{prefix}/bin/mesos-shim usage --format openmetrics > .{name}.new && mv .{name}.new {name}'"
)


class TimerError(Exception):
    """Why the timers are not as they were asked for, in one line."""


class UnitChange(NamedTuple):
    """The texts of a unit's file; None where there is none."""

    before: str | None
    after: str | None


def wanted(prefix, gc, metrics_dir):
    """{file name: text, None for no such file} of all units that the timers consist of."""
    for name, path in (("prefix", prefix), ("metrics_dir", metrics_dir or "/")):
        if not _PLAIN.match(path):
            raise TimerError("%s %r: a path in a unit may have letters, digits and /._+@:,=- only" % (name, path))
    gc_name, metrics_name = names = instances(prefix)
    # Of this installation by other names: an earlier release's.
    texts = dict.fromkeys(_files(names) + ours(prefix))
    if gc:
        # Seldom: what waits there is small, and a launch minds none of it.
        timer = "OnBootSec=1min\nOnUnitInactiveSec=10min\nRandomizedDelaySec=1min"
        texts.update(_units(gc_name, prefix, _GC, "ExecStart=%s/bin/mesos-shim gc" % prefix, timer, 900))
    if metrics_dir:
        service = _WRITE.format(directory=metrics_dir, prefix=prefix, name="mesos-shim%s.prom" % instance(prefix))
        timer = "OnBootSec=15\nOnUnitActiveSec=15\nAccuracySec=1"
        texts.update(_units(metrics_name, prefix, _METRICS, service, timer, 300))
    return texts


def requested(run_command, prefix, gc, metrics_dir):
    """({file name: UnitChange}, timers to be started) of what differs; None where this host has no timers of ours."""
    if not os.path.isdir(BOOTED) or os.geteuid() != 0:
        if metrics_dir:
            why = "you are not root" if os.geteuid() != 0 else "systemd does not run this host"
            raise TimerError("metrics_dir %s: %s, so no timer can write there" % (metrics_dir, why))
        return None
    texts = wanted(prefix, gc, metrics_dir)
    if metrics_dir:
        check_metrics_dir(metrics_dir)
    changes = differing(texts)
    starting = set(sleeping(run_command, {n: t for n, t in texts.items() if n not in changes}))
    starting |= {name for name in changes if texts[name] is not None and name.endswith(".timer")}
    return changes, sorted(starting)


def _units(name, prefix, description, service, timer, seconds):
    return {
        name + ".service": _SERVICE.format(prefix=prefix, description=description, service=service, seconds=seconds),
        name + ".timer": _TIMER.format(prefix=prefix, description=description, timer=timer),
    }


def instance(prefix):
    """What tells names of one installation from those of another on this host; empty for the default prefix."""
    if prefix == DEFAULT_PREFIX:
        return ""
    return "@" + re.sub("[^A-Za-z0-9]", lambda c: "-" if c.group() == "/" else "_%02x" % ord(c.group()), prefix[1:])


def instances(prefix):
    """The timers' names."""
    return [name + instance(prefix) for name in NAMES]


def _files(names):
    return [file for name in names for file in (name + ".service", name + ".timer")]


def ours(prefix):
    """The files of timers on this host that were written for the installation in `prefix`."""
    line = "# Written by mesos.containerizer for %s; do not edit.\n" % prefix
    names = dict.fromkeys(_files(NAMES) + _files(instances(prefix)))
    return [name for name in names if (generations.read_text(os.path.join(UNITS, name)) or "").startswith(line)]


def check_metrics_dir(path):
    """Root writes there by name: nobody else may put a link in the way."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise TimerError("metrics_dir %s: %s" % (path, error.strerror)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise TimerError("metrics_dir %s: not a directory" % path)
    if found.st_uid != 0 or found.st_mode & 0o022:
        raise TimerError(
            "metrics_dir %s: belongs to uid %d with mode %04o; root writes there, so only root may: "
            "chown root %s && chmod go-w %s" % (path, found.st_uid, stat.S_IMODE(found.st_mode), path, path)
        )


def differing(texts):
    """{file name: UnitChange} of those units that are not as they should be."""
    found = {name: generations.read_text(os.path.join(UNITS, name)) for name in texts}
    return {name: UnitChange(found[name], text) for name, text in texts.items() if found[name] != text}


def sleeping(run_command, texts):
    """The timers that are there as they should be and are not enabled or not started."""
    services = {name: Service(run_command, name) for name in texts if name.endswith(".timer") and texts[name]}
    states = {name: service.status() for name, service in services.items()}
    return [name for name, state in states.items() if not (state["enabled"] and state["active"])]


def apply(run_command, texts, starting):
    """Writes and removes units (None) and ends what is removed, then starts timers."""
    for name, text in texts.items():
        if text is None and name.endswith(".timer"):
            Service(run_command, name).disable_now()
    for name, text in texts.items():
        path = os.path.join(UNITS, name)
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        else:
            generations.write_file(path, text, 0o644)
    if texts:
        Service(run_command, NAMES[0]).reload()
    for name in starting:
        Service(run_command, name).enable_now()


def remove(run_command, names):
    """Takes these units away."""
    apply(run_command, dict.fromkeys(names), [])
