"""Launches that are the packaged helper's from the first byte on: an image's root file system is not ours to enter.

It gets the call as it was made: environment, arguments, the pipe with the agent's byte still to come.
"""

from ..errors import ShimError
from ..launch import planning, wait
from ..spec import config as configuration
from ..spec.request import LaunchRequest
from . import checkpoint


def reason_for(info: "dict[str, object]", agents: checkpoint.Held) -> "str | None":
    """Why the launch is the packaged helper's alone, or None.

    A command executor's root is the host's, but the agent prepares its task's image in the executor's own namespace.
    """
    if info.get("rootfs") is not None:
        return "ContainerLaunchInfo.rootfs"
    return "ContainerConfig.rootfs" if agents.rootfs is not None else None


def hand_over(
    config: configuration.Config,
    request: LaunchRequest,
    arguments: "list[str]",
    signals: "wait.Signals | None",
    what: str,
) -> None:
    """Become the packaged helper, `arguments` being what came after `launch`. Comes back only by ShimError."""
    from . import packaged

    check_no_parent(request, what)
    if signals is not None:
        wait.release_signals(signals)
    packaged.exec_packaged(config, ["launch", *arguments], f"{what}: an image's root file system")


def check_no_parent(request: LaunchRequest, what: str) -> None:
    """Refuse a hand-over that would lose what our own isolation promises."""
    if request.config.packaged_helper is not None and planning.needs_parent(request):
        names = ", ".join(request.isolation)
        raise ShimError(
            f"{what}: only the packaged helper does this, and it leaves no parent process of the shim for {names}: "
            "remove cgroups and namespaces/pid from the shim's isolation and add them to the agent's"
        )
