# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Whether an agent is well, and waiting until it is."""

from __future__ import annotations

import time
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils import _agent_journal as agent_journal
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import (
    Api,
    ApiError,
    MasterError,
    access,
    alive,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_effective import differences

_INTERVAL = 0.5  # an agent answers /metrics/snapshot twice a second and no more often
_RESTARTS = 2  # by systemd while we look: the agent ends as soon as it has started


class Seen(NamedTuple):
    """What an agent says of itself, everything that is wrong with it, and whether waiting cannot help."""

    facts: dict
    problems: list
    final: bool = False


def look(params, settings, api, service, restarts=None):
    """The agent as it is now. restarts: how often systemd had started it again when the wait began."""
    facts, problems = {}, []
    if service is not None:
        status = service.status()
        ended = _ended(service, status, status["restarts"] if restarts is None else restarts)
        if ended is not None:
            return ended
        if not status["active"]:
            return Seen(facts, ["the unit %s is not running" % service.unit])
        if status["starting"]:
            return Seen(facts, ["the unit %s is still starting" % service.unit])
    try:
        api.health()
        problems += differences(settings, api.flags(), params["ignore_flags"])
        state = api.state()
        facts["agent_id"], facts["version"] = state.get("id") or None, state.get("version")
        if params["registered"] and not is_registered(params, api, facts["agent_id"]):
            problems.append("the agent is not registered with a master")
        elif params["agent_id"] and facts["agent_id"] != params["agent_id"]:
            problems.append("the agent came back as %s instead of %s" % (facts["agent_id"], params["agent_id"]))
            return Seen(facts, problems, final=True)
        running = api.containers()
        facts["containers"], facts["running"] = len(running), running
        gone = sorted(set(alive(params["containers"])) - set(running))
        if gone:
            problems.append("the agent has not recovered its containers %s" % ", ".join(gone))
    except MasterError as error:
        problems.append(str(error))
    except ApiError as error:
        problems.append("the agent does not answer: %s" % error)
    return Seen(facts, problems)


def _ended(service, status, before):
    """An agent that has ended by itself, by its own words; None where it has not."""
    again = status["restarts"] - before
    if not status["ended"] and again < _RESTARTS:
        return None
    words = agent_journal.said_at_the_end(
        service.run_command, service.unit, status["invocation"] if status["ended"] else ""
    )
    often = " again and again, %d times while it was waited for" % again if again >= _RESTARTS else ""
    said = "the unit %s has ended%s: %s" % (
        service.unit,
        often,
        words or "its journal does not say why: journalctl -u %s" % service.unit,
    )
    return Seen({}, [said], final=again >= _RESTARTS or agent_journal.of_flags(words))


def is_registered(params, api, agent_id):
    """By the master's word where it is known, else by the agent's."""
    if not agent_id:
        return False
    if not params["master"]:
        return api.registered()
    master = Api(params["master"], access(params))
    try:
        known = master.get("/master/slaves").get("slaves") or []
    except ApiError as error:
        raise MasterError(error) from error
    return any(agent.get("id") == agent_id and agent.get("active") for agent in known)


def wait(params, settings, api, service):
    """Looks again until nothing is wrong, waiting cannot help, or time is up."""
    deadline = time.monotonic() + params["timeout"]
    restarts = service.status()["restarts"] if service is not None else None
    while True:
        seen = look(params, settings, api, service, restarts)
        if not seen.problems or seen.final or time.monotonic() >= deadline:
            return seen
        time.sleep(_INTERVAL)
