# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""From a value in an inventory to what lies in the flags directory, or an error that says what is wrong with it."""

from __future__ import annotations

import collections
import difflib
import json
import re

from ansible_collections.mesos.containerizer.plugins.module_utils import _flag_grammar as flag_grammar
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import masked, without_passwords
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS, SECRET_FLAGS, Flag

# form: "bool" (a file ?x or ?no-x), "file" (a file of that name), "directory" (one file a key).
# value: bool, text, or a dict of text.
Setting = collections.namedtuple("Setting", "form value")

_DURATION = re.compile(r"[0-9]+(\.[0-9]+)?(ns|us|ms|secs|mins|hrs|days|weeks)")
_BYTES = re.compile(r"[0-9]+(B|KB|MB|GB|TB)")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_KEY = re.compile(r"[A-Za-z0-9_][^/:;\s\0]*")

# What YAML makes of unquoted on, off, yes, no, null as a key, once it has come through JSON.
_YAML_WORDS = ("true", "false", "null", "True", "False", "None", True, False, None)
YAML_WORD = "YAML makes this of an unquoted on, off, yes, no or null; quote the name"

# A backup that lies among attributes or resources would be read as one more key.
BACKUP_NAME = re.compile(r"(~|\.(rpmnew|rpmsave|rpmorig|dpkg-[a-z]+|ucf-[a-z]+|bak|old|orig|swp|tmp))$")

# The init wrapper makes one argument of a value; Linux takes no argument of 32 pages or more.
_LONGEST_ARGUMENT = 131071


class FlagError(ValueError):
    """A flag or its value is not usable; the text names it and says what to do."""


def wanted_settings(flags, known):
    """All flags as settings, None for those that must be absent; raises FlagError naming every wrong one."""
    settings, errors = checked_settings(flags, known)
    if errors:
        raise FlagError("; ".join(errors.values()))
    return settings


def checked_settings(flags, known):
    """({flag: its setting, None for one that must be absent}, {flag: why its value is wrong})"""
    settings, errors = {}, {}
    for name in sorted(flags):
        try:
            settings[name] = _setting(_known(name, flags, known), flags[name])
        except FlagError as error:
            errors[name] = without_passwords(str(error))
    return settings, errors


def effective(setting):
    """The value as the agent gets it, so that two ways of writing the same thing compare equal."""
    if setting is None:
        return None
    if setting.form == "bool":
        return "true" if setting.value else "false"
    if setting.form == "directory":
        return ";".join(sorted(key + ":" + text for key, text in setting.value.items()))
    return setting.value


def same(flag, before, after):
    """Would the agent see any difference between the two settings of a flag?"""
    before, after = effective(before), effective(after)
    if before == after or before is None or after is None:
        return before == after
    if flag.kind == "bool":
        return _truth(before) is not None and _truth(before) == _truth(after)
    if flag.kind in QUANTITIES:
        return quantity(flag.kind, before) is not None and quantity(flag.kind, before) == quantity(flag.kind, after)
    if flag.kind == "parts" and before[:1] not in "[{":
        return flag_grammar.pairs(before) == flag_grammar.pairs(after)
    try:
        return parse_json(before) == parse_json(after)
    except ValueError:
        return False


def canonical(value):
    """JSON with sorted keys and no spaces: the same value always gives the same file."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise FlagError(str(error)) from error
    return text


# stout's Duration and Bytes: 60secs is 1mins, 1024MB is 1GB.
_DURATION_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "secs": 10**9, "mins": 60 * 10**9, "hrs": 3600 * 10**9}
_DURATION_UNITS.update(days=86400 * 10**9, weeks=7 * 86400 * 10**9)
_BYTES_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
QUANTITIES = {"duration": _DURATION_UNITS, "bytes": _BYTES_UNITS}
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([A-Za-z]+)")


def quantity(kind, text):
    """A duration in nanoseconds or a size in bytes; None where the text is none."""
    match = _QUANTITY.fullmatch(text.strip())
    if not match or match.group(2) not in QUANTITIES[kind]:
        return None
    return round(float(match.group(1)) * QUANTITIES[kind][match.group(2)])


def _known(name, flags, known):
    if name in known:
        return known[name]
    plain = name.lstrip("?")
    positive = plain[3:] if plain.startswith("no-") else plain
    if positive in known and positive != name:
        if positive in flags:
            both = "; ".join("%s: %s" % (key, _shown(positive, flags[key])) for key in (positive, name))
            raise FlagError(
                "flag %s is set and negated in mesos_agent_flags (%s); give it once, as true or false"
                % (positive, both)
            )
        raise FlagError("flag %s: write it as %s: %s" % (name, positive, "false" if plain != positive else "true"))
    if name in _YAML_WORDS:
        raise FlagError("flag %s is unknown: %s" % (name, YAML_WORD))
    near = difflib.get_close_matches(name.lower().replace("-", "_").replace(".", "_"), sorted(known), n=1, cutoff=0.5)
    hint = "; did you mean %s?" % near[0] if near else ""
    if name in FLAGS:
        raise FlagError("flag %s is unknown to the installed agent%s" % (name, hint))
    raise FlagError("flag %s is unknown%s" % (name, hint))


def _setting(flag, value):
    if value is None:
        return None
    if flag.effect == "never":
        raise FlagError("flag %s %s: it cannot be kept in the flags directory" % (flag.name, flag.reason))
    if isinstance(value, str) and not value.strip():
        raise FlagError("flag %s: the value is empty; null leaves the flag out" % flag.name)
    from_file = flag.kind in ONE_WORD and isinstance(value, str) and value.strip().startswith("file://")
    setting = (_file if from_file else _RENDER[flag.kind])(flag, value)
    if setting is None:  # a map without a key gives the agent nothing
        return None
    for text in setting.value.values() if setting.form == "directory" else [effective(setting)]:
        if "\0" in text:
            raise FlagError("flag %s contains a NUL character" % flag.name)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise FlagError("flag %s is not valid Unicode" % flag.name) from error
    size = len(("--%s=%s" % (flag.name, effective(setting))).encode("utf-8"))
    if size > _LONGEST_ARGUMENT:
        raise FlagError("flag %s is %d bytes long, but a command line takes at most 131071" % (flag.name, size))
    return setting


def _wrong(flag, value, wants):
    return FlagError("flag %s: %s is not %s" % (flag.name, _shown(flag.name, value), wants))


def _shown(name, value):
    """A value as a message may quote it."""
    shown = masked(name, value)
    shown = shown if isinstance(shown, str) and name in SECRET_FLAGS else json.dumps(shown, default=str)
    return shown[:200] + "…" if len(shown) > 200 else shown


def _scalar(flag, value, wants="a string"):
    """The text of a value that is neither bool, map nor list. Trailing newlines go: the wrapper's shell drops them."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _wrong(flag, value, wants)
    return str(value).rstrip("\n")


