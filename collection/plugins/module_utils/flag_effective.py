# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Does a running agent have the flags that its directory gives it? It prints values in its own way."""

from __future__ import annotations

import json
import re

from ansible_collections.mesos.containerizer.plugins.module_utils.agent_secrets import masked
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_table import FLAGS, SECRET_FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_values import effective

# stout's Duration and Bytes: 60secs comes back as 1mins, 1024MB as 1GB.
_DURATION_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "secs": 10**9, "mins": 60 * 10**9, "hrs": 3600 * 10**9}
_DURATION_UNITS.update(days=86400 * 10**9, weeks=7 * 86400 * 10**9)
_BYTES_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_QUANTITY = re.compile(r"([0-9.]+)([A-Za-z]+)")


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
        if kind in ("duration", "bytes"):
            number, unit = _QUANTITY.fullmatch(text).groups()
            return round(float(number) * (_DURATION_UNITS if kind == "duration" else _BYTES_UNITS)[unit])
        if kind in ("integer", "number", "port"):
            return float(text)
        if kind == "parts" and text[:1] not in "[{":
            return sorted(part.strip() for part in text.split(";"))
        if kind in ("json", "container_info", "parts"):
            return json.loads(text)
    except (AttributeError, KeyError, ValueError):
        pass
    return text
