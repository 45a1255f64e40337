# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""A change of the flags directory: checked as a whole first, then made or only shown.

The module agent_flags makes it by itself, agent_generation together with the release and the configuration.
"""

from __future__ import annotations

import difflib
import grp
import os
import pwd

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_program as agent_program,
    _flag_directory as flag_directory,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_environment import (
    ENVIRONMENT_FILES,
    assignments,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_identity import POLICY, adds
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_refusals import of_choices
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import masked
from ansible_collections.mesos.containerizer.plugins.module_utils._file_diff import file_diff
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_effects import (
    INCOMPATIBLE,
    NONE,
    agents_directory,
    changes,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS, WRAPPER_FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import (
    FlagError,
    checked_settings,
    flags_of_help,
)


def known_flags(module):
    """(flags by name, whether an installed agent said them in its --help); without one the table of both releases.

    The init wrapper's own words are known besides.
    """
    program = agent_program.find()
    text = agent_program.said(program, "--help") if program else ""
    if text is None:
        module.warn("%s --help does not end, so flags are checked against the table of 0.21.2 and 1.11.0" % program)
    said = flags_of_help(text or "")
    return dict(said or FLAGS, **WRAPPER_FLAGS), bool(said)


def parse_mode(mode):
    try:
        mode = mode if isinstance(mode, int) and not isinstance(mode, bool) else int(mode, 8)
    except (TypeError, ValueError):
        mode = -1
    if mode < 0 or mode & ~0o664:
        raise FlagError("mode: give octal permissions for files that are not programs, for example '0644'")
    return mode


def number_of(name, lookup, what):
    """The id of a user or group given by name or number; None where none is given."""
    if name is None:
        return None
    try:
        return int(name) if name.isascii() and name.isdigit() else lookup(name)
    except KeyError as error:
        raise FlagError("%s: the host knows no %s" % (what, name)) from error


def validate_container_info(module, setting):
    """The one parser of ContainerInfo is the shim's: ask it."""
    validator = module.params["validator"]
    if validator is None or setting is None or not setting.value.startswith("{"):
        return
    if not os.path.exists(validator) and module.check_mode:
        module.warn(
            "validator %s is not installed yet, so only the form of default_container_info was checked" % validator
        )
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
                "flag %s exists more than once (%s); name it in flags, or purge" % (name, ", ".join(sorted(files)))
            )


_FILE = {("bool", False): "?", ("bool", True): "?no-", ("file", False): "", ("directory", False): "directory "}


class IncompatibleError(FlagError):
    """A change that the agent may not recover from; `changed` holds all changes."""

    def __init__(self, message, changed):
        FlagError.__init__(self, message)
        self.changed = changed


def refuse_mixed(names):
    """No release has flags of both."""
    of = {name: FLAGS[name].versions for name in names if name in FLAGS}
    old, new = (sorted(name for name in of if of[name] == version) for version in ("0.21", "1.x"))
    if old and new:
        raise FlagError(
            "flags %s are of Mesos 0.21 only and %s of 1.x only: no agent knows both, and none is installed here that "
            "could say which; keep those of its release" % (", ".join(old), ", ".join(new))
        )


