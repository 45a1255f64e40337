"""Every command but `run`: they may take their time to import."""

import _locale
import io
import os
import sys

from .. import __version__
from ..errors import ShimError

HELP = """\
usage: mesos-shim COMMAND [OPTIONS]

  run       launch a command with a private view of the host's file system
  explain   show what run would do, and change nothing
  validate  check a ContainerInfo or a configuration
  ps        list the containers that run on this host
  usage     show what they use: processes, CPU, memory, disk
  enter     run a command inside a running container
  gc        remove what ended containers left behind
  doctor    show what this host can enforce, and how to fix the rest

example: mesos-shim run --volume tmp:/tmp -- ls -la /tmp
'mesos-shim COMMAND --help' describes one command; mesos-shim(1) is the manual.
"""


def main(arguments: "list[str]", config: str) -> int:
    """Run the command named by the first argument; its exit status."""
    if sys.stdout is None:
        raise ShimError("standard output is closed, so nothing can be printed; '> /dev/null' discards it")
    if sys.stderr is None:
        # A warning that nobody hears is no reason to fail.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the program runs)
    _suit_terminal()
    name = arguments[0] if arguments else "--help"
    if name == "help" and arguments[1:]:
        name, arguments = arguments[1], [arguments[1], "--help", *arguments[2:]]
    if name in ("-h", "--help", "help"):
        sys.stdout.write(HELP)
        return 0 if arguments else 125
    if name in ("-V", "--version"):
        sys.stdout.write(f"mesos-shim {__version__}\n")
        return 0
    if name == "run":
        from . import explain

        sys.stdout.write(explain.RUN_HELP)
        return 0
    command = _COMMANDS.get(name)
    if command is None:
        raise ShimError(f"{name!r}: no such command; 'mesos-shim --help' lists them")
    return command(arguments[1:], config)


def _suit_terminal() -> None:
    """A terminal gets its own encoding, everything else UTF-8; what cannot be shown is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = _locale.nl_langinfo(_locale.CODESET) if stream.isatty() else "utf-8"
            try:
                stream.reconfigure(encoding=encoding or "ascii", errors="backslashreplace")
            except LookupError:  # a charset that Python does not know
                stream.reconfigure(encoding="ascii", errors="backslashreplace")


def _explain(arguments: "list[str]", config: str) -> int:
    from . import explain

    return explain.main(arguments, config)


def _validate(arguments: "list[str]", config: str) -> int:
    from .. import validate

    return validate.main(arguments)


def _enter(arguments: "list[str]", config: str) -> int:
    from . import enter

    return enter.main(arguments, config)


def _gc(arguments: "list[str]", config: str) -> int:
    from . import gc

    return gc.main(arguments, config)


def _doctor(arguments: "list[str]", config: str) -> int:
    from .doctor import command

    return command.main(arguments, config)


def _ps(arguments: "list[str]", config: str) -> int:
    from . import ps

    return ps.main(arguments, config)


def _usage(arguments: "list[str]", config: str) -> int:
    from . import usage as command

    return command.main(arguments, config)


_COMMANDS = {
    "doctor": _doctor,
    "enter": _enter,
    "explain": _explain,
    "gc": _gc,
    "ps": _ps,
    "usage": _usage,
    "validate": _validate,
}
