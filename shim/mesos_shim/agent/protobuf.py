"""The protobuf wire format (protobuf.dev/programming-guides/encoding), as far as an agent's files need it.

Bounded: the size by who reads the file, the number of fields here. Nothing is skipped silently that cannot be parsed.
"""

from ..errors import ShimError

MAX_FIELDS = 100_000
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_MAX_FIELD_NUMBER = (1 << 29) - 1


def fields(data: bytes, where: str) -> "list[tuple[int, int | bytes]]":
    """Every field of one message as (number, value): an integer, or bytes for strings and messages.

    Fixed-width values come as their little-endian bytes. Raises ShimError for anything that is not a message.
    """
    result: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position, where)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _MAX_FIELD_NUMBER:
            raise ShimError(f"{where}: protobuf field number {number} at byte {position}")
        if kind == _VARINT:
            value: int | bytes
            value, position = _varint(data, position, where)
        else:
            if kind == _BYTES:
                size, position = _varint(data, position, where)
            elif kind in (_FIXED64, _FIXED32):
                size = 8 if kind == _FIXED64 else 4
            else:
                raise ShimError(f"{where}: protobuf wire type {kind} at byte {position}")
            if size > len(data) - position:
                raise ShimError(f"{where}: protobuf field {number} ends beyond the end of the data")
            value = data[position : position + size]
            position += size
        result.append((number, value))
        if len(result) > MAX_FIELDS:
            raise ShimError(f"{where}: more than {MAX_FIELDS} protobuf fields")
    return result


def _varint(data: bytes, position: int, where: str) -> "tuple[int, int]":
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ShimError(f"{where}: protobuf number broken at byte {position}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7


def message(found: "list[tuple[int, int | bytes]]", number: int, where: str) -> "bytes | None":
    """The bytes of field `number`; as protobuf has it, occurrences of one embedded message are merged."""
    parts = [value for key, value in found if key == number]
    if not parts:
        return None
    if not all(isinstance(part, bytes) for part in parts):
        raise ShimError(f"{where}: protobuf field {number} is not a message")
    return b"".join(part for part in parts if isinstance(part, bytes))


def messages(found: "list[tuple[int, int | bytes]]", number: int, where: str) -> "list[bytes]":
    """All occurrences of the repeated message field `number`."""
    parts = [value for key, value in found if key == number]
    result = [part for part in parts if isinstance(part, bytes)]
    if len(result) != len(parts):
        raise ShimError(f"{where}: protobuf field {number} is not a message")
    return result


def text(found: "list[tuple[int, int | bytes]]", number: int, where: str) -> "str | None":
    """The string field `number`; the last occurrence counts."""
    value = None
    for key, item in found:
        if key == number:
            if not isinstance(item, bytes):
                raise ShimError(f"{where}: protobuf field {number} is not a string")
            value = item
    try:
        return None if value is None else value.decode("utf-8")
    except UnicodeDecodeError:
        raise ShimError(f"{where}: protobuf field {number} is not UTF-8") from None


def number(found: "list[tuple[int, int | bytes]]", wanted: int, where: str) -> "int | None":
    """The integer or enumeration field `wanted`; the last occurrence counts."""
    value = None
    for key, item in found:
        if key == wanted:
            if not isinstance(item, int):
                raise ShimError(f"{where}: protobuf field {wanted} is not a number")
            value = item
    return value


def enum_name(names: "dict[int, str]", number: "int | None") -> "str | None":
    """The name of an enumeration's value; one that we do not know is named by its number."""
    return None if number is None else names.get(number, f"enum value {number}")
