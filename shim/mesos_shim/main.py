"""The program's one entry: decides who asks, and is the one place where an error becomes a message and a status."""

import posix
import sys

from .errors import ShimError, fail, unexpected


def main(config: str, agent: bool = False) -> None:
    """Run `mesos-shim` (or, with `agent`, `mesos-containerizer`) with the configuration at `config`; never returns."""
    arguments = sys.argv[1:]
    name = "mesos-containerizer" if agent else "mesos-shim"
    try:
        if agent:
            from .agent import helper

            status = helper.main(arguments, config)
        elif arguments[:1] == ["run"] and not _asks_help(arguments):
            status = _run(arguments[1:], config)
        else:
            from . import commands

            status = commands.main(arguments, config)
    except ShimError as error:
        status = fail(name, str(error), 1 if agent else error.exit_code)
    except KeyboardInterrupt:
        status = 130
    except Exception as error:
        status = fail(name, unexpected(error), 1 if agent else 125)
    _leave(status)


def _asks_help(arguments: "list[str]") -> bool:
    for argument in arguments:
        if argument == "--":
            return False
        if argument in ("-h", "--help"):
            return True
    return False


def _run(arguments: "list[str]", config: str) -> int:
    from . import launch, request

    asked = request.from_arguments(arguments, config)
    if not asked.command:
        raise ShimError("run: no command; it goes after '--'")
    if asked.supervise or asked.remove or asked.status_fd is not None:
        from . import supervise

        return supervise.run(asked)
    launch.run(asked, [])
    return 125  # exec does not return


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue
    posix._exit(status)
