"""What the commands beside `run` and `explain` share: few options, long ones, in any order with the operands."""

import sys

from ..errors import ShimError
from ..spec import config as configuration
from .arguments import scan


def parse(
    arguments: "list[str]", values: "tuple[str, ...]", flags: "tuple[str, ...]", command: str
) -> "tuple[dict[str, str], list[str]]":
    """The options with their values ("" for a flag) and the operands; after `--` there are only operands."""
    operands: list[str] = []
    parsed, rest = scan(arguments, values, flags, command, operands)
    return {name: value for name, (value,) in parsed.items()}, operands + rest


def read_config(parsed: "dict[str, str]", config_path: str) -> configuration.Config:
    """The configuration at `config_path` or the one that `--config` names."""
    return configuration.read(parsed.get("--config", config_path), required="--config" in parsed)


def asks_help(parsed: "dict[str, str]", text: str) -> bool:
    """Print `text` if `--help` was given."""
    if "--help" in parsed:
        sys.stdout.write(text)
    return "--help" in parsed


def none(operands: "list[str]", command: str) -> None:
    """Refuse operands where the command takes none."""
    if operands:
        raise ShimError(f"{command}: {operands[0]!r}: takes no operand; see 'mesos-shim {command} --help'")
