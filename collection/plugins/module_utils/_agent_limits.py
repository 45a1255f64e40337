# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What the agent's version of Mesos cannot tell the launch helper, and which isolation does not work with it there.

docs/compatibility.md says why, and by which test each is seen ("What a release cannot tell").
"""

from __future__ import annotations

import collections
import re

from ansible_collections.mesos.containerizer.plugins.module_utils import _launch_callers as launch_callers
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import effective

# since: the first version; before: the first without, None: there is none; isolator: one that the flag isolation must
# name for it, None: whatever the isolation is.
Limit = collections.namedtuple("Limit", ["since", "before", "isolator", "text"])

_FOR_LACK = "the launch helper does not know the ContainerInfo of a framework that does not checkpoint"
WARNINGS = (
    Limit((0, 0), (0, 21), None, "releases before 0.21 are unknown, and their calls are not tested"),
    Limit((1, 12), None, None, "releases after 1.11 are unknown, and their calls are not tested"),
    Limit((0, 21), (1, 5), None, _FOR_LACK + ", so its containers get mesos_agent_default_container_info instead"),
    Limit((0, 21), (1, 5), "filesystem/shared", _FOR_LACK + ", so its volumes are read-write, whatever their mode"),
    Limit((0, 21), (1, 5), "network/port_mapping", _FOR_LACK + ", so the launch of its containers is refused"),
)
REFUSALS = (
    Limit(
        (0, 24),
        (1, 0),
        "filesystem/linux",
        "its script for a root shell contains a framework's paths, so the launch helper refuses every container with "
        "volumes; take it out, or update the agent to 1.0 or later",
    ),
)


def warnings(versions, isolation):
    """One line for each thing that does not hold with these versions, (major, minor) each."""
    return _found(WARNINGS, versions, isolation)


def refusals(versions, isolation):
    """One line for each isolator in the flag isolation that does not work with these versions."""
    return ["flag isolation: %s" % line for line in _found(REFUSALS, versions, isolation)]


def _from_file(name, text):
    kind = FLAGS[name].kind if name in FLAGS else None
    return text.startswith("file://") and kind not in ("json", "container_info", "path") and name != "master"


def _colon(name, text):
    return name == "attributes" and any(part.count(":") > 1 for part in re.split("[;\n]", text))


def _json(name, text):
    return name == "resources" and text.startswith("[")


def _policy(name, _text):
    return name == "reconfiguration_policy"


def _hexadecimal(name, text):
    in_ranges = re.search(r"[\[,-] *0[xX][0-9a-fA-F]", text)
    return name in ("attributes", "resources") and bool(in_ranges) and not text.startswith("[")


# What a value may be only since a release, and how it is told; by stout's numify.hpp and flags/fetch.hpp, and by
# attributes.cpp and resources.cpp, of 0.21.2 to 1.4.3.
_VALUES = (
    ((0, 22), "file:// is read for flags that are JSON only", _from_file),
    ((0, 24), "a ':' in the value of an attribute ends the agent", _colon),
    ((0, 26), "resources cannot be JSON", _json),
    ((1, 5), "it does not exist", _policy),
    ((0, 27), "the ends of a range cannot be hexadecimal", _hexadecimal),
)


def values(versions, settings):
    """One line for each value that the oldest of these versions does not understand; settings: {flag: Setting}."""
    if not versions:
        return []
    oldest = min(versions)
    return [
        "flag %s: %s before Mesos %s, and this is %s"
        % (name, words, launch_callers.text(since), launch_callers.text(oldest))
        for name, setting in sorted(settings.items())
        for since, words, is_such in _VALUES
        if oldest < since and is_such(name, effective(setting))
    ]


def of_user(user, switch_user):
    """What an agent that runs as another user than root does not do; none where it does. `switch_user` is that flag."""
    if user is None or switch_user == "false":
        return []
    return [
        "flag switch_user: an agent that runs as %s cannot become a framework's user, so tasks of any other user fail; "
        "set switch_user: false in mesos_agent_flags to run all tasks as %s" % (user.pw_name, user.pw_name)
    ]


def _found(limits, versions, isolation):
    named = [item for item in (isolation or "").split(",") if item]
    lines = []
    for version in sorted(set(versions)):
        for limit in limits:
            applies = limit.since <= version and (limit.before is None or version < limit.before)
            if applies and (limit.isolator is None or limit.isolator in named):
                what = "%s with " % limit.isolator if limit.isolator else ""
                lines.append("%sMesos %s: %s" % (what, launch_callers.text(version), limit.text))
    return lines
