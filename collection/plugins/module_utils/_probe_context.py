# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Plays the callers of a launch helper where the agent's containers run: under the settings of the agent's unit.

What a module of Ansible's may do says nothing of that. So systemd is asked for a transient unit with the settings that
are in force for the agent's, and that unit plays the callers.
"""

from __future__ import annotations

import errno
import json

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_service as agent_service,
    _agent_unit as agent_unit,
    _launch_callers,
    _probe_container,
    _probe_launch as probe_launch,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._probe_container import ProbeError

# What a unit can forbid its processes, by systemd.exec(5). Not what the drop-in or a probe sets otherwise.
_COPIED = (
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "CapabilityBoundingSet",
    "ExecPaths",
    "Group",
    "InaccessiblePaths",
    "LimitNOFILE",
    "LimitNPROC",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MountFlags",
    "NoExecPaths",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateUsers",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SecureBits",
    "SupplementaryGroups",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "TemporaryFileSystem",
    "UMask",
    "User",
)
_ALWAYS = ("Limit", "UMask", "CapabilityBoundingSet")  # which every unit has, so naming them says nothing
_UNSET = ("", "no", "~", "default", "all")
_SECONDS = 1800  # more than all callers together take
# In the order in which they import each other; of ours they import nothing else.
_SOURCES = (_launch_callers, _probe_container, probe_launch)
_START = """\
import json, sys, types
request = json.load(sys.stdin)
for name, text in request["modules"]:
    parent = ""
    for part in name.split("."):
        whole = parent + "." + part if parent else part
        if whole not in sys.modules:
            sys.modules[whole] = types.ModuleType(whole)
            sys.modules[whole].__path__ = []
        if parent:
            setattr(sys.modules[parent], part, sys.modules[whole])
        parent = whole
    exec(compile(text, name, "exec"), sys.modules[name].__dict__)
print(json.dumps(sys.modules[name].answer(request["call"])))
"""


def run(run_command, python, unit, call, writable=()):
    """As probe_launch.run(**call), under the settings of a unit where there is one; `writable` are ours to write.

    Raises ProbeError, ServiceError.
    """
    service = agent_service.Service(run_command, unit) if unit else None
    found = service.show(("LoadState",) + agent_unit.PROPERTIES + _COPIED) if service else {}
    if found.get("LoadState") != "loaded":
        probe_launch.run(**call)
        return
    words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"]
    words += ["--property=" + item for item in settings(found, writable) + ["RuntimeMaxSec=%d" % _SECONDS]]
    request = {"modules": [(m.__name__, m.__loader__.get_source(m.__name__)) for m in _SOURCES], "call": call}
    words += ["--", python, "-ISB", "-c", _START]
    try:
        code, out, err = run_command(words, data=json.dumps(request), handle_exceptions=False)
    except OSError as error:
        raise ProbeError("systemd-run cannot be run: %s" % error.strerror) from error
    try:
        wrong = json.loads(out.splitlines()[-1])["wrong"]
    except (IndexError, KeyError, TypeError, ValueError):
        said = " ".join(err.split())[-500:] or "it said nothing"
        wrong = "no probe can run: systemd-run ended with %d: %s" % (code, said)
    if wrong:
        shown = ", ".join(item.partition("=")[0] for item in settings(found, ()) if not item.startswith(_ALWAYS))
        raise ProbeError(
            "under the settings of the unit %s%s: %s" % (service.unit, " (%s)" % shown if shown else "", wrong)
        )


def settings(found, writable):
    """["Name=value", …] of what is in force for a unit, as it is given to another one."""
    items = []
    for name in _COPIED:
        value = found.get(name, "")
        if name == "SystemCallErrorNumber":
            value = errno.errorcode.get(int(value), "") if value.isdigit() else value
        if value not in _UNSET and not (name == "SecureBits" and value == "0"):
            items.append("%s=%s" % (name, value))
    if found.get("ProtectSystem") == "strict" or found.get("ReadOnlyPaths"):
        own = agent_unit.own_directories(found)  # systemd would take the agent's away if they were ours as well
        items += ["ReadWritePaths=-%s" % path.replace("%", "%%") for path in (*own, *writable)]
    return items