def refuse_unknown_names(names, known):
    """A misspelt name would allow nothing, and be missed only when it is needed."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FlagError("allow_incompatible: %s" % "; ".join(_unknown(name, known) for name in unknown))


def _unknown(name, known):
    near = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.5)
    return "%s is not a flag%s" % (name, "; did you mean %s?" % near[0] if near else "")


def incompatible(module, changed, known):
    """What to say of changes that the agent may not recover from and that are not allowed; None where there is none."""
    allowed = module.params["allow_incompatible"]
    refused = [c for c in changed if c.effect == INCOMPATIBLE and c.name not in allowed]
    if not refused:
        return None
    named = "; ".join("%s (%s)" % (c.name, known[c.name].reason) for c in refused)
    adding = POLICY in known and all(adds(c.name, c.before, c.after) for c in refused)
    instead = ", or set the flag %s to additive, with which the agent takes what only adds" % POLICY if adding else ""
    return (
        "%s: a running agent may not recover from changing %s. Nothing was changed. Drain the host, then name "
        "these flags in allow_incompatible%s" % (module.params["path"], named, instead)
    )


def work_dirs():
    """Directories that variables give an agent of this host as its work_dir."""
    found = (value for path in ENVIRONMENT_FILES for name, value in assignments(path) if name == "MESOS_WORK_DIR")
    return [value for value in found if value]


def shown(name, setting):
    return None if setting is None else masked(name, setting.value)


def shown_changes(changed):
    return [
        {"name": c.name, "before": shown(c.name, c.before), "after": shown(c.name, c.after), "effect": c.effect}
        for c in changed
    ]


def text_of(entries, unmanaged, links=()):
    """One line a file, for the diff."""
    lines = []
    for relative in sorted(entries):
        entry = entries[relative]
        what = relative + "/" if entry.content is None else relative
        if entry.content:
            value = entry.content.decode("utf-8", "backslashreplace").rstrip("\n")
            what += " = " + str(masked(relative.split("/")[0], value))
        kind = "link to " if relative in links else ""
        lines.append("%s  (%s%04o %d:%d)\n" % (what, kind, entry.mode, entry.uid, entry.gid))
    lines.extend("%s  (no flag)\n" % flag_directory.printable(name) for name in unmanaged)
    return "".join(lines)


def _before(settings, after):
    """What a flag was. One that contradicts itself stopped the agent: it was something else than what comes."""
    return next((setting for setting in reversed(settings) if setting != after), settings[-1])


def holds_secret(name, value):
    return masked(name, value) != value


class FlagChange:
    """What a call asks for against what lies in the directory.

    Raises FlagError where nothing can be checked at all; else `refuse` does, with everything that is refused.
    """

    def __init__(self, module, agents_gid=None):
        """`agents_gid` is the group of an agent that is not root's, which may read flags with secrets."""
        params = module.params
        if params.get("compare") and not module.check_mode:
            raise FlagError("compare: use it only in check mode")
        self.path = os.path.normpath(params["path"])
        if not os.path.isabs(self.path) or self.path == "/":
            raise FlagError("path %s: give the absolute path of the flags directory" % params["path"])
        self.problems = []  # one line each, so that all are said together; see refuse
        mode = self._checked(0o644, parse_mode, params.get("mode") or "0644")
        uid = self._checked(None, number_of, params.get("owner"), lambda name: pwd.getpwnam(name).pw_uid, "owner")
        gid = self._checked(None, number_of, params.get("group"), lambda name: grp.getgrnam(name).gr_gid, "group")
        purge = params.get("purge", True)

        known, installed = known_flags(module)
        wanted, errors = checked_settings(params["flags"], known)
        self.problems += errors.values()
        if not installed:  # none that tells its release
            self._checked(None, refuse_mixed, [name for name, setting in wanted.items() if setting is not None])
        self._checked(None, validate_container_info, module, wanted.get("default_container_info"))

        # What is there may be a flag of another release: it is a flag all the same, not an unmanaged file.
        readable = dict(FLAGS)
        readable.update(known)
        flag_directory.refuse_mounts(self.path)
        self.state = state = flag_directory.read(self.path, readable)
        uid = uid if uid is not None else state.uid if state.exists else os.geteuid()
        gid = gid if gid is not None else agents_gid
        gid = gid if gid is not None else state.gid if state.exists else os.getegid()

        # One whose wanted value is wrong counts as unchanged: it is refused for that alone.
        kept_flags = {n: s for n, s in state.flags.items() if n in errors or not (purge or n in wanted)}
        self._checked(None, refuse_contradictions, {} if purge else kept_flags)
        self.after = {name: settings[-1] for name, settings in kept_flags.items()}
        written = {name: setting for name, setting in wanted.items() if setting is not None}
        self.after.update(written)
        before = {name: _before(settings, self.after.get(name)) for name, settings in state.flags.items()}
        planned = {}
        if params.get("prefix"):  # the launcher directory may not be there yet
            planned[os.path.join(os.path.normpath(params["prefix"]), "launcher")] = params.get("helpers_dir")
        self._checked(None, refuse_unknown_names, params.get("allow_incompatible") or [], readable)
        self.changed_flags = changes(before, self.after, readable, planned, work_dirs())
        self.agents_directory = agents_directory(before, self.after, work_dirs())
        self.incompatible = None if params.get("compare") else incompatible(module, self.changed_flags, readable)
        self.problems += [self.incompatible] if self.incompatible else []

        self.purge = purge
        self.owner = (flag_directory.directory_mode(mode), uid, gid)
        self.entries = flag_directory.entries_of(written, mode, uid, gid, holds_secret)
        self.kept = {}
        if not purge:
            self.kept = self._checked({}, flag_directory.kept_entries, state, wanted, self.entries)
        self.drift = bool(
            (state.mode, state.uid, state.gid) != self.owner
            or any(not flag_directory.equal(state.entries.get(name), entry) for name, entry in self.entries.items())
            or set(state.entries) - set(self.entries) - self._staying()
            or (purge and state.unmanaged)
            or state.links & (set(state.entries) - self._staying())
            or flag_directory.leftover(self.path)
        )

    def _checked(self, instead, check, *arguments):
        """What `check` returns; where it refuses, `instead`, and why is one of the problems."""
        try:
            return check(*arguments)
        except FlagError as error:
            self.problems.append(str(error))
            return instead

    def refuse(self):
        """Raises FlagError by all that is wrong; an IncompatibleError where that is one of it."""
        problems = self.problems + of_choices(self.after)
        if self.incompatible:
            raise IncompatibleError("; ".join(problems), shown_changes(self.changed_flags))
        if problems:
            raise FlagError("; ".join(problems))

    def _staying(self):
        """The files of flags that stay as they are, also those that a link which stays leads to."""
        linked = self.state.links & set(self.kept)
        return {name for name in self.state.entries if name in self.kept or name.split("/")[0] in linked}

    def make(self):
        """Write the directory, all of it at once. An OSError names a path."""
        try:
            with flag_directory.Replacement(self.path) as replacement:
                replacement.put(self.entries, self.kept, self.owner)
        except OSError as error:
            if error.filename and os.path.isabs(os.fsdecode(error.filename)):
                raise
            raise OSError(error.errno, error.strerror, self.path) from error

    @property
    def restart_required(self):
        return any(change.effect != NONE for change in self.changed_flags)

    def diff(self):
        """For Ansible's --diff, secrets masked."""
        after = dict(self.entries)
        staying = self._staying()
        after.update({name: self.state.entries[name] for name in staying})
        return file_diff(
            self.path,
            text_of(self.state.entries, self.state.unmanaged, self.state.links),
            text_of(after, [] if self.purge else self.state.unmanaged, staying & self.state.links),
        )

    def result(self):
        """What agent_flags returns."""
        return {
            "changed": self.drift,
            "changed_flags": shown_changes(self.changed_flags),
            "restart_required": self.restart_required,
            "foreign_files": [flag_directory.printable(name) for name in self.state.unmanaged],
            "diff": self.diff(),
        }