def _truth(text):
    return {"true": True, "1": True, "false": False, "0": False}.get(text.strip().lower())


def _bool(flag, value):
    truth = value if isinstance(value, bool) else _truth(_scalar(flag, value, "a boolean (true or false)"))
    if truth is None:
        raise _wrong(flag, value, "a boolean (true or false)")
    return Setting("bool", truth)


def _wrapper(flag, value):
    if (value if isinstance(value, bool) else _truth(_scalar(flag, value))) is not False:
        raise FlagError(
            "flag %s: it is a word of the init wrapper, which knows only false (?no-%s); null leaves it out"
            % (flag.name, flag.name)
        )
    return Setting("bool", False)


def _string(flag, value):
    wants = "a string"
    if isinstance(value, (list, tuple)):
        wants += " (join the items yourself, for example by commas)"
    text = _scalar(flag, value, wants)
    if re.search("[\r\n]", text) and not flag.name.endswith("_command"):  # those are a shell's
        raise _wrong(flag, value, "one line; remove the line break")
    return Setting("file", text)


def _path(flag, value):
    """A file that holds a secret. What is written here stands in the agent's log, so it is never the secret itself."""
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"(file://)?/[^\0\r\n]+", text):
        raise FlagError(
            "flag %s: give the absolute path of a file of mode 0600 that the agent's user can read, and put the secret "
            "there; a value given here would appear in the agent's log" % flag.name
        )
    return Setting("file", text)


# Kinds whose value is one word, which the agent also takes from a file.
ONE_WORD = ("bool", "bytes", "duration", "integer", "number", "port")


def _file(flag, value):
    text = value.strip()
    if not re.fullmatch(r"file:///[^\0\r\n]+", text):
        raise _wrong(flag, value, "file:// with an absolute path, for example file:///etc/mesos/%s" % flag.name)
    return Setting("file", text)


def content_problem(flag, content):
    """Why the agent does not take the content of a file for a flag of one word; None where it does.

    It takes it as it is (stout's flags/fetch.hpp and parse.hpp), so a line end at the end is one character too many.
    """
    if content != content.strip():
        return "has white space or a line end around it (write it with printf)"
    if flag.kind == "bool":
        return None if content in ("true", "false", "1", "0") else "is not true, false, 1 or 0"
    try:
        _RENDER[flag.kind](flag, content)
    except FlagError as error:
        return str(error).partition(": ")[2]
    return None


def _matching(pattern, wants):
    def render(flag, value):
        text = _scalar(flag, value, wants).strip()
        if not pattern.fullmatch(text):
            raise _wrong(flag, value, wants)
        return Setting("file", text)

    return render


def _port(flag, value):
    wants = "a port (0 to 65535)"
    text = _scalar(flag, value, wants).strip()
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise _wrong(flag, value, wants)
    return Setting("file", text)


def _no_duplicates(pairs):
    found = {}
    for key, value in pairs:
        if key in found:
            raise ValueError("the key %s occurs twice" % json.dumps(key))
        found[key] = value
    return found


def _refuse_constant(name):
    raise ValueError("%s is not JSON" % name)


