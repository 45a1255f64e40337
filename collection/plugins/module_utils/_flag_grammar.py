# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What an agent takes for attributes and resources: Mesos' own grammar.

By src/common/values.cpp, attributes.cpp and resources.cpp of 1.11.0, and what an agent of that release said to each
form. An agent ends at its start over anything else.
"""

from __future__ import annotations

import re

_SCALAR = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[+-]?(inf|infinity|nan(\(.*\))?)", re.IGNORECASE)
_BOUND = re.compile(r"\+?[0-9]+|0[xX][0-9a-fA-F]+")
_SMALLEST = 2.2250738585072014e-308  # what is nearer to 0 a double holds with fewer digits: "subnormal"

# What the name of a resource promises: the agent takes other kinds too, and then offers none of it.
_KINDS = dict.fromkeys(("cpus", "gpus", "mem", "disk"), "scalar")
_KINDS["ports"] = "ranges"
_WANTS = {
    "scalar": "a number",
    "ranges": "ranges, for example [31000-32000]",
    None: "a number, ranges like [1-5,8-9], or a set like {a,b}",
}
_FIELDS = {"SCALAR": "scalar", "RANGES": "ranges", "SET": "set"}


def pairs(text):
    """The parts between ';' or line breaks, in an order that does not depend on theirs."""
    return sorted(part.strip() for part in re.split("[;\n]", text) if part.strip())


def check_attributes(text):
    """Raises ValueError for the first attribute that an agent does not take."""
    for part in (part for part in re.split("[;\n]", text) if part):
        key, colon, value = part.partition(":")
        if not colon or not key or not value:
            raise ValueError("%r is not key:value; write key:value pairs with ';' between them" % part)
        check_attribute(key.strip(), value)


def check_attribute(key, text):
    """Raises ValueError where an agent does not take this value of an attribute."""
    try:
        if value_of(text)[0] == "set":
            raise ValueError("an attribute cannot be a set")
    except ValueError as error:
        raise ValueError(
            "key %s: %r is not a number, ranges like [1-5] or a text: %s; the agent ends over it" % (key, text, error)
        ) from error


def check_resources(text):
    """Raises ValueError for the first resource that an agent does not take."""
    kinds = {}
    for part in (part for part in text.split(";") if part):
        found = [piece for piece in part.split(":") if piece]
        if len(found) != 2:
            raise ValueError("%r is not key:value; write key:value pairs with ';' between them" % part)
        key = found[0].strip()
        _one_kind(kinds, _name(key), check_resource(key, found[1]))


def check_resource(key, text):
    """The kind of a resource's value. Raises ValueError where an agent does not take it."""
    promised = _KINDS.get(_name(key))
    wrong = "key %s: %r is not %s: " % (key, text, _WANTS[promised])
    try:
        kind, value = value_of(text)
        if kind == "text":
            raise ValueError("a text is no resource")
        _sensible(kind, value)
    except ValueError as error:
        raise ValueError("%s%s; the agent refuses it" % (wrong, error)) from error
    if promised not in (None, kind):
        raise ValueError("%sthe agent would offer none" % wrong)
    return kind


def check_resource_list(items):
    """Raises ValueError for the first of a list of resources, as JSON has them, that an agent does not take."""
    kinds = {}
    for number, item in enumerate(items):
        try:
            _one_kind(kinds, *_of_json(item))
        except ValueError as error:
            raise ValueError("resource %d of the list %s; the agent refuses it" % (number + 1, error)) from error


def _one_kind(kinds, name, kind):
    if kinds.setdefault(name, kind) != kind:
        raise ValueError("key %s has both %s and %s: the agent takes one kind of a name" % (name, kinds[name], kind))


def _name(key):
    """The name of a resource without its role in brackets. Raises ValueError where either is none."""
    name, bracket, rest = key.partition("(")
    name = name.strip()
    role, closed, _rest = rest.partition(")")
    if bracket and (not closed or ")" in name):
        raise ValueError("key %s: its brackets do not match" % key)
    if not name:
        raise ValueError("key %s: the name is empty" % key)
    if bracket:
        _check_role(role.strip())
    return name


def _check_role(role):
    """roles::validate of src/common/roles.cpp."""
    if role == "*":
        return
    for part in role.split("/"):
        if part in ("", ".", "..", "*") or part.startswith("-") or re.search(r"[\s\b]", part):
            raise ValueError("%r is no name of a role" % role)


