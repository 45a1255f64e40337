"""Arguments of the commands beside `run`: few, long, in any order with the operands."""

import sys

from ..containers import record
from ..errors import ShimError
from ..spec import config as configuration


def parse(
    arguments: "list[str]", values: "tuple[str, ...]", flags: "tuple[str, ...]", command: str
) -> "tuple[dict[str, str], list[str]]":
    """The options with their values ("" for a flag) and the operands; after `--` there are only operands."""
    given: dict[str, str] = {}
    operands: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            operands.extend(words)
        elif not word.startswith("-") or word == "-":
            operands.append(word)
        else:
            name, equals, value = word.partition("=")
            if name in ("-h", "--help"):
                return {"--help": ""}, []
            if name not in values and name not in flags:
                raise ShimError(f"{command}: {word!r}: unknown option; 'mesos-shim {command} --help' lists them")
            if name in flags and equals:
                raise ShimError(f"{command}: {name}: takes no value")
            if name in given:
                raise ShimError(f"{command}: {name}: given twice; once is enough")
            if name in values and not equals:
                following = next(words, None)
                value = "" if following is None or following == "--" else following
            if name in values and not value:
                raise ShimError(f"{command}: {name}: a value is missing")
            given[name] = value
    return given, operands


def state_dir(given: "dict[str, str]", config_path: str) -> str:
    """Where the records lie, by the configuration at `config_path` or the one that `--config` names."""
    return record.state_dir(read_config(given, config_path).state_dir)


def read_config(given: "dict[str, str]", config_path: str) -> configuration.Config:
    """The configuration at `config_path` or the one that `--config` names."""
    return configuration.read(given.get("--config", config_path), required="--config" in given)


def asks_help(given: "dict[str, str]", text: str) -> bool:
    """Print `text` if `--help` was given."""
    if "--help" in given:
        sys.stdout.write(text)
    return "--help" in given


def none(operands: "list[str]", command: str) -> None:
    """Refuse operands where the command takes none."""
    if operands:
        raise ShimError(f"{command}: {operands[0]!r}: takes no operand; 'mesos-shim {command} --help' tells more")


def seconds(text: str, name: str) -> float:
    """A positive number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value < 1e7:  # also refuses nan
        raise ShimError(f"{name}: {text!r} is not a number of seconds from 0.05 on")
    return value
