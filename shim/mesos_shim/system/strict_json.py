"""Strict, bounded JSON: what a stranger may hand to a program that runs as root.

Size and depth are bounded before anything is parsed; duplicate keys, NaN, Infinity, lone surrogates, huge numbers
and trailing text are refused. RFC 8259 leaves all of these to the parser, and two parsers that differ are a hole.
"""

from ..errors import ShimError

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_DIGITS = 20

_WHITESPACE = " \t\n\r"


def _pairs(pairs: "list[tuple[str, object]]") -> "dict[str, object]":
    result = dict(pairs)
    if len(result) != len(pairs):
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"duplicate key {key!r}")
            seen.add(key)
    return result


def _constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:MAX_DIGITS]} is more than a number can be")
    return value


class _Context:
    """What `_json.make_scanner` and `json.scanner.py_make_scanner` both read their settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_pairs)
    parse_float = staticmethod(_float)
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)


def _make_scanner() -> "object":
    try:
        from _json import make_scanner  # the scanner without 8 ms of `import json`
    except ImportError:
        import json

        decoder = json.JSONDecoder(
            object_pairs_hook=_pairs, parse_float=_float, parse_int=_integer, parse_constant=_constant
        )
        return decoder.scan_once  # type: ignore[attr-defined]
    return make_scanner(_Context)  # type: ignore[arg-type]


def _scan(text: str, start: int) -> "tuple[object, int]":
    scan = _make_scanner()
    try:
        return scan(text, start)  # type: ignore[operator,no-any-return]
    except SystemError:
        # For a syntax error the C scanner looks for json.decoder among the imported modules, and fails without a
        # reason where it is not. Only a refusal pays for the import.
        import json.decoder  # noqa: F401

        return scan(text, start)  # type: ignore[operator,no-any-return]


def parse(data: bytes, where: str) -> object:
    """The value of the JSON text `data`; `where` names its origin in messages.

    Raises ShimError with the place of the first fault.
    """
    if len(data) > MAX_BYTES:
        raise ShimError(f"{where}: {len(data)} bytes of JSON; at most {MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ShimError(f"{where}: not UTF-8 at byte {error.start}") from None
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        from . import json_checks  # most texts are too small to be that deep

        if json_checks.is_deeper(text, MAX_DEPTH):
            raise ShimError(f"{where}: nested deeper than {MAX_DEPTH}")
    start = len(text) - len(text.lstrip(_WHITESPACE))
    try:
        value, end = _scan(text, start)
        if text[end:].strip(_WHITESPACE):
            raise ValueError(f"text after the end at character {end}")
        if "\\u" in text:
            from . import json_checks

            json_checks.check_surrogates(value)
    except StopIteration as stop:
        raise ShimError(f"{where}: not JSON at character {stop.value}") from None
    except RecursionError:
        raise ShimError(f"{where}: nested deeper than {MAX_DEPTH}") from None
    except ValueError as error:
        raise ShimError(f"{where}: not JSON: {error}") from None
    return value


def kind_of(value: object) -> str:
    """What a parsed value is, in JSON's words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def text_of(value: "dict[str, object]", key: str, json_path: str, problems: "list[str]") -> "str | None":
    """The string that the object `value` must have as `key`; None, and a problem, where it has none."""
    if key not in value:
        problems.append(f"{json_path}.{key}: required")
        return None
    text = value[key]
    if not isinstance(text, str):
        problems.append(f"{json_path}.{key}: {kind_of(text)} where a string belongs")
        return None
    return text


def dump(value: object) -> str:
    """`value` as JSON on one line, ASCII only; for records and `explain`, of the types that `parse` gives."""
    try:
        from _json import encode_basestring_ascii, make_encoder
    except ImportError:
        import json

        return json.dumps(value, allow_nan=False, default=_refuse)
    # As json.encoder calls it: no check for cycles, no indentation, ": " and ", ", order and keys as they are, no NaN.
    encode = make_encoder(None, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, False)
    return "".join(encode(value, 0))


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")
