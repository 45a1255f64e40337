# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Protobuf's text form, in which an agent prints flags that it was given as JSON (acls, default_container_info …)."""

from __future__ import annotations

import re

_TOKEN = re.compile(r'\s*(?:([A-Za-z_][A-Za-z0-9_]*)\s*(:?)\s*(\{?)|"((?:[^"\\\n]|\\.)*)"|([^\s{}"]+)|(\}))\s*')
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def of_json(value):
    """A message that JSON holds in the form of of_text: {field: [value, …]}, without what is empty."""
    if isinstance(value, dict):
        lists = {name: item if isinstance(item, list) else [item] for name, item in value.items()}
        return {name: [of_json(item) for item in items] for name, items in lists.items() if items not in ([], [None])}
    if isinstance(value, list):
        return [of_json(item) for item in value]
    return _leaf(("true" if value else "false") if isinstance(value, bool) else str(value))


def of_text(text):
    """A message in text form as {field: [value, …]}. Raises ValueError where the text is none."""
    open_messages, position, field = [{}], 0, None
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError("no text form")
        position = match.end()
        name, colon, brace, quoted, plain, closing = match.groups()
        if field is not None:  # behind "name:"
            if quoted is None and plain is None and (name is None or colon or brace):
                raise ValueError("a field without a value")
            open_messages[-1].setdefault(field, []).append(
                _leaf(_unescaped(quoted) if quoted is not None else plain or name)
            )
            field = None
        elif name is not None and brace:
            message = {}
            open_messages[-1].setdefault(name, []).append(message)
            open_messages.append(message)
        elif name is not None and colon:
            field = name
        elif closing and len(open_messages) > 1:
            open_messages.pop()
        else:
            raise ValueError("no text form")
    if field is not None or len(open_messages) != 1:
        raise ValueError("a text form that ends too early")
    return open_messages[0]


def _leaf(text):
    """JSON may hold a number as text, and "0.10" is 0.1: compared as numbers where both are."""
    try:
        return float(text)
    except ValueError:
        return text


def _unescaped(text):
    """Bytes that are no ASCII come as octal numbers."""

    def byte(match):
        found = match.group(1)
        return chr(int(found, 8)) if found[0] in "01234567" else _ESCAPED.get(found, found)

    raw = _ESCAPE.sub(byte, text)
    try:
        return raw.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return raw
