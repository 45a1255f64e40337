"""`mesos-containerizer launch`, whoever calls it; every other subcommand is the packaged helper's."""

import posix

from ..spec import config as configuration
from . import call

HELP = """\
usage: mesos-containerizer launch

Called by a Mesos agent or by mesos-executor, which say in the environment or
in arguments what to launch. By hand: mesos-shim run.
"""


def main(arguments: "list[str]", config_path: str) -> int:
    """Run the helper; its exit status, where it comes back at all."""
    if arguments[:1] != ["launch"]:
        from . import packaged

        config = configuration.read(config_path, required=False)
        packaged.exec_packaged(config, arguments, f"mesos-containerizer {' '.join(arguments[:1])}")
    agents_call = call.read(arguments[1:])
    if agents_call.is_true("help"):
        posix.write(1, HELP.encode("ascii"))
        return 0
    if agents_call.by_executor:
        from . import command_executor

        return command_executor.launch(agents_call, arguments, config_path)
    from . import launch

    return launch.launch(agents_call, config_path)
