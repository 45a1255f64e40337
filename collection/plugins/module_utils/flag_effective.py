# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Does a running agent have the flags that its directory gives it? It prints values in its own way."""

from __future__ import annotations

import json

from ansible_collections.mesos.containerizer.plugins.module_utils.agent_secrets import masked
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_grammar import pairs
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_table import FLAGS, SECRET_FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_values import QUANTITIES, effective, quantity


def differences(settings, running, ignored):
    """One line for each flag that the agent does not have as set: {flag: Setting} against {flag: text}."""
    found = []
    for name in sorted(set(settings) - set(ignored) - SECRET_FLAGS):
        want, has = effective(settings[name]), running.get(name)
        if has is None:
            found.append("flag %s is not in effect (wanted %s)" % (name, masked(name, want)))
        elif _meaning(name, want) != _meaning(name, str(has)):
            found.append("flag %s is %s, wanted %s" % (name, masked(name, str(has)), masked(name, want)))
    return found


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
        if kind in ("json", "container_info", "parts"):
            return json.loads(text)
    except (KeyError, ValueError):
        pass
    return text
