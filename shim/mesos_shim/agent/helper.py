"""`mesos-containerizer`: tells the two launch protocols apart; every other subcommand is the packaged helper's."""

import posix

from .. import config as configuration
from . import packaged


def main(arguments: "list[str]", config_path: str) -> int:
    """Run the helper; its exit status, where it comes back at all."""
    if arguments[:1] != ["launch"]:
        config = configuration.read(config_path, required=False)
        packaged.exec_packaged(config, arguments, f"mesos-containerizer {' '.join(arguments[:1])}")
    if b"MESOS_CONTAINERIZER_LAUNCH_INFO" in posix.environ and len(arguments) == 1:
        from . import modern

        return modern.launch(config_path)
    from . import legacy

    return legacy.launch(arguments[1:], config_path)
