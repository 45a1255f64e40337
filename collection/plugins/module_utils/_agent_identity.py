# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What an agent compares when it comes back, and what makes it come back as another agent.

An agent ends at its start if its info is another one than it has stored ("Incompatible agent info detected";
Slave::recover and compatibility.cpp of 1.11.0). With reconfiguration_policy=additive, since 1.5, it takes a change that
only adds. Else it starts under a new id once meta/slaves/latest in its work_dir is away, and under the old one when
that link is back.
"""

from __future__ import annotations

import os
import re

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agents_user as agents_user,
    _flag_grammar as flag_grammar,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import effective

# Flags of which the agent's info is made.
FLAGS = ("attributes", "checkpoint", "default_role", "domain", "hostname", "ip", "port", "resources")
POLICY = "reconfiguration_policy"
_DETECTED = ("cpus", "disk", "gpus", "mem", "ports")  # where resources do not say how much, the agent finds out


def adds(name, before, after):
    """Whether a change only adds, by the rules of reconfiguration_policy=additive; False where nobody can say."""
    if name == "domain":
        return before is None and after is not None
    old, new = _parts(before), _parts(after)
    if name not in ("attributes", "resources") or old is None or new is None:
        return False
    exact = name == "attributes"
    if not exact and (set(new) - set(old)) & set(_DETECTED):
        return False
    return all(key in new and _covers(old[key], new[key], exact) for key in old)


def _parts(setting):
    """{key: (kind, value)}; None where it has a form that is not compared here, such as roles and JSON."""
    if setting is None:
        return {}
    text = effective(setting)
    if text.startswith(("[", "{", "/", "file://")):
        return None
    pairs = [part.partition(":") for part in re.split("[;\n]", text) if part.strip()]
    keys = [key.strip() for key, _colon, _value in pairs]
    if len(set(keys)) != len(keys) or any("(" in key for key in keys):
        return None
    try:
        return {key.strip(): flag_grammar.value_of(value) for key, _colon, value in pairs}
    except ValueError:
        return None


def _covers(old, new, exact):
    if old[0] != new[0]:
        return False
    if old[0] == "ranges":
        merged = _merged(new[1])
        return all(any(low <= first and last <= high for low, high in merged) for first, last in _merged(old[1]))
    if old[0] == "set":
        return set(old[1]) <= set(new[1])
    return old[1] == new[1] if exact or old[0] == "text" else old[1] <= new[1]


def _merged(ranges):
    merged = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def directory(work_dir):
    """Where the link lies that says which agent this host's was."""
    return os.path.join(work_dir, "meta", "slaves")


def switch(store, here, there, place):
    """Sets the link of the identity `here` aside, and puts that of `there` back where there is one.

    An identity is the number of the generation that brought it; `place` is the directory, if it is not known yet. It is
    renamed and never removed. What a killed run has begun is finished.
    """
    aside = dict(store.state.get("set_aside") or {})
    mine, theirs = aside.get(str(here)), aside.get(str(there))
    place = os.path.dirname(theirs or mine or "") or place
    if here == there or place is None:
        return
    link = os.path.join(place, "latest")
    if theirs is None or os.path.lexists(theirs):  # else it is back, or was never away
        if mine is None and os.path.lexists(link):
            mine = aside[str(here)] = _free("%s.generation-%d" % (link, here))
            store.write_state(set_aside=aside)  # before: nobody else would know whose a link by that name is
        if mine is not None and not os.path.lexists(mine) and os.path.lexists(link):
            _rename(link, mine)
        # One that leads nowhere any more, since an agent removes what others have left, would end the agent.
        if theirs is not None and os.path.exists(theirs) and not os.path.lexists(link):
            _rename(theirs, link)
    aside.pop(str(there), None)
    store.write_state(set_aside=aside)


def _free(path):
    """The path, or the next one that nothing has: an earlier installation may have left one."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = "%s.%d" % (path, number)
    return free


def _rename(old, new):
    """With the rights of whoever may have put links on the way: the agent's tasks, where they have its user."""
    owner = _first_stranger(os.path.dirname(new))
    with agents_user.rights_of(owner.st_uid, owner.st_gid):
        os.rename(old, new)
        fd = os.open(os.path.dirname(new), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _first_stranger(path):
    """The status of the first part of a path that is not root's, else of the path: who has that has all below it."""
    parts = path.split(os.sep)
    for number in range(2, len(parts) + 1):
        found = os.lstat(os.sep.join(parts[:number]))
        if found.st_uid != 0:
            break
    return found
