"""What a launch is on systems without mount namespaces (macOS): no isolation, and that is said everywhere."""

import posix

from ..errors import ShimError, reason
from ..spec.request import LaunchRequest, sandbox_path
from ..system.walk import Resolved


def sandbox(request: LaunchRequest) -> Resolved:
    """The sandbox, opened as it is: nothing will be made or mounted in it."""
    if request.sandbox_planned is not None:
        return request.sandbox_planned
    path = sandbox_path(request)
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as error:
        raise ShimError(f"{request.sandbox_named}: {path!r}: {reason(error)}") from None
    return Resolved(path, fd, posix.fstat(fd), [], None)
