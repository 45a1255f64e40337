"""Checks of a JSON text that few texts need (strict_json.py): of many brackets, and of escaped characters."""


def is_deeper(text: str, limit: int) -> bool:
    """Whether the text has more than `limit` lists and objects in each other."""
    depth = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > limit:
                return True
        elif character in "]}":
            depth -= 1
    return False


def check_surrogates(value: object) -> None:
    """Raise ValueError for half of a character, which JSON can write (RFC 8259, 8.2) and UTF-8 cannot."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(f"lone surrogate in {value!r}") from None
    elif isinstance(value, list):
        for item in value:
            check_surrogates(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_surrogates(key)
            check_surrogates(item)
