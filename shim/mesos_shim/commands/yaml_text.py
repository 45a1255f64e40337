"""Strict, bounded YAML for `validate`: what is read is what JSON could have said, by the bounds of `jsontext`.

PyYAML bounds nothing: ten lines of aliases stand for more than a memory holds, a key may come twice and the last
one wins, depth ends in a RecursionError. Not on the launch path, which reads JSON only.
"""

import yaml

from ..errors import ShimError
from ..system import strict_json

# Longer than any number, date or truth value; a long number costs the square of its length.
_MAX_SCALAR = 64
_STRING = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which stops at the first thing that is not for a configuration."""

    depth = 0

    def compose_node(self, parent: "yaml.Node | None", index: "object") -> "yaml.Node | None":
        """The next node; it counts how deep we are before PyYAML's own recursion does."""
        if self.check_event(yaml.AliasEvent):
            raise _Refused("an alias; write out what it stands for", self._mark())
        self.depth += 1
        if self.depth > strict_json.MAX_DEPTH:
            raise _Refused(f"nested deeper than {strict_json.MAX_DEPTH}", self._mark())
        node = super().compose_node(parent, index)  # type: ignore[arg-type]
        self.depth -= 1
        if isinstance(node, yaml.MappingNode):
            _check_keys(node)
        if isinstance(node, yaml.ScalarNode) and node.tag != _STRING and len(node.value) > _MAX_SCALAR:
            raise _Refused(f"a value of {len(node.value)} characters that is not a string; quote it", node.start_mark)
        return node

    def _mark(self) -> "yaml.Mark":
        return self.peek_event().start_mark  # type: ignore[no-untyped-call,no-any-return]


def _check_keys(node: "yaml.MappingNode") -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused("a key that is not a string", key.start_mark)
        if (key.tag, key.value) in seen:
            raise _Refused(f"duplicate key {key.value!r}", key.start_mark)
        seen.add((key.tag, key.value))


class _Refused(Exception):  # noqa: N818 (becomes a ShimError, which knows the file)
    """What is refused, and where it starts."""

    def __init__(self, what: str, mark: "yaml.Mark") -> None:
        super().__init__(what)
        self.what = what
        self.line = mark.line + 1


def parse(data: bytes, where: str) -> object:
    """The value of the YAML text `data`, of JSON's types; `where` names its origin in messages."""
    if len(data) > strict_json.MAX_BYTES:
        raise ShimError(f"{where}: {len(data)} bytes of YAML; at most {strict_json.MAX_BYTES} are read")
    try:
        value = yaml.load(data, _Loader)  # noqa: S506 (a safe loader, made stricter)
    except _Refused as refused:
        what = refused.what
        raise ShimError(f"{where}: YAML, line {refused.line}: {what}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ShimError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    try:
        # Through JSON, so that the same bounds and the same types hold for both.
        return strict_json.parse(strict_json.dump(value).encode(), where)
    except (TypeError, ValueError, RecursionError) as error:
        raise ShimError(f"{where}: not a JSON value: {error}") from None
