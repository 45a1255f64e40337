#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: agent_flags
short_description: Own the flags directory of a Mesos agent
version_added: 0.1.0
author: The mesos-shim authors (@mesos-shim)
description:
  - Writes all flags of a Mesos agent into the directory that its init wrapper reads, usually C(/etc/mesos-slave)
    or C(/etc/mesos-agent), in one call whatever their number.
  - The wrapper makes an argument of every regular file there that is not hidden, so a backup or a package
    manager's C(.rpmnew) breaks the agent. Such files are named and, unless O(purge=false), removed.
  - A new directory is made complete beside the old one and takes its place by one rename. A killed run leaves
    either all of the old flags or all of the new ones.
  - Every flag must be known, by a table of releases 0.21.2 and 1.11.0 or, where an agent is installed on the host,
    by what its C(--help) names. Values are checked by their kind.
attributes:
  check_mode:
    description: Says what would change, and refuses what would be refused, without changing anything.
    support: full
  diff_mode:
    description: Shows the flags before and after, secrets masked.
    support: full
  platform:
    description: Where it runs.
    platforms: posix
    support: full
options:
  path:
    description:
      - The flags directory, an absolute path. Missing parents are created. A symbolic link or a mount point is refused.
    type: path
    required: true
  flags:
    description:
      - Flag names and their values.
      - A boolean becomes C(?flag) or C(?no-flag).
      - A map given to C(attributes) or C(resources) becomes a directory with one file a key, a string one file.
      - Any other map or list becomes canonical JSON.
      - With V(null) the flag is absent.
    type: dict
    required: true
  purge:
    description: Whether flags that are not in O(flags), and files that are no flags, are removed.
    type: bool
    default: true
  mode:
    description:
      - Permissions of the files, octal. Directories get the matching execute bits.
      - Files that hold a secret are never accessible to others, whatever this says.
    type: raw
    default: '0644'
  owner:
    description: Owner of the directory and its files, a name or a number. Default is what the directory has.
    type: str
  group:
    description: Group of the directory and its files, a name or a number. Default is what the directory has.
    type: str
  allow_incompatible:
    description:
      - Flags that may change although an agent that already ran would refuse to start with the change, lose its
        running executors, or although nobody knows what the change does.
    type: list
    elements: str
    default: []
  validator:
    description:
      - Path of C(mesos-shim) on the host. It judges the flag C(default_container_info).
      - Without it, that flag is checked to be a JSON object and no more.
    type: path
seealso:
  - module: mesos.containerizer.agent_flags_info
"""

EXAMPLES = r"""
- name: Own the agent's flags
  mesos.containerizer.agent_flags:
    path: /etc/mesos-slave
    flags:
      master: zk://10.0.0.1:2181,10.0.0.2:2181/mesos
      work_dir: /var/lib/mesos
      isolation: posix/cpu,posix/mem
      switch_user: true
      executor_registration_timeout: 5mins
      attributes:
        rack: r12
        zone: b
    validator: /opt/mesos-shim/bin/mesos-shim

- name: Change what the agent would not recover from, knowingly
  mesos.containerizer.agent_flags:
    path: /etc/mesos-slave
    flags:
      resources:
        cpus: 8
        ports: "[31000-31999]"
    purge: false
    allow_incompatible:
      - resources
"""

RETURN = r"""
changed_flags:
  description: The flags whose setting changes, secrets masked.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The flag.
      type: str
    before:
      description: What it was; a boolean, text, or a map of text. V(null) where it was absent.
      type: raw
    after:
      description: What it is now. V(null) where it is absent.
      type: raw
    effect:
      description:
        - V(none) if the agent sees no difference, V(restart) if the agent must be restarted to see it, V(incompatible)
          if it may not recover from that restart.
      type: str
  sample:
    - {name: attributes, before: {rack: r11}, after: {rack: r12, zone: b}, effect: incompatible}
    - {name: master, before: null, after: "zk://mesos:********@10.0.0.1:2181/mesos", effect: restart}
    - {name: switch_user, before: false, after: true, effect: restart}
restart_required:
  description: Whether the agent must be restarted for the change to take effect.
  returned: always
  type: bool
  sample: true
foreign_files:
  description: Names, relative to O(path), of what lay in the directory and is no flag.
  returned: always
  type: list
  elements: str
  sample: [".isolation.swp", "attributes/rack.rpmnew", "isolation.4711.2026-01-01@10:00:00~"]
"""

import grp
import os
import pwd
import shutil

from ansible_collections.mesos.containerizer.plugins.module_utils import flag_directory
from ansible_collections.mesos.containerizer.plugins.module_utils.agent_secrets import (
    SecretiveModule,
    masked,
)
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_effects import (
    INCOMPATIBLE,
    NONE,
    changes,
)
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_values import (
    FlagError,
    flags_of_help,
    wanted_settings,
)


def known_flags(module):
    """By the installed agent's --help where there is one, else by the table of both releases."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    for name in ("mesos-agent", "mesos-slave"):
        program = shutil.which(name, path=path)
        if program:
            unused, out, err = module.run_command([program, "--help"], handle_exceptions=False)
            return flags_of_help(out + "\n" + err) or FLAGS
    return FLAGS


def parse_mode(mode):
    try:
        mode = mode if isinstance(mode, int) and not isinstance(mode, bool) else int(mode, 8)
    except (TypeError, ValueError):
        mode = -1
    if mode < 0 or mode & ~0o664:
        raise FlagError("mode: give octal permissions for files that are no programs, for example '0644'")
    return mode


def number_of(name, lookup, what):
    """The id of a user or group given by name or number; None where none is given."""
    if name is None:
        return None
    try:
        return int(name) if name.isdigit() else lookup(name)
    except KeyError as error:
        raise FlagError("%s: the host knows no %s" % (what, name)) from error


