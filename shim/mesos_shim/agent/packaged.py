"""The packaged mesos-containerizer, to which goes what we do not do ourselves."""

import posix
import sys
from _stat import S_ISREG

from ..errors import ShimError, reason
from ..launch import execute, planning, wait
from ..spec import config as configuration
from ..spec.request import LaunchRequest
from ..system import syscalls
from ..system.files import trusted_uids
from ..system.walk import resolve

_READ = posix.O_RDONLY | posix.O_CLOEXEC


def exec_packaged(config: configuration.Config, arguments: "list[str]", what: str) -> None:
    """Become the packaged helper that the configuration names, or refuse by `what` it was needed for."""
    become(config, open_packaged(config, what), arguments)


def open_packaged(config: configuration.Config, what: str) -> int:
    """Its program, checked: before a volume can cover its name, and what is checked is what is executed."""
    path = config.packaged_helper
    if path is None:
        raise ShimError(
            f"{what}: needs the packaged mesos-containerizer; name its path as packaged_helper in the configuration"
        )
    trusted = trusted_uids()
    try:
        found = resolve(path, "packaged_helper", trusted, strict=True) if sys.platform == "linux" else None
        fd = posix.open(path, _READ) if found is None else found.fd
        status = posix.fstat(fd)
        if not S_ISREG(status.st_mode):
            raise ShimError(f"packaged_helper {path!r} is not a regular file")
        others = found is not None and (found.controller is not None or found.users_own)
        if others or status.st_uid not in trusted or status.st_mode & 0o022:
            raise ShimError(f"packaged_helper {path!r}: users other than root can write it")
        if _same_as_ours(status):
            raise ShimError(f"packaged_helper {path!r} is this program itself; name the packaged one")
        return fd
    except OSError as error:
        raise ShimError(f"packaged_helper {path!r}: {reason(error)}") from None


def become(config: configuration.Config, fd: int, arguments: "list[str]") -> None:
    """Become the program `fd` of the configuration's packaged helper."""
    try:
        execute.restore_signals()
        program: int | str = str(config.packaged_helper)
        if sys.platform == "linux":
            # The interpreter of a script is given the descriptor's name (fexecve(3), bugs).
            posix.set_inheritable(fd, _is_script(fd))
            program = fd
        posix.execve(program, ["mesos-containerizer", *arguments], execute.environment())  # noqa: S606
    except OSError as error:
        raise ShimError(f"packaged_helper {config.packaged_helper!r}: {reason(error)}") from None


def hand_over_image(
    config: configuration.Config,
    request: LaunchRequest,
    arguments: "list[str]",
    signals: "wait.Signals | None",
    what: str,
) -> None:
    """Become the packaged helper from the first byte on: an image's root file system is not ours to enter.

    It gets the call as it was made: environment, `arguments` (what came after `launch`), the pipe with the agent's byte
    still to come. Comes back only by ShimError.
    """
    check_no_parent(request, what)
    if signals is not None:
        wait.release_signals(signals)
    exec_packaged(config, ["launch", *arguments], f"{what}: an image's root file system")


def check_no_parent(request: LaunchRequest, what: str) -> None:
    """Refuse a hand-over that would lose what our own isolation promises."""
    if request.config.packaged_helper is not None and planning.needs_parent(request):
        names = ", ".join(request.isolation)
        raise ShimError(
            f"{what}: only the packaged helper does this, and it leaves no parent process of the shim for {names}: "
            "remove cgroups and namespaces/pid from the shim's isolation and add them to the agent's"
        )


def drop_inheritable() -> None:
    """Leave our caller's inheritable and ambient capabilities, which its change of ids would hand to the command."""
    if posix.geteuid() != 0:
        return
    try:
        effective, permitted, _ = syscalls.capabilities()
        syscalls.set_capabilities(effective, permitted, 0)
    except OSError as error:
        raise ShimError(f"the caller's capabilities: {reason(error)}") from None


def _is_script(fd: int) -> bool:
    try:
        readable = posix.open(f"/proc/self/fd/{fd}", _READ)
    except OSError:
        return False  # a program that may be executed and not read
    try:
        return posix.read(readable, 2) == b"#!"
    finally:
        posix.close(readable)


def _same_as_ours(status: "posix.stat_result") -> bool:
    ours = posix.stat(sys.argv[0])
    return (ours.st_dev, ours.st_ino) == (status.st_dev, status.st_ino)
