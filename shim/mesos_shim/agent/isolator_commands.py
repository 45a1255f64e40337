"""The commands by which an agent's isolators prepare a container: root would hand them to a shell (threats 2).

Until 1.4 filesystem/shared writes a framework's paths into such a command, as they are, and filesystem/linux did until
0.28. So a shell's text is never run for what it looks like: what our volumes replace is told by the exact text that the
ContainerInfo gives, namespaces/pid's is done by our own calls, and anything else is run only where the ContainerInfo is
known and none of its paths is in it. Everything else is refused by name.

Sources: src/slave/containerizer/isolators/filesystem/shared.cpp and namespaces/pid.cpp of 0.21.2, and under
src/slave/containerizer/mesos/isolators of 0.25, 0.28, 1.0, 1.2 and 1.4.
"""

import posix

from ..errors import ShimError
from ..system import credentials
from . import common

if False:  # for the type checker alone: no launch imports typing
    from typing import Callable

    from ..spec.request import LaunchRequest

_BIND = "mount -n --bind "
_AND = " && "
# A path that means the same to us as to the shell which the agent would hand it to.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,=")

# namespaces/pid: 0.21 and 0.22 join the three, 0.23 to 1.1 give one after the other, 1.2 the last alone.
_PID_HANDLES, _NO_HANDLES = "/var/run/mesos/pidns", "/var/empty/mesos"
_PID = (f"{_BIND}{_NO_HANDLES} {_PID_HANDLES}", "mount none /proc --make-private -o rec")
_PROC = "mount -n -t proc proc /proc -o nosuid,noexec,nodev"


def sort(
    commands: "list[common.Command]",
    info: "dict[str, object] | None",
    known: bool,
    sandbox: "str | None",
    where: str,
    request: "LaunchRequest | None" = None,
) -> common.Sorted:
    """Sort the isolators' `commands`. `info` is the ContainerInfo as the agent holds it, if that is `known` at all.

    Without a `sandbox` its volumes are not attached by this launch, and replace nothing. Paths are looked for with the
    rights of the user of `request`.
    """
    result = common.Sorted()
    volumes = _volumes(info)
    ours = [_bind(volume, sandbox) for volume in volumes] if sandbox is not None else []
    for index, item in enumerate(commands):
        text = item.argv[-1]
        steps = _steps_of_pid(text) if item.shell else None
        if item.shell and steps is None:
            if known and (text in ours or text == _AND.join(ours)):
                continue  # our volumes take its place
            if not known and text.startswith(_BIND):
                result.binds.extend(_pairs(text, where, request))
                continue
            _refuse_a_frameworks(text, volumes, known, f"{where}[{index}]")
        result.kept.append(index)
        result.steps.extend(steps or [item])
    return result


def _volumes(info: "dict[str, object] | None") -> "list[tuple[str, str]]":
    """Host path and container path of each volume, word by word as the agent has them."""
    items = info.get("volumes") if info is not None else None
    if not isinstance(items, list):
        return []
    return [(str(item.get("host_path", "")), str(item.get("container_path", ""))) for item in items]


def _bind(volume: "tuple[str, str]", sandbox: str) -> str:
    source, target = volume
    if not source.startswith("/"):
        source = sandbox.rstrip("/") + "/" + source  # stout's path::join
    return f"{_BIND}{source} {target}"


def _refuse_a_frameworks(text: str, volumes: "list[tuple[str, str]]", known: bool, where: str) -> None:
    shown = text if len(text) <= 200 else text[:200] + "[...]"
    if not known:
        raise ShimError(
            f"{where}: {shown!r} is not run, because no ContainerInfo is known and it may contain a framework's text; "
            "let frameworks checkpoint, remove that isolator from the agent's --isolation, or update the agent to 1.5"
        )
    for volume in volumes:
        for path in volume:
            if path and path in text:
                raise ShimError(
                    f"{where}: {shown!r} is not run, because it contains {path!r} from the ContainerInfo, "
                    "and root would pass it to a shell; remove that isolator from the agent's --isolation"
                )


def _pairs(text: str, where: str, request: "LaunchRequest | None") -> "list[tuple[str, str]]":
    """Source and target of what is unmistakably a bind mount between two existing paths; anything else is refused."""
    result = []
    for part in text.split(_AND):
        words = part.split(" ")
        if len(words) != 5 or not part.startswith(_BIND) or not all(_PLAIN.issuperset(word) for word in words[3:]):
            raise ShimError(f"{where}: {part!r} is not plainly 'mount -n --bind SOURCE TARGET'; it is not run")
        for path in words[3:]:
            if not _exists(path, request):
                raise ShimError(f"{where}: {part!r}: {path!r} does not exist")
        result.append((words[3], words[4]))
    return result


def _exists(path: str, request: "LaunchRequest | None") -> bool:
    """Whether it may be there, as far as the task's user sees; what they may not see is checked where all paths are."""
    if request is None:
        user = credentials.current()
    else:
        user = credentials.of_user(request.user, request.user_named, request.keep_caller_groups)
    try:
        credentials.with_rights_of(user, lambda: posix.lstat(path))
    except OSError as error:
        return path.startswith("/") and not isinstance(error, (FileNotFoundError, NotADirectoryError))
    return path.startswith("/")


def _steps_of_pid(text: str) -> "list[Callable[[], None]] | None":
    """Our own calls for a command of namespaces/pid, None for another."""
    if text == _AND.join((*_PID, _PROC)):
        return [_mask_handles, _part_proc, _mount_proc]
    return {_PID[0]: [_mask_handles], _PID[1]: [_part_proc], _PROC: [_mount_proc]}.get(text)


def _mask_handles() -> None:
    from ..system import syscalls

    syscalls.mount(_NO_HANDLES, _PID_HANDLES, None, syscalls.MS_BIND)


def _part_proc() -> None:
    from ..system import syscalls

    syscalls.mount("none", "/proc", None, syscalls.MS_PRIVATE | syscalls.MS_REC)


def _mount_proc() -> None:
    from ..system import syscalls

    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