def value_of(text):
    """(kind, value) of values::parse, which drops spaces and nothing else. Raises ValueError where there is none."""
    text = text.replace(" ", "")
    if not text:
        raise ValueError("it is empty")
    for brackets in ("{}", "[]", "()"):
        if not _match(text, *brackets):
            raise ValueError("its brackets do not match")
    if text.startswith("["):
        return "ranges", _ranges(text)
    if "[" in text:
        raise ValueError("a '[' may only be its first character")
    if text.startswith("{"):
        return "set", _tokens(text, "{},\n")
    if "{" in text:
        raise ValueError("a '{' may only be its first character")
    return _scalar_or_text(text)


def _scalar_or_text(text):
    if _NO_NUMBER.fullmatch(text):
        raise ValueError("Mesos reads it as a number, but it is not one")
    number = float(text) if _SCALAR.fullmatch(text) else None
    if number is None or number in (float("inf"), float("-inf")):  # more than a double holds is a text there
        return "text", text
    if number < 0:
        raise ValueError("negative numbers are refused")
    if 0 < number < _SMALLEST:
        raise ValueError("the number is too small")
    return "scalar", number


def _match(text, opening, closing):
    depth = 0
    for character in text:
        depth += (character == opening) - (character == closing)
        if depth < 0:
            return False
    return depth == 0


def _tokens(text, delimiters):
    return [token for token in re.split("[%s]" % re.escape(delimiters), text) if token]


def _ranges(text):
    tokens = _tokens(text, "[]-,\n")
    if len(tokens) % 2:
        raise ValueError("ranges need a first and a last number each")
    bounds = [_bound(token) for token in tokens]
    return list(zip(bounds[::2], bounds[1::2]))


def _bound(token):
    number = int(token, 0 if token[:2] in ("0x", "0X") else 10) if _BOUND.fullmatch(token) else -1
    if not 0 <= number < 1 << 64:
        raise ValueError("ranges consist of whole numbers")
    return number


def _sensible(kind, value):
    """Resources::validate: what can be read, and is no amount of anything."""
    if kind == "scalar" and value != 0 and not 0.0005 <= value < (1 << 63) / 1000:
        raise ValueError("Mesos counts thousandths, from 0.001 on")
    if kind == "ranges" and any(first > last for first, last in value):
        raise ValueError("a range begins after its end")
    if kind == "set" and len(set(value)) != len(value):
        raise ValueError("a set names each item once")


def _of_json(item):
    """(name, kind) of one Resource. Raises ValueError with what is wrong, to be said after the resource's number."""
    if not isinstance(item, dict):
        raise ValueError("is not a map with name, type and value")  # noqa: TRY004 (a wrong value, as the rest)
    item = {key: value for key, value in item.items() if value is not None}
    name, field = item.get("name"), _FIELDS.get(item["type"]) if isinstance(item.get("type"), str) else None
    if not isinstance(name, str) or not name:
        raise ValueError("has no name")
    if field is None:
        raise ValueError("(%s) has no type that is SCALAR, RANGES or SET" % name)
    if [known for known in _FIELDS.values() if known in item] != [field] or not isinstance(item[field], dict):
        raise ValueError("(%s) of type %s has a map %s, and no other value" % (name, item["type"], field))
    try:
        value = _JSON_VALUES[field](item[field])
        _sensible(field, value)
    except ValueError as error:
        raise ValueError("(%s) is wrong: %s" % (name, error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("(%s) is wrong: its value has another form than that of a Resource" % name) from error
    _check_settings(name, item)
    return name, field


def _check_settings(name, item):
    """validateCommandLineResources: what only a framework or an operator's call may bring."""
    reservations = item.get("reservations") or [{}]
    disk = item.get("disk") or {}
    if "revocable" in item or "reservation" in item or (isinstance(disk, dict) and disk.get("persistence")):
        raise ValueError("(%s) is revocable, dynamically reserved or persistent, which no flag can say" % name)
    if not all(isinstance(one, dict) for one in reservations) or reservations[-1].get("type") == "DYNAMIC":
        raise ValueError("(%s) has reservations that no flag can say" % name)
    if isinstance(item.get("role"), str):
        _check_role(item["role"])


def _json_number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError("%r is not a number" % (value,))
    return value


def _json_ranges(value):
    found = [tuple(int(_json_number(one[end])) for end in ("begin", "end")) for one in value.get("range") or []]
    for (_first, last), (first, _last) in zip(sorted(found), sorted(found)[1:]):
        if first <= last:
            raise ValueError("its ranges overlap")
    return found


def _json_set(value):
    items = value.get("item") or []
    if not all(isinstance(one, str) for one in items):
        raise ValueError("the items of a set must be strings")
    return items


_JSON_VALUES = {
    "scalar": lambda value: float(_json_number(value["value"])),
    "ranges": _json_ranges,
    "set": _json_set,
}
