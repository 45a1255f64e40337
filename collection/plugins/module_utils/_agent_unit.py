# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What systemd says of the agent's unit, checked: whether it can be managed, and what in it would defeat the shim.

What counts is what systemd has made of all files together (`systemctl show`), never the text of one of them.
"""

from __future__ import annotations

import os
import re
import shlex

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_service as agent_service,
    _agents_user as agents_user,
)

# What the drop-in is for: with another KillMode executors end with the agent; see _agent_service.
_KEEPS_EXECUTORS = ("process", "none")
_WANTED = (("Delegate", "yes"), ("PrivateTmp", "no"))
_SETS = re.compile(r"^\s*(KillMode|Delegate|PrivateTmp)\s*=\s*(.*?)\s*$", re.MULTILINE)

# Without these a launch by root ends: its mount namespace, and the task's user.
_CAPABILITIES = ("cap_chown", "cap_setgid", "cap_setuid", "cap_sys_admin")
_CALLS = ("mount", "setgroups", "setresuid", "unshare")
_CALLS_OF_USERS = ("mount", "unshare")

# In the order of systemd.exec(5): a later and longer path counts more.
_HIDE, _READ, _WRITE = "InaccessiblePaths", "ReadOnlyPaths", "ReadWritePaths"
_OWN_DIRECTORIES = (
    ("RuntimeDirectory", "/run"),
    ("StateDirectory", "/var/lib"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
)
_PROTECTED = {
    "yes": ("/usr", "/boot", "/efi"),
    "full": ("/usr", "/boot", "/efi", "/etc"),
    "strict": ("/",),
}
_UNPROTECTED = ("/dev", "/proc", "/sys")
_HOMES = ("/home", "/root", "/run/user")

_DYNAMIC_USER = (
    "its uid can be another one after a restart, which its tasks and their files would not follow; give it an account "
    "(DynamicUser=no and User= in a drop-in)"
)
_NOT_AS = "mesos_shim_config has agent_user: %s; leave it out there, or run the agent as that user"

PROPERTIES = (
    "LoadState",
    "LoadError",
    "DropInPaths",
    "KillMode",
    "Delegate",
    "PrivateTmp",
    *agents_user.PROPERTIES,
    "CapabilityBoundingSet",
    "RestrictNamespaces",
    "SystemCallFilter",
    "NoExecPaths",
    "ExecPaths",
    _HIDE,
    _READ,
    _WRITE,
    "ProtectSystem",
    "ProtectHome",
    "PrivateUsers",
    "RootDirectory",
    "RootImage",
    *(name for name, unused in _OWN_DIRECTORIES),
)


def unmanageable(unit, found):
    """Why a unit cannot be managed whatever it does, or None; `found` is what systemd says of it."""
    state = found.get("LoadState")
    if state == "masked":
        return "the unit %s is masked: systemctl unmask %s first" % (unit, unit)
    if state not in ("loaded", "not-found", "", None):
        said = re.sub(r'^\S+ "?(.*?)"?$', r"\1", found.get("LoadError", ""))
        return "systemd cannot load the unit %s (%s): %s" % (unit, state, said or "systemctl status %s says why" % unit)
    return None


def deadly(unit, found):
    """Why a restart would end the executors, or None."""
    mode = found.get("KillMode")
    if mode in (None, *_KEEPS_EXECUTORS):
        return None
    return (
        "the unit %s has KillMode=%s, so a restart of the agent ends its executors%s: set KillMode=process there, or "
        "take it out" % (unit, mode, _last_of(found, "KillMode"))
    )


def overruled(unit, found):
    """One line for each thing of the drop-in that does not hold, once systemd has read it."""
    problems = [deadly(unit, found)]
    for name, value in _WANTED:
        if found.get(name, value) != value:
            said = "the unit %s has %s=%s although the drop-in says %s%s: take it out there"
            problems.append(said % (unit, name, found[name], value, _last_of(found, name)))
    return [problem for problem in problems if problem]


def will_overrule(unit, found):
    """One line for each drop-in of others that comes after ours and says something else of what ours is for."""
    problems = []
    for path in words(found.get("DropInPaths")):
        if os.path.basename(path) <= agent_service.DROP_IN:
            continue
        for name, value in _settings(path):
            if value in (_KEEPS_EXECUTORS if name == "KillMode" else (dict(_WANTED)[name],)):
                continue
            problems.append(
                "%s sets %s=%s and comes after the drop-in %s of the unit %s: take it out there, or give the file a "
                "name that sorts before" % (path, name, value, agent_service.DROP_IN, unit)
            )
    return problems


def _settings(path):
    """(name, value) of what a drop-in says last of each thing that ours is for."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return sorted(dict(_SETS.findall(stream.read())).items())
    except OSError:
        return []


def _last_of(found, name):
    """Where such a setting may be from, for a message."""
    paths = [p for p in words(found.get("DropInPaths")) if name in dict(_settings(p))]
    others = [path for path in paths if os.path.basename(path) != agent_service.DROP_IN]
    return " (%s)" % ", ".join(others) if others else ""


