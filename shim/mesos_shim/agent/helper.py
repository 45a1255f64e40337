"""`mesos-containerizer`: tells the two launch protocols apart; every other subcommand is the packaged helper's."""

import posix

from .. import config as configuration
from . import packaged

# Of 1.x's environment, what tells that its agent calls. 0.21's is the framework's, and has arguments besides.
_MODERN = (
    b"MESOS_CONTAINERIZER_LAUNCH_INFO",
    b"MESOS_CONTAINERIZER_RUNTIME_DIRECTORY",
    b"MESOS_CONTAINERIZER_PIPE_READ",
)

HELP = """\
usage: mesos-containerizer launch

Called by a Mesos agent, which says in the environment (1.x) or in arguments
(0.21) what to launch. By hand: mesos-shim run.
"""


def main(arguments: "list[str]", config_path: str) -> int:
    """Run the helper; its exit status, where it comes back at all."""
    if arguments[:1] != ["launch"]:
        config = configuration.read(config_path, required=False)
        packaged.exec_packaged(config, arguments, f"mesos-containerizer {' '.join(arguments[:1])}")
    rest = arguments[1:]
    if "--help" in rest or (not rest and posix.environ.get(b"MESOS_CONTAINERIZER_HELP") in (b"true", b"1")):
        posix.write(1, HELP.encode("ascii"))
        return 0
    if any(name in posix.environ for name in _MODERN) and not _has_legacy(rest):
        from . import modern

        return modern.launch(rest, config_path)
    from . import legacy

    return legacy.launch(rest, config_path)


def _has_legacy(arguments: "list[str]") -> bool:
    if not arguments:
        return False
    from . import legacy

    return any(argument.partition("=")[0] in legacy.KNOWN for argument in arguments)
