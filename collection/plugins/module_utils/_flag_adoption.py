# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The variables of the roles that say what lies in a flags directory already, and what of it they cannot say."""

from __future__ import annotations

from types import SimpleNamespace

from ansible_collections.mesos.containerizer.plugins.module_utils import _flag_directory as flag_directory
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_refusals import of_flags
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import masked, without_passwords
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_change import FlagChange, known_flags
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_effects import NONE
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS, SECRET_FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import checked_settings, parse_json

FLAGS_VARIABLE = "mesos_agent_flags"
_VARIABLES = {name: "mesos_agent_" + name for name in flag_directory.PART_FLAGS}
_HIDDEN = "its value holds a secret; put the value here as text that ansible-vault has encrypted"
_UNKNOWN = "nobody knows whether its value is a secret; put the value here, encrypted by ansible-vault where it is one"
_MORE = "it is there more than once (%s), which stops the agent; remove all but one"
_CHANGED = "a rollout would change it"
_DEEPEST, _LARGEST = 10, 1 << 53  # of JSON as a map
_NO_TEXT = "its value is not UTF-8"


class FlagAdoption:
    """What of a flags directory variables can say.

    variables: {variable: value}. open: [{"variable", "key", "why"}] of what they cannot, key None for the whole of it.
    notes: what a rollout refuses of it, removes, and writes anew without a difference for the agent.
    """

    def __init__(self, module, path):
        known = known_flags(module)[0]
        self.state = flag_directory.read(path, dict(FLAGS, **known))
        self.open, self._values = [], {}
        for name, settings in sorted(self.state.flags.items()):
            why, value = self._read(name, settings, known)
            if why:
                self._leave_open(name, why)
            else:
                self._values[name] = value
        change = self._foreseen(module, path)
        self.notes = ["a rollout refuses this: %s" % problem for problem in change.problems + of_flags(change.after)]
        unmanaged = [flag_directory.printable(name) for name in self.state.unmanaged]
        self.notes += ["%s is no flag, so a rollout removes it" % name for name in unmanaged] + self._rewritten(change)

    @property
    def variables(self):
        """Every map of flags by the name of its variable; launcher_dir is there always, so that no rollout sets it."""
        named = {_VARIABLES[n]: self._values[n] for n in _VARIABLES if isinstance(self._values.get(n), dict)}
        flags = {name: value for name, value in self._values.items() if _VARIABLES.get(name) not in named}
        if "launcher_dir" not in self.state.flags:
            flags["launcher_dir"] = None
        return {FLAGS_VARIABLE: flags, **named}

    def _leave_open(self, name, why):
        as_map = any(setting.form == "directory" for setting in self.state.flags[name])
        variable, key = (_VARIABLES[name], None) if as_map else (FLAGS_VARIABLE, name)
        self.open.append({"variable": variable, "key": key, "why": "flag %s: %s" % (name, why)})

    def _read(self, name, settings, known):
        """(why no variable can say it, None); or (None, the value that says it)."""
        if len(settings) > 1:
            return _MORE % ", ".join(sorted(_file_of(name, setting) for setting in settings)), None
        if not all(_is_text(entry.content) for entry in self._entries(name).values()):
            return _NO_TEXT, None
        value = _typed(name, settings[0])
        wrong = checked_settings({name: value}, known)[1]
        if wrong:
            return wrong[name].partition(": ")[2] or wrong[name], None
        if name not in FLAGS and not isinstance(value, bool):
            return _UNKNOWN, None
        # The path of a file that holds the secret is none itself.
        is_path = name in SECRET_FLAGS and isinstance(value, str) and value.startswith(("/", "file://"))
        shown = without_passwords(value) if is_path else masked(name, value)
        return (None, value) if shown == value else (_HIDDEN, None)

    def _entries(self, name):
        files = ("?" + name, "?no-" + name, name)
        return {at: entry for at, entry in self.state.entries.items() if at.split("/")[0] in files}

    def _foreseen(self, module, path):
        """What a rollout with these values would do, by the code that does it; what it would change is left open."""
        flags = dict(self._values)
        params = {"path": path, "flags": flags, "allow_incompatible": list(FLAGS), "validator": None}
        view = SimpleNamespace(params=params, check_mode=True, warn=module.warn, run_command=module.run_command)
        change = FlagChange(view)
        for made in change.changed_flags:
            if made.name in flags and made.effect != NONE:
                self._leave_open(made.name, _CHANGED)
                del self._values[made.name]
        return change

    def _rewritten(self, change):
        """One line for each file of a flag that is not what a rollout writes."""
        lines = []
        flags = tuple(form + name for name in self.state.flags for form in ("", "?", "?no-"))
        nothing = [name for name in self.state.entries if name.split("/")[0] not in flags]
        lines += [
            "%s: it gives the agent nothing, and is removed" % flag_directory.printable(n) for n in sorted(nothing)
        ]
        if self.state.exists and (self.state.mode, self.state.uid, self.state.gid) != change.owner:
            lines.append("the flags directory: mode %04o becomes %04o" % (self.state.mode, change.owner[0]))
        for name in sorted(self._values):
            wanted = {at: entry for at, entry in change.entries.items() if at.split("/")[0].lstrip("?") in _forms(name)}
            for at, entry in sorted(self._entries(name).items()):
                why = self._difference(at, entry, wanted.get(at))
                if why:
                    lines.append("%s: %s" % (flag_directory.printable(at), why))
        return lines

    def _difference(self, at, found, wanted):
        if at in self.state.links:
            return "a link, which becomes a file"
        if wanted is not None and flag_directory.equal(found, wanted):
            return None
        if wanted is None and "/" in at:
            return "it is empty, so the agent does not get it, and is removed"
        if wanted is None:
            return "another file takes its place, which the agent reads the same"
        if found.mode != wanted.mode:
            return "mode %04o becomes %04o" % (found.mode, wanted.mode)
        if (found.uid, found.gid) != (wanted.uid, wanted.gid):
            return "owner %d:%d becomes %d:%d" % (found.uid, found.gid, wanted.uid, wanted.gid)
        return "its value is written in another form, which the agent reads the same"


def _forms(name):
    return (name, "no-" + name)


def _file_of(name, setting):
    if setting.form == "bool":
        return ("?" if setting.value else "?no-") + name
    return name + "/" if setting.form == "directory" else name


def _is_text(content):
    try:
        (content or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _typed(name, setting):
    """The value as an inventory should have it: a boolean, a map, a list; else the text."""
    kind = FLAGS[name].kind if name in FLAGS else "any"
    if setting.form != "file":
        return setting.value
    if kind == "bool":
        return {"true": True, "1": True, "false": False, "0": False}.get(setting.value.strip().lower(), setting.value)
    if kind in ("json", "container_info", "parts") and setting.value.lstrip()[:1] in ("{", "["):
        try:
            value = parse_json(setting.value)
        except ValueError:
            return setting.value  # what is wrong with it is said of the text
        return value if _is_simple(value) else setting.value
    return setting.value


def _is_simple(value, deep=0):
    """Whether JSON comes through an inventory as it is: not too deep, and with numbers that a computer has."""
    if isinstance(value, dict):
        return deep < _DEEPEST and all(_is_simple(item, deep + 1) for item in value.values())
    if isinstance(value, list):
        return deep < _DEEPEST and all(_is_simple(item, deep + 1) for item in value)
    return isinstance(value, (str, bool)) or value is None or abs(value) < _LARGEST