def validate_container_info(module, setting):
    """The one parser of ContainerInfo is the shim's: ask it."""
    validator = module.params["validator"]
    if validator is None or setting is None or not setting.value.startswith("{"):
        return
    if not os.path.exists(validator) and module.check_mode:
        module.warn("validator %s is not installed yet: default_container_info was checked for form only" % validator)
        return
    try:
        code, out, err = module.run_command([validator, "validate", "-"], data=setting.value, handle_exceptions=False)
    except OSError as error:
        raise FlagError("validator %s cannot be run: %s" % (validator, error.strerror)) from error
    if code != 0:
        reason = (err or out).strip() or "%s validate ended with %d" % (validator, code)
        raise FlagError("flag default_container_info: %s" % reason)


def refuse_contradictions(flags):
    for name in sorted(flags):
        if len(flags[name]) > 1:
            files = [_FILE[setting.form, setting.value is False] + name for setting in flags[name]]
            raise FlagError(
                "flag %s is there more than once (%s): name it in flags, or purge" % (name, ", ".join(sorted(files)))
            )


_FILE = {("bool", False): "?", ("bool", True): "?no-", ("file", False): "", ("directory", False): "directory "}


def refuse_incompatible(module, changed, known):
    refused = [c for c in changed if c[3] == INCOMPATIBLE and c[0] not in module.params["allow_incompatible"]]
    if refused:
        named = "; ".join("%s (%s)" % (c[0], known[c[0]].reason) for c in refused)
        module.fail_json(
            msg="%s: a running agent may not recover from changing %s. Nothing was changed. Drain the host, then name "
            "these flags in allow_incompatible" % (module.params["path"], named),
            changed_flags=shown_changes(changed),
        )


def shown(name, setting):
    return None if setting is None else masked(name, setting.value)


def shown_changes(changed):
    return [{"name": c[0], "before": shown(c[0], c[1]), "after": shown(c[0], c[2]), "effect": c[3]} for c in changed]


def text_of(entries, foreign):
    """One line a file, for the diff."""
    lines = []
    for relative in sorted(entries):
        entry = entries[relative]
        what = relative + "/" if entry.content is None else relative
        if entry.content:
            value = entry.content.decode("utf-8", "backslashreplace").rstrip("\n")
            what += " = " + str(masked(relative.split("/")[0], value))
        lines.append("%s  (%04o %d:%d)\n" % (what, entry.mode, entry.uid, entry.gid))
    lines.extend("%s  (no flag)\n" % flag_directory.printable(name) for name in foreign)
    return "".join(lines)


def holds_secret(name, value):
    return masked(name, value) != value


def run(module):
    params = module.params
    path = os.path.normpath(params["path"])
    if not os.path.isabs(path) or path == "/":
        raise FlagError("path %s: give the absolute path of the flags directory" % params["path"])
    mode = parse_mode(params["mode"])
    uid = number_of(params["owner"], lambda name: pwd.getpwnam(name).pw_uid, "owner")
    gid = number_of(params["group"], lambda name: grp.getgrnam(name).gr_gid, "group")

    known = known_flags(module)
    wanted = wanted_settings(params["flags"], known)
    validate_container_info(module, wanted.get("default_container_info"))

    # What is there may be a flag of another release: it is a flag all the same, not a foreign file.
    readable = dict(FLAGS)
    readable.update(known)
    flag_directory.refuse_mounts(path)
    state = flag_directory.read(path, readable)
    uid = uid if uid is not None else state.uid if state.exists else os.geteuid()
    gid = gid if gid is not None else state.gid if state.exists else os.getegid()

    kept_flags = {} if params["purge"] else {n: s for n, s in state.flags.items() if n not in wanted}
    refuse_contradictions(kept_flags)
    before = {name: settings[-1] for name, settings in state.flags.items()}
    after = {name: settings[0] for name, settings in kept_flags.items()}
    written = {name: setting for name, setting in wanted.items() if setting is not None}
    after.update(written)
    changed = changes(before, after, readable)
    refuse_incompatible(module, changed, readable)

    entries = flag_directory.entries_of(written, mode, uid, gid, holds_secret)
    kept = {} if params["purge"] else flag_directory.kept_entries(state, wanted, entries)
    drift = (
        (state.mode, state.uid, state.gid) != (flag_directory.directory_mode(mode), uid, gid)
        or any(not flag_directory.equal(state.entries.get(name), entry) for name, entry in entries.items())
        or set(state.entries) - set(entries) - set(kept)
        or (params["purge"] and state.foreign)
        or flag_directory.leftover(path)
    )
    if drift and not module.check_mode:
        with flag_directory.Replacement(path) as replacement:
            replacement.put(entries, kept, (flag_directory.directory_mode(mode), uid, gid))
    shown_after = dict(entries)
    shown_after.update({name: entry for name, entry in kept.items() if name in state.entries})
    return {
        "changed": bool(drift),
        "changed_flags": shown_changes(changed),
        "restart_required": any(change[3] != NONE for change in changed),
        "foreign_files": [flag_directory.printable(name) for name in state.foreign],
        "diff": {
            "before_header": path,
            "after_header": path,
            "before": text_of(state.entries, state.foreign),
            "after": text_of(shown_after, [] if params["purge"] else state.foreign),
        },
    }


def main():
    module = SecretiveModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "flags": {"type": "dict", "required": True},
            "purge": {"type": "bool", "default": True},
            "mode": {"type": "raw", "default": "0644"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "allow_incompatible": {"type": "list", "elements": "str", "default": []},
            "validator": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except FlagError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg="%s: %s" % (error.filename or module.params["path"], error.strerror))


if __name__ == "__main__":
    main()
