# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""A probe launched through the agent itself: a standalone container of its operator API, which begins with 1.5.

Sources: LaunchContainer and the others in include/mesos/v1/agent/agent.proto, src/slave/http.cpp.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import signal
import threading
import time
import uuid

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _launch_callers as launch_callers,
    _probe_container as probe_container,
    _probe_launch as probe_launch,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import ApiError
from ansible_collections.mesos.containerizer.plugins.module_utils._probe_container import ProbeError

SINCE = (1, 5)  # LAUNCH_CONTAINER
_SECONDS = 60  # for one container, from its launch to its end
_SECONDS_TO_DIE = 10
_INTERVAL = 0.05
_TRIES = 3
# cgroups/cpu and cgroups/mem of the agent insist on them. Without a role: over one an agent of 1.11 aborts
# (a CHECK in Resources::isEmpty).
_RESOURCES = [
    {"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in (("cpus", 0.1), ("mem", 128))
]


class NotAllowed(Exception):
    """The agent does not let us launch (401, 403); the text says what it answered."""


class _Missed(Exception):
    """It had ended before it could be waited for."""


def run(api, helper, version, volumes, work_dir, agent=None):
    """Launches a probe as the agent's own user, and where that is root also for an ordinary one.

    `work_dir` is the agent's, as it says itself; `agent` is the account of its user if that is not root. Then its tasks
    have the same, so they can put anything where the probe's sandbox is. Raises ProbeError, NotAllowed.
    """
    (row,) = launch_callers.rows([version])
    api = copy.copy(api)
    api.timeout = _SECONDS  # LAUNCH_CONTAINER answers once it is launched, WAIT_CONTAINER once it has ended
    if not (isinstance(work_dir, str) and os.path.isabs(work_dir)):
        raise ProbeError("the agent says that its work_dir is %r" % (work_dir,))
    own = agent.pw_uid if agent else os.geteuid()
    for user in [None] if agent else probe_launch.users():
        what = "a launch through the agent%s" % (" for " + user.pw_name if user else "")
        for left in reversed(range(_TRIES)):
            try:
                _probe(api, helper, row, volumes, work_dir, user, own)
                break
            except _Missed as error:
                if not left:
                    raise ProbeError("%s ended at once, %d times: %s" % (what, _TRIES, error)) from error
            except ProbeError as error:
                raise ProbeError("%s: %s" % (what, error)) from error


def _probe(api, helper, row, volumes, work_dir, user, own):
    identity = "mesos-shim-probe-%s" % uuid.uuid4()
    sandbox = os.path.join(work_dir, "containers", identity)  # slave/paths.cpp, getContainerPath
    command = dict(
        probe_container.command(helper, row, volumes, sandbox, 2 * _SECONDS),
        environment=launch_callers.variables(probe_container.environment(sandbox)),
    )
    deadline = time.monotonic() + _SECONDS
    waiting = None
    try:
        _launch(api, identity, dict(command, user=user.pw_name) if user else command)
        waiting = _Waiting(api, identity)
        found = _report(sandbox, waiting, deadline)
        if found is not None:
            # The way of a task's signals. Whoever has ended by now is not found, which its status tells.
            _ask(api, "KILL_CONTAINER", identity, signal=int(signal.SIGUSR1))
        status, wanted = waiting.status(deadline), probe_container.STATUS << 8
        if status != wanted:
            raise ProbeError("it ended with wait status %d instead of %d" % (status, wanted))
        probe_container.compare(found or {}, row, volumes, sandbox, user.pw_uid if user else own)
    except (ProbeError, _Missed) as error:
        said = probe_container.errors(sandbox, "stderr")
        raise type(error)("%s: %s" % (error, said) if said else str(error)) from error
    finally:
        _clear_away(api, identity, waiting, sandbox)


def _launch(api, identity, command):
    body = {"container_id": {"value": identity}, "command": command, "resources": _RESOURCES}
    try:
        api.call("LAUNCH_CONTAINER", **body)
    except ApiError as error:
        _refuse_unauthorized(error)
        raise ProbeError(str(error)) from error


def _refuse_unauthorized(error):
    if error.status in (401, 403):
        raise NotAllowed(str(error)) from error


def _report(sandbox, waiting, deadline):
    """The probe's report once it is there; None where its container ended, or did not begin in time."""
    while True:
        over = waiting.over() or time.monotonic() > deadline
        found = probe_container.report(sandbox)
        if found is not None or over:
            return found
        time.sleep(_INTERVAL)


class _Waiting:
    """Waits for a container's end while we talk to it: an agent forgets a standalone container when it ends."""

    def __init__(self, api, identity):
        self._answer = self._error = None
        self._thread = threading.Thread(target=self._wait, args=(api, identity), daemon=True)
        self._thread.start()

    def _wait(self, api, identity):
        try:
            self._answer = api.call("WAIT_CONTAINER", container_id={"value": identity})
        except ApiError as error:
            self._error = error

    def over(self):
        return not self._thread.is_alive()

    def wait(self, seconds):
        self._thread.join(seconds)

    def status(self, deadline):
        """The raw wait status. Raises ProbeError, NotAllowed, _Missed."""
        self.wait(max(0.0, deadline - time.monotonic()))
        if not self.over():
            raise ProbeError("it did not end within %d seconds" % _SECONDS)
        if self._error is not None:
            _refuse_unauthorized(self._error)
            if self._error.status == 404:
                raise _Missed(str(self._error))
            raise ProbeError("the agent does not say how it ended: %s" % self._error)
        said = self._answer.get("wait_container")
        status = said.get("exit_status") if isinstance(said, dict) else None
        if not isinstance(status, int):
            raise ProbeError("the agent does not say how it ended: %r" % (str(self._answer)[:200],))
        return status


def _ask(api, kind, identity, **more):
    """Asks for what the container's end will show; raises NotAllowed."""
    try:
        api.call(kind, container_id={"value": identity}, **more)
    except ApiError as error:
        _refuse_unauthorized(error)


def _clear_away(api, identity, waiting, sandbox):
    """Ends the container where it still runs, and takes away its sandbox, which no agent does.

    Not by REMOVE_CONTAINER: the agent aborts over it where the container has no parent
    (a CHECK in MesosContainerizerProcess::remove, 1.5 to 1.11).
    """
    if waiting is not None and not waiting.over():
        with contextlib.suppress(NotAllowed):
            _ask(api, "KILL_CONTAINER", identity)
            waiting.wait(_SECONDS_TO_DIE)
    with contextlib.suppress(RecursionError):  # whoever makes a tree so deep has its user clear it away
        shutil.rmtree(sandbox, ignore_errors=True)  # which follows no link, nor takes one for the sandbox