def hardened(unit, found, programs, places, user=None):
    """One line for each thing in the unit with which the shim cannot do its work there.

    `programs` are paths of the installation, which must be executable in there; `places` {path: why it must be
    writable}. `user` is the account as which the configuration says that the agent runs, None for root.
    """
    problems = _of_user(found, user) + _of_root(found) + _of_namespaces(found, user)
    problems += [] if user else _of_capabilities(found)  # in a user namespace of one's own one has all
    problems += _of_calls(found, user)
    problems += [item for path in programs for item in _of_programs(found, path)]
    problems += [item for path, why in places.items() for item in _of_place(found, path, why)]
    line = "the unit %s has %s: %s; systemctl cat %s shows where it is from"
    return [line % (unit, setting, why, unit) for setting, why in dict.fromkeys(problems)]


def _of_user(found, user):
    if found.get("DynamicUser") == "yes":
        return [("DynamicUser=yes", _DYNAMIC_USER)]
    name = found.get("User") or "root"
    try:
        runs_as = agents_user.account(name)
    except agents_user.NoAccount:
        return [("User=" + name, "this host has no such account; create it")]
    if (runs_as and runs_as.pw_uid) == (user and user.pw_uid):
        return []
    return [("User=" + name, _NOT_AS % (user.pw_name if user else "root"))]


def _of_root(found):
    problems = []
    for name in ("RootDirectory", "RootImage"):
        if found.get(name, "") not in ("", "/"):
            problems.append(("%s=%s" % (name, found[name]), "the shim is not in there, so every launch would fail"))
    if found.get("PrivateUsers", "no") != "no":
        why = "there are no users but root in there, so a launch for any other would fail"
        problems.append(("PrivateUsers=%s" % found["PrivateUsers"], why))
    return problems


def _of_namespaces(found, user):
    allowed = found.get("RestrictNamespaces", "no")
    needed = {"mnt": "a mount namespace", **({"user": "a user namespace"} if user else {})}
    missing = [] if allowed in ("no", "") else [name for name in needed if name not in allowed.split()]
    why = "each container needs %s; allow %s" % (" and ".join(map(needed.get, missing)), " ".join(missing))
    return [("RestrictNamespaces=%s" % allowed, why)] if missing else []


def _of_capabilities(found):
    bounding = found.get("CapabilityBoundingSet")
    missing = [name for name in _CAPABILITIES if bounding is not None and name not in bounding.split()]
    setting = "a CapabilityBoundingSet without %s" % " ".join(missing).upper()
    return [(setting, "launches need it; allow it")] if missing else []


def _of_calls(found, user):
    text = found.get("SystemCallFilter", "")
    named = {word.partition(":")[0] for word in text.lstrip("~").split()}
    calls = _CALLS_OF_USERS if user else _CALLS
    missing = [name for name in calls if named and (name in named) == text.startswith("~")]
    setting = "a SystemCallFilter without %s" % " ".join(missing)
    allow = "@mount and unshare" if user else "@mount, @setuid and unshare"
    return [(setting, "launches need it; allow " + allow)] if missing else []


def _of_programs(found, path):
    nearest = _nearest(path, {name: words(found.get(name)) for name in ("NoExecPaths", "ExecPaths")})
    if nearest == "NoExecPaths":
        return [("NoExecPaths=%s" % found[nearest], "no launch could execute %s; name it in ExecPaths" % path)]
    return _hidden(found, path)


def _of_place(found, path, why):
    lists = {name: words(found.get(name)) for name in (_READ, _WRITE)}
    lists[_WRITE] += own_directories(found)
    system = found.get("ProtectSystem", "no")
    lists["ProtectSystem"] = list(_PROTECTED.get(system, ()))
    lists["ProtectHome"] = list(_HOMES) if found.get("ProtectHome") == "read-only" else []
    lists[_WRITE] += _UNPROTECTED if system == "strict" else []
    nearest = _nearest(path, lists)
    if nearest in (None, _WRITE):
        return _hidden(found, path)
    return [("%s=%s" % (nearest, found[nearest]), "%s cannot be written, %s; name it in ReadWritePaths" % (path, why))]


def own_directories(found):
    """Paths of the directories that systemd makes for the unit."""
    items = [(base, item) for name, base in _OWN_DIRECTORIES for item in words(found.get(name))]
    return [os.path.join(base, item.partition(":")[0]) for base, item in items]


def _hidden(found, path):
    """Whether a path is not there for the unit."""
    home = list(_HOMES) if found.get("ProtectHome") in ("yes", "tmpfs") else []
    nearest = _nearest(path, {_HIDE: words(found.get(_HIDE)), "ProtectHome": home})
    return [("%s=%s" % (nearest, found[nearest]), "%s is not there for it" % path)] if nearest else []


def _nearest(path, lists):
    """Which of the lists of paths has the longest one on the way to `path`, or None."""
    best, chosen = -1, None
    for name, items in lists.items():
        for item in items:
            top = os.path.normpath(item.lstrip("-+"))
            if (path + "/").startswith(top.rstrip("/") + "/") and len(top) > best:
                best, chosen = len(top), name
    return chosen


def words(text):
    """The words of a list as systemctl shows it: one with white space is in quotes."""
    try:
        return shlex.split(text or "")
    except ValueError:
        return (text or "").split()
