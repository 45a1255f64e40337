# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Whether a release on a host still is what was staged: by the list that its own release.py made then."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess

_LIST = "files.json"
_LATER = (_LIST, "activations")  # what release.py writes beside the listed files
_MOST_SHOWN = 5


def damage(home, python):
    """What is wrong with the release in `home`, which is to run by `python`, for people; nothing where it has no list.

    One that was staged by an older release.py has none.
    """
    try:
        with open(os.path.join(home, _LIST), encoding="utf-8") as stream:
            listed = json.load(stream)
        files, staged_by, version = dict(listed["files"]), str(listed["python"]), int(listed["version"])
        wrong = _compared(home, {str(name): (int(mode), digest) for name, (mode, digest) in files.items()})
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        return ["%s is no list of its files: %s" % (_LIST, error)]
    shown = wrong[:_MOST_SHOWN]
    if len(wrong) > _MOST_SHOWN:
        shown.append("%d more files" % (len(wrong) - _MOST_SHOWN))
    return shown + _interpreter(staged_by, version, python)


def _compared(home, files):
    wrong = [said for said in (_wrong(home, name, *files[name]) for name in sorted(files)) if said]
    for directory, names, others in os.walk(home):
        for name in names + others:
            relative = os.path.relpath(os.path.join(directory, name), home)
            if relative not in files and relative not in _LATER:
                wrong.append("%s does not belong to it" % relative)
    return wrong


def _wrong(home, name, mode, digest):
    path = os.path.join(home, name)
    try:
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode) != (digest is None) or _digest(path, found) != digest:
            return "%s is another one" % name
    except (FileNotFoundError, NotADirectoryError):
        return "%s is missing" % name
    now = stat.S_IMODE(found.st_mode)
    return None if now == mode else "%s has mode %04o, not %04o" % (name, now, mode)


def _digest(path, found):
    """The digest of a regular file; None for anything else."""
    if not stat.S_ISREG(found.st_mode):
        return None
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def _interpreter(staged_by, version, python):
    if staged_by != python:
        return ["it runs by %s, not by %s" % (staged_by, python)]
    try:
        answer = subprocess.run(  # noqa: S603
            [python, "-ISB", "-c", "import sys; print(sys.hexversion >> 16)"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=True,
        ).stdout
        now = int(answer)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return ["%s does not run: %s" % (python, error)]
    if now == version:
        return []
    return ["it was staged by Python %s, and %s now is %s: launches are slow" % (_said(version), python, _said(now))]


def _said(version):
    return "%d.%d" % (version >> 8, version & 0xFF)
