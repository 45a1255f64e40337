"""Reads what view_record.py has kept of a parent's mount namespace, for a DEBUG container that joins it."""

import posix

from ..errors import ShimError, reason
from ..system import files, strict_json
from .view_record import NAME, VERSION, open_directory

_MAX_PID = 1 << 31


class View:
    """Whose mount namespace it is, and what was found of it when it was made."""

    __slots__ = ("anchor", "covered", "helper", "mount_namespace", "no_new_privs", "not_as_root", "uid")

    def __init__(self, value: "dict[str, object]", where: str) -> None:
        # Who stands in it as long as the container runs, and the helper, whom the agent knows: pid and start time.
        self.anchor = _process(value.get("anchor"), where)
        self.helper = _process(value.get("helper"), where)
        inode = value.get("mount_namespace")
        if type(inode) is not int:
            raise ShimError(f"{where}: damaged: {inode!r} is not a mount namespace")
        self.mount_namespace = inode
        uid = value.get("uid")
        self.uid = uid if isinstance(uid, int) else None
        self.covered = value.get("covered") is not False
        self.no_new_privs = value.get("no_new_privs") is not False
        why = value.get("not_as_root")
        self.not_as_root = None if why is None else str(why)


def _process(value: object, where: str) -> "tuple[int, int]":
    if isinstance(value, list) and len(value) == 2 and all(type(item) is int and item > 0 for item in value):
        pid, started = value
        if pid < _MAX_PID:
            return pid, started
    raise ShimError(f"{where}: damaged: {value!r} is not a pid and a start time")


def read(runtime: str) -> "View | None":
    """What is kept in the runtime directory `runtime`, None where there is nothing. Raises ShimError."""
    path = f"{runtime}/{NAME}"
    directory = open_directory(runtime)
    try:
        text, _ = files.read_trusted(NAME, strict_json.MAX_BYTES, directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ShimError(f"{path}: {reason(error)}") from None
    except ShimError as error:
        raise ShimError(f"{path}: not a file of the agent's: {error}") from None
    finally:
        posix.close(directory)
    value = strict_json.parse(text, path)
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise ShimError(f"{path}: damaged, or another release's: not version {VERSION}")
    return View(value, path)
