"""`mesos-shim validate FILE|-`: is this a ContainerInfo, or a configuration, that a launch would take?"""

import sys

from .commands import options
from .errors import ShimError, one_line, reason
from .spec import config, container_info
from .system import strict_json

HELP = """\
usage: mesos-shim validate FILE|-

Checks a ContainerInfo or a configuration, and prints every problem with its
JSON path. A file named *.yml or *.yaml is read as YAML, any other as JSON. An
object with a key 'volumes' or 'type' is a ContainerInfo. Exit status: 0 valid,
1 not valid, 125 not readable.

example: echo '{"type":"MESOS","volumes":[]}' | mesos-shim validate -
"""


def main(arguments: "list[str]") -> int:
    """0 for a valid file, 1 and its problems on stderr for another."""
    values, operands = options.parse(arguments, (), (), "validate")
    if options.asks_help(values, HELP):
        return 0
    if len(operands) != 1:
        raise ShimError("validate: one file, or '-' for standard input")
    name = operands[0]
    where = "standard input" if name == "-" else name
    data = _read(name)
    try:
        value = _yaml(data, where) if name.endswith((".yml", ".yaml")) else strict_json.parse(data, where)
    except ShimError as error:
        return _report([str(error)])
    if isinstance(value, dict) and not {"volumes", "type"} & set(value):
        return _report(config.parse(value, where)[1])
    info, problems = container_info.parse(value, "ContainerInfo")
    for warning in info.warnings:
        sys.stderr.write(f"warning: {one_line(warning)}\n")
    return _report(problems)


def _report(problems: "list[str]") -> int:
    for problem in problems:
        sys.stderr.write(one_line(problem) + "\n")
    return 1 if problems else 0


def _read(name: str) -> bytes:
    """What there is to check, and a byte more where it is too long."""
    limit = strict_json.MAX_BYTES + 1
    if name == "-":
        return sys.stdin.buffer.read(limit)
    try:
        fd = config.open_regular(name, name)
    except FileNotFoundError as error:
        raise ShimError(f"{name}: {reason(error)}") from None
    try:
        with open(fd, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ShimError(f"{name}: {reason(error)}") from None


def _yaml(data: bytes, where: str) -> object:
    try:
        from .commands import yaml_text
    except ImportError:
        raise ShimError(f"{where}: PyYAML is not installed here; give JSON") from None
    return yaml_text.parse(data, where)
