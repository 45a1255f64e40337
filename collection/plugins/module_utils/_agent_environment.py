# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The files of variables that the packages' init wrapper reads besides the flags directory."""

from __future__ import annotations

import collections
import os
import re
import stat

from ansible_collections.mesos.containerizer.plugins.module_utils import _generations as generations

# Variables that the wrapper makes arguments of. A flag that is given twice on a command line stops the agent.
WRAPPER_VARIABLES = {"MASTER": "master", "IP": "ip", "LOGS": "log_dir", "ISOLATION": "isolation"}

ENVIRONMENT_FILES = ("/etc/default/mesos", "/etc/default/mesos-slave", "/etc/default/mesos-agent")

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


_COMMENT = "# taken over by mesos.containerizer: "


class Takeover(collections.namedtuple("Takeover", "texts variables")):
    """What of the files must go where flags take its place: {path: new text}, and {path: [variable, …]}."""


def takeover(files, settings):
    """The Takeover of those variables that would be a second argument for one of the flags in `settings`.

    Nothing is taken of a file in which one of them goes over more than a line.
    """
    texts, variables = {}, {}
    for path in files:
        text = generations.read_text(path)
        doubled = [line for line in (text or "").splitlines(keepends=True) if _doubles(line, settings)]
        if doubled and all(_is_whole(line) for line in doubled):
            lines = text.splitlines(keepends=True)
            texts[path] = "".join(_COMMENT + line if line in doubled else line for line in lines)
            variables[path] = [_ASSIGNMENT.match(line.rstrip("\n")).group(1) for line in doubled]
    return Takeover(texts, variables)


def _doubles(line, settings):
    match = _ASSIGNMENT.match(line.rstrip("\n"))
    return bool(match and _unquoted(match)) and WRAPPER_VARIABLES.get(match.group(1)) in settings


def _unquoted(match):
    """The text of an assignment without quotes around it."""
    return match.group(2).strip().strip("\"'")


def _is_whole(line):
    """Whether the shell ends an assignment with the line: no quote is open, and the line end is not quoted itself."""
    unescaped = re.sub(r"\\.", "", line.rstrip("\n"))
    quoted = any(unescaped.count(quote) % 2 for quote in "\"'`") or unescaped.count("$(") > unescaped.count(")")
    return not (quoted or unescaped.endswith("\\"))


def found(paths):
    """{path: text} of the files as they are; None for one that is not there."""
    return {path: generations.read_text(path) for path in paths}


def write(texts):
    """Makes the files what {path: text} says; mode and owner stay. One that was not there is left alone."""
    for path, text in texts.items():
        if text is None or generations.read_text(path) == text:
            continue
        real = os.path.realpath(path)  # the place of a link's file
        try:
            before = os.stat(real)
        except FileNotFoundError:
            generations.write_file(real, text, 0o644)
            continue
        generations.write_file(real, text, stat.S_IMODE(before.st_mode), (before.st_uid, before.st_gid))


def assignments(path):
    """[(variable, text)] of a file, in its order, without quotes; what is empty is as good as not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = (_ASSIGNMENT.match(line) for line in lines)
    return [(match.group(1), _unquoted(match)) for match in matches if match]
