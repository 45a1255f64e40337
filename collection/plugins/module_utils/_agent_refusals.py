# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What the agent itself would refuse, at its start or at every launch, although each flag by itself is well formed."""

from __future__ import annotations

import ipaddress
import json
import os

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_environment import (
    WRAPPER_VARIABLES,
    assignments,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import (
    ONE_WORD,
    content_problem,
    effective,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_configuration import volumes

_CHOICES = {
    "recover": ("reconnect", "cleanup"),
    "reconfiguration_policy": ("equal", "additive"),
    "logging_level": ("INFO", "WARNING", "ERROR"),
}
_MOST_BYTES = 1 << 20
_DEFAULT_WORK_DIR = "/tmp/mesos"  # noqa: S108 (0.21's own)


def of_flags(settings):
    """One line for each thing in {flag: Setting} that an agent refuses."""
    problems = []
    isolation = [item for item in (effective(settings.get("isolation")) or "").split(",") if item]
    for name in sorted(set(isolation)):
        if isolation.count(name) > 1:
            problems.append("flag isolation names %s more than once, which the agent refuses" % name)
    for name in ("isolation", "containerizers"):
        spaced = [item for item in (effective(settings.get(name)) or "").split(",") if item != item.strip()]
        problems += [
            "flag %s: %r has a space, which the agent takes as part of the name" % (name, item) for item in spaced
        ]
    problems += of_choices(settings)
    ip = effective(settings.get("ip"))
    if ip is not None and not _is_address(ip):
        problems.append("flag ip: %r is not an IP address, which the agent requires" % ip)
    headroom = effective(settings.get("gc_disk_headroom"))
    if headroom is not None and not _between(headroom, 0, 1):
        problems.append("flag gc_disk_headroom: %s is not between 0 and 1" % headroom)
    return problems + _of_container_info(settings, isolation)


def of_choices(settings):
    """One line for each flag whose value is none of the few that there are."""
    found = {name: effective(settings.get(name)) for name in _CHOICES}
    return [
        "flag %s: %r is not one of %s" % (name, value, ", ".join(_CHOICES[name]))
        for name, value in found.items()
        if value is not None and value not in _CHOICES[name]
    ]


def _is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _between(text, low, high):
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def _of_container_info(settings, isolation):
    """The flag default_container_info against the agent's own filesystem/shared (compared as it does, by prefix)."""
    what = "flag default_container_info"
    info = _parsed(effective(settings.get("default_container_info")))
    found = volumes(info)
    if not found:
        return []
    if "filesystem/linux" in isolation:
        return []
    advice = "keep it in the shim's configuration alone (mesos_agent_default_container_info_flag: false)"
    if "filesystem/shared" not in isolation:
        return ["%s has volumes, but isolation has no filesystem/shared, so the agent refuses it; %s" % (what, advice)]
    problems = []
    work_dir = effective(settings.get("work_dir")) or _DEFAULT_WORK_DIR
    for index, volume in enumerate(found):
        target, source = volume.container_path, volume.host_path
        if (work_dir + "/").startswith(target.rstrip("/") + "/"):
            problems.append(
                "%s covers %s, which is above work_dir %s, so the agent refuses it" % (what, target, work_dir)
            )
        for other in (earlier.container_path for earlier in found[:index]):
            if target.startswith(other) or other.startswith(target):
                reason = "the agent compares paths as strings and refuses both together"
                problems.append("%s has %s and %s: %s" % (what, other, target, reason))
        if source.startswith("/") and not os.path.lexists(source):
            problems.append("%s: host_path %s does not exist" % (what, source))
    return [problem + "; " + advice for problem in problems]


def _parsed(text):
    if not text:
        return None
    if text.startswith(("/", "file://")):
        try:
            with open(text[7:] if text.startswith("file://") else text, encoding="utf-8") as stream:
                text = stream.read()
        except OSError:
            return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def missing_paths(info):
    """One line for each container path that this host does not have, nor gets from another volume."""
    targets = [volume.container_path for volume in volumes(info)]
    problems = []
    for target in targets:
        above = [other for other in targets if other != target and target.startswith(other.rstrip("/") + "/")]
        if target.startswith("/") and not above and not os.path.exists(target):
            problems.append(
                "mesos_agent_default_container_info: this host has no container_path %s; create it first" % target
            )
    return problems


def of_files(settings):
    """One line for each flag that is file:// and whose file the agent cannot read, or does not take."""
    problems = []
    for name, setting in sorted(settings.items()):
        text = effective(setting)
        if not text.startswith("file:///") or name not in FLAGS:
            continue
        path = text[7:]
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as stream:
                content = stream.read(_MOST_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            problems.append("flag %s: %s: %s, and the agent does not start without it" % (name, path, reason))
            continue
        wrong = content_problem(FLAGS[name], content) if FLAGS[name].kind in ONE_WORD else None
        if wrong:
            problems.append("flag %s: what is in %s %s: the agent refuses it" % (name, path, wrong))
    return problems


def of_wrapper(path, settings):
    """One line for what the init wrapper of this host would hand to the agent instead of taking it for itself."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            knows = "--no-logger" in stream.read()
    except OSError:  # nothing of the packages', so nobody knows
        return []
    if "logger" not in settings or knows:
        return []
    return ["flag logger: %s knows no --no-logger, and the agent does not start with it; take it out" % path]


def of_environment(files, settings, taken_over):
    """(problems, warnings) of what the init wrapper reads besides the flags directory.

    taken_over: {path: [variable, …]} of what is taken away there together with the change.
    """
    problems, warnings = [], []
    for path in files:
        for variable, value in assignments(path):
            if not value:
                continue
            flag = WRAPPER_VARIABLES.get(variable)
            if flag in settings:
                if variable not in taken_over.get(path, []):
                    problems.append(
                        "%s sets %s, which the init wrapper passes as a second --%s; remove it there, or let "
                        "mesos_agent_take_over_defaults do it" % (path, variable, flag)
                    )
            elif variable.startswith("MESOS_"):
                name = variable[6:].lower()
                positive = name[3:] if name.startswith("no_") else name
                if name != positive and positive in settings:
                    problems.append(
                        "%s sets %s, and mesos_agent_flags sets %s, but the agent refuses both together"
                        % (path, variable, positive)
                    )
                elif positive in settings:
                    warnings.append("%s sets %s; the flags directory takes precedence" % (path, variable))
                else:
                    warnings.append("%s sets %s: that flag is not managed here" % (path, variable))
    return problems, warnings
