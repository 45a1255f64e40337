"""The program's one entry: decides who asks, and is the one place where an error becomes a message and a status."""

import posix
import sys

from .errors import ShimError, fail, reason, unexpected


def main(config: str = "/etc/mesos-shim/config.json", agent: bool = False) -> None:
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
            from .commands import dispatch

            status = dispatch.main(arguments, config)
    except ShimError as error:
        status = fail(name, str(error), 1 if agent else error.exit_code)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        _leave_silently()  # the reader has seen enough
    except Exception as error:
        status = fail(name, unexpected(error), 1 if agent else 125)
    _leave(name, status)


def _asks_help(arguments: "list[str]") -> bool:
    for argument in arguments:
        if argument == "--":
            return False
        if argument in ("-h", "--help"):
            return True
    return False


def _run(arguments: "list[str]", config: str) -> int:
    from .commands.arguments import from_arguments
    from .launch import order, planning

    request = from_arguments(arguments, config)
    if request.json:
        raise ShimError("run: --json: the output of run is the command's own; 'explain --json' prints the plan")
    if not request.command:
        raise ShimError("run: no command; it goes after '--'")
    if request.user is not None and sys.platform == "linux":
        from .launch import callers_terminal

        callers_terminal.leave(request)
    if planning.needs_parent(request):
        from .launch import supervised

        return supervised.run(request)
    order.run(request)
    return 125  # exec does not return


def _leave(name: str, status: int) -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_silently()
    except OSError as error:
        # A report that was lost is no success.
        status = fail(name, f"standard output: {reason(error)}; the output is incomplete", status or 125)
    except (ValueError, AttributeError):
        pass  # there was none
    try:
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass
    posix._exit(status)


def _leave_silently() -> None:
    posix._exit(141)  # as a shell says it of a program that SIGPIPE ended
