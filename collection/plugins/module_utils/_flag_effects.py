# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What a change of the flags does to a running agent: nothing, a restart, or a restart that it does not survive."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils import _agent_identity as agent_identity
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import Setting, effective, same

NONE, RESTART, INCOMPATIBLE = "none", "restart", "incompatible"


class Change(NamedTuple):
    """A flag whose setting is another one; None where the flag is absent."""

    name: str
    before: Setting | None
    after: Setting | None
    effect: str


# Where packages keep the agent's helpers while --launcher_dir is not given.
_PACKAGED_HELPERS = ("/usr/libexec/mesos", "/usr/local/libexec/mesos")
_USUAL_WORK_DIRS = ("/var/lib/mesos", "/var/lib/mesos/slave", "/var/lib/mesos/agent", "/tmp/mesos")  # noqa: S108


def changes(before, after, known, planned=None, work_dirs=()):
    """A Change of every flag whose setting is another one, by name.

    planned: {launcher directory: directory of helpers that it will link to} of what is not installed yet.
    work_dirs: what else may be the agent's work_dir.
    """
    first = not _has_run(before, after, work_dirs)
    found = []
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        flag = known[name]
        if same(flag, old, new):
            effect = NONE
        elif first:
            effect = RESTART
        elif flag.effect == "rule":
            effect = _RULES[name](before, after, planned or {})
        elif _policy(after) == "additive" and agent_identity.adds(name, old, new):
            effect = RESTART
        else:
            effect = RESTART if flag.effect == "restart" else INCOMPATIBLE
        found.append(Change(name, old, new, effect))
    return found


def _policy(settings):
    return effective(settings.get(agent_identity.POLICY))


def new_identity(changed):
    """Whether an agent can come back from these changes only as another one."""
    return any(change.effect == INCOMPATIBLE and change.name in agent_identity.FLAGS for change in changed)


def agents_directory(before, after, work_dirs=()):
    """Where the agent's link lies, see agent_identity; None where there is none, or where it is another one after."""
    place = _place(before, work_dirs)
    return place if place == _place(after, work_dirs) else None


def _place(settings, work_dirs):
    usual = [*reversed(work_dirs), *_USUAL_WORK_DIRS]
    possible = [effective(settings["work_dir"])] if "work_dir" in settings else usual
    paths = [agent_identity.directory(os.path.normpath(work_dir)) for work_dir in possible]
    return next((path for path in paths if os.path.lexists(os.path.join(path, "latest"))), None)


def _has_run(before, after, work_dirs):
    """Has an agent of this host stored what it is? Where none has, no set of flags can break its recovery.

    It stores that when it registers for the first time, and not when its package is installed. Flags that do not say
    where it would lie are taken for those of an agent that has.
    """
    dirs = [effective(flags["work_dir"]) for flags in (before, after) if "work_dir" in flags] + list(work_dirs)
    if before and "work_dir" not in before and not work_dirs:
        return True
    return any(os.path.lexists(os.path.join(d, "meta/slaves/latest")) for d in dirs + list(_USUAL_WORK_DIRS))


def _containerizers(before, after, _planned):
    def named(flags):
        return set((effective(flags.get("containerizers")) or "mesos").split(","))

    return INCOMPATIBLE if named(before) - named(after) else RESTART


def _ip(before, after, _planned):
    return RESTART if "hostname" in before and "hostname" in after else INCOMPATIBLE


def _launcher_dir(before, after, planned):
    def executor(flags):
        configured = effective(flags.get("launcher_dir"))
        directories = [configured] if configured else list(_PACKAGED_HELPERS)
        if configured and os.path.normpath(configured) in planned:
            helpers = planned[os.path.normpath(configured)]
            directories += [helpers] if helpers else list(_PACKAGED_HELPERS)
        for directory in directories:
            path = os.path.realpath(os.path.join(directory, "mesos-executor"))
            if os.path.exists(path):
                return path
        return None

    return RESTART if executor(before) == executor(after) else INCOMPATIBLE


def _recover(_before, after, _planned):
    return INCOMPATIBLE if effective(after.get("recover")) == "cleanup" else RESTART


_RULES = {"containerizers": _containerizers, "ip": _ip, "launcher_dir": _launcher_dir, "recover": _recover}
