# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""A running agent before its restart: what it is afterwards compared with. One that does not say has no baseline."""

from __future__ import annotations

import time

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import ApiError

_SECONDS = 20  # an agent that has just been started may not listen yet, one that recovers says 503
_INTERVAL = 0.5


class MuteError(Exception):
    """An agent that runs and does not answer, in one line."""


def look(api, service, ask):
    """What `ask(api)` returns. Raises MuteError where one process of the unit runs on and does not answer in time.

    Where the unit does not run, or its process ends again and again, there is nothing that a restart could lose: then
    it is what `ask` returns of no agent, None.
    """
    deadline = time.monotonic() + _SECONDS
    first = service.status()["pid"]
    while True:
        try:
            return ask(api)
        except ApiError as error:
            if not first or service.status()["pid"] != first:
                return None
            if error.status in (401, 403) or time.monotonic() > deadline:
                raise MuteError(
                    "the agent of %s runs and does not answer, so nobody could tell afterwards what a restart has "
                    "cost: %s; stop the unit where it need not live" % (service.unit, error)
                ) from error
        time.sleep(_INTERVAL)
