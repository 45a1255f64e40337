# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Two installations on one host: whether the agent's unit or its flags directory is another one's already.

That is written down where it counts, and nowhere else: the drop-in of a unit names the program of an installation, the
flag launcher_dir its launcher directory, and its generations name what they are of. What has been uninstalled names
nothing any more.
"""

from __future__ import annotations

import os

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_service as agent_service,
    _flag_directory as flag_directory,
    _generations as generations,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError, effective

_TAKEN = (
    "mesos_shim_prefix %s: the installation in %s manages %s; give this one its own (mesos_agent_service, "
    "mesos_agent_flags_dir), or run the playbook uninstall with mesos_shim_prefix=%s first"
)


def refusal(prefix, unit, path):
    """Why the installation in `prefix` may not manage this unit (None for none) and this flags directory, or None."""
    taken = {}
    for what, owner in (("the unit %s" % unit, _of_unit(unit)), ("the flags directory %s" % path, _of_flags(path))):
        for other in owner:
            if not _same(other, prefix):
                taken.setdefault(other, []).append(what)
    lines = [_TAKEN % (prefix, other, " and ".join(what), other) for other, what in sorted(taken.items())]
    return "; ".join(lines) or None


def _of_unit(unit):
    """Prefixes of installations that manage a unit. One of which nothing is left manages none."""
    directory = os.path.dirname(agent_service.drop_in_path(unit)) if unit else None
    named = [prefix for place, prefix in agent_service.drop_ins().items() if os.path.dirname(place) == directory]
    return {prefix for prefix in named if _manages(prefix, path=None) or os.path.lexists(prefix + "/bin/mesos-shim")}


def _of_flags(path):
    """Prefixes of installations that manage a flags directory."""
    return {prefix for prefix in {*_launchers(path), *agent_service.drop_ins().values()} if _manages(prefix, path)}


def _launchers(path):
    """What is above the launcher directories that the flags name."""
    try:
        settings = flag_directory.read(path, ("launcher_dir",)).flags.get("launcher_dir", [])
    except (FlagError, OSError):
        return []  # whoever is to write there says what is wrong with it
    return [os.path.dirname(os.path.realpath(effective(setting) or "/")) for setting in settings]


def _manages(prefix, path):
    """Whether a host is in a generation of this installation, of this flags directory where one is named."""
    try:
        store = generations.Store(prefix)
        if not (store.state["good"] or store.state["pending"]):
            return False  # none yet, or back to where it began
        return path is None or any(_same(store.about(number)["flags_path"], path) for number in store.numbers())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _same(one, other):
    return os.path.realpath(one) == os.path.realpath(other)
