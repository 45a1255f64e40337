# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Does a running agent have the flags that its directory gives it? It prints values in its own way."""

from __future__ import annotations

import json
import os
import stat

from ansible_collections.mesos.containerizer.plugins.module_utils import _flag_text_form as flag_text_form
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import masked
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_grammar import pairs
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import (
    FLAGS,
    SECRET_FLAGS,
    WRAPPER_FLAGS,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import QUANTITIES, effective, quantity


def differences(settings, running, ignored):
    """One line for each flag that the agent does not have as set: {flag: Setting} against {flag: text}."""
    found = []
    for name in sorted(set(settings) - set(ignored) - SECRET_FLAGS - set(WRAPPER_FLAGS)):
        want, has = effective(settings[name]), running.get(name)
        if has is None:
            found.append("flag %s is not in effect (wanted %s)" % (name, masked(name, want)))
        elif _meaning(name, str(has)) not in [_meaning(name, text) for text in _texts(name, want)]:
            found.append("flag %s is %s, wanted %s" % (name, masked(name, str(has)), masked(name, want)))
    return found


def _texts(name, want):
    """How the agent may print a value: file://PATH as what is in the file, or for master as the path."""
    kind = FLAGS[name].kind if name in FLAGS else "string"
    path = want[7:] if want.startswith("file://") else want if kind in _JSON and want.startswith("/") else None
    return [want] if path is None else [want, path] + _content(path)


def _content(path):
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as stream:  # a FIFO does not hold us
            return [stream.read(1 << 20)] if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) else []
    except (OSError, ValueError):
        return []


_JSON = ("json", "container_info")


def _meaning(name, text):
    kind = FLAGS[name].kind if name in FLAGS else "string"
    text = text.strip()
    try:
        if kind == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in QUANTITIES:
            found = quantity(kind, text)
            return text if found is None else found
        if kind in ("integer", "number", "port"):
            return float(text)
        if kind == "parts" and text[:1] not in "[{":
            return pairs(text)
        if kind in _JSON:
            return flag_text_form.of_json(json.loads(text)) if text[:1] in "{[" else flag_text_form.of_text(text)
        if kind == "parts":
            return json.loads(text)
    except (KeyError, ValueError):
        pass
    return text