def parse_json(text):
    """What JSON says. Raises ValueError for a key that is there twice, and for what is not JSON's own."""
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _json(flag, value):
    """A map, a list, the same as text, or where the agent allows it the path of a file that holds it."""
    if isinstance(value, (dict, list, tuple)):
        try:
            return Setting("file", canonical(value))
        except FlagError as error:
            raise FlagError("flag %s: not JSON: %s" % (flag.name, error)) from error
    text = _scalar(flag, value, "JSON").strip()
    if text.startswith(("/", "file://")):
        return Setting("file", text)
    try:
        parsed = parse_json(text)
    except ValueError as error:
        # The decoder's message says where, never what: the text may be a secret. Ours names a key.
        secret = flag.name in SECRET_FLAGS and not isinstance(error, json.JSONDecodeError)
        reason = "a key occurs twice, or a value is not JSON's" if secret else error
        raise FlagError("flag %s is neither JSON nor an absolute path: %s" % (flag.name, reason)) from error
    if not isinstance(parsed, (dict, list)):
        raise _wrong(flag, value, "a JSON object or array")
    return Setting("file", canonical(parsed))


def _container_info(flag, value):
    setting = _json(flag, value)
    if not setting.value.startswith("{"):
        raise _wrong(flag, value, "a ContainerInfo (a JSON object)")
    return setting


def _parts(flag, value):
    """attributes and resources: a map becomes a directory, text (or a list of resources, as JSON) one file."""
    try:
        if isinstance(value, dict):
            return _part_directory(flag, value)
        if isinstance(value, (list, tuple)) and flag.name == "resources":
            return _resource_list(flag, value)
        return _part_text(flag, value)
    except FlagError:
        raise
    except ValueError as error:
        raise FlagError("flag %s, %s" % (flag.name, error)) from error


def _part_text(flag, value):
    text = _scalar(flag, value, "a map or a string").strip()
    if text.startswith("file://"):
        return Setting("file", text)
    if flag.name == "attributes":
        flag_grammar.check_attributes(text)
    elif text.startswith("["):
        return _resource_list(flag, text)
    else:
        flag_grammar.check_resources(text)
    return Setting("file", text)


def _resource_list(flag, value):
    setting = _json(flag, value)
    flag_grammar.check_resource_list(json.loads(setting.value))
    return setting


def _part_directory(flag, value):
    parts = {}
    for key in sorted(value, key=str):
        if value[key] is not None:
            _check_key(flag, key)
            parts[key] = _part(flag, key, value[key])
    return Setting("directory", parts) if parts else None


def _check_key(flag, key):
    if key in _YAML_WORDS:
        raise ValueError("key %s: %s" % (key, YAML_WORD))
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise FlagError(
            "flag %s: the key %s cannot be a file name there: no '/', ':', ';', space or leading '.'"
            % (flag.name, json.dumps(key, default=str))
        )
    if BACKUP_NAME.search(key):
        raise ValueError("key %s: a file of that name counts as a backup, not as a key" % key)


def _part(flag, key, item):
    if isinstance(item, (dict, list, tuple)):
        raise FlagError("flag %s, key %s: give a scalar, a range or a set as text" % (flag.name, key))
    text = ("true" if item else "false") if isinstance(item, bool) else str(item).strip()
    if not text:
        raise ValueError("key %s: the value is empty, so the init wrapper would skip it" % key)
    if ";" in text or "\n" in text:
        raise ValueError("key %s: ';' or a line break would start another key" % key)
    if flag.name == "attributes":
        flag_grammar.check_attribute(key, text)
    else:
        flag_grammar.check_resources("%s:%s" % (key, text))
    return text


def _any(flag, value):
    """A flag that only the installed agent's --help names: its form is the operator's word."""
    if isinstance(value, bool):
        return Setting("bool", value)
    if isinstance(value, (dict, list, tuple)):
        return _json(flag, value)
    return Setting("file", _scalar(flag, value))


_RENDER = {
    "any": _any,
    "bool": _bool,
    "bytes": _matching(_BYTES, "a size: a whole number and B, KB, MB, GB or TB, for example 512MB"),
    "container_info": _container_info,
    "duration": _matching(
        _DURATION, "a duration: a number and ns, us, ms, secs, mins, hrs, days or weeks, for example 10secs"
    ),
    "integer": _matching(re.compile(r"[0-9]+"), "a whole number"),
    "json": _json,
    "number": _matching(_NUMBER, "a number"),
    "parts": _parts,
    "path": _path,
    "port": _port,
    "string": _string,
    "wrapper": _wrapper,
}

_HELP_LINE = re.compile(r"^\s+--(\[no-\])?([a-z0-9_]+)(?:=VALUE)?(?:\s|$)", re.MULTILINE)


def flags_of_help(text):
    """The flags that an agent's --help names; empty where the text is something else than such a help."""
    found = {}
    for negatable, name in _HELP_LINE.findall(text):
        kind = "bool" if negatable else "any"
        found[name] = FLAGS.get(name) or Flag(name, "here", kind, "incompatible", "its effect on recovery is unknown")
    return found if {"master", "isolation", "work_dir"} <= set(found) else {}
