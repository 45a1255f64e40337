# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Back to an earlier generation: flags, configuration, release and drop-in together, then the agent."""

from __future__ import annotations

import os

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_service as agent_service,
    _generations as generations,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import (
    AgentBefore,
    GenerationError,
    Host,
    restarted_agent,
    untouched_agent,
)


class Restoration(Host):
    """Takes a host back: from a pending generation to the last good one, else to the one before the good one."""

    def __init__(self, module):
        super().__init__(module)
        params, state = self.params, self.store.state
        self.pending, self.good = state["pending"], state["good"]
        self.left = self._left() if params["generation"] is None and params["once"] else None
        self.target = self._target() if params["generation"] is None else params["generation"]

    def run(self):
        self.claim.check()
        planned = False
        if self.params["plan"]:
            self.claim.take(patient=True)
        try:
            result = self._run()
            planned = self.params["plan"]
            return result
        finally:
            if not planned:
                self.claim.release()

    def _run(self):
        params, result = self.params, self._result()
        if self._of_another_change():
            return dict(result, after=result["before"], generation=self.here())
        if self.target is None or (self.pending is None and params["pending_only"]):
            if params["required"] and not params["pending_only"]:
                raise GenerationError("there is no earlier generation to go back to")
            return result
        about = self._kept()
        # A generation from before the unit was managed: without our drop-in, but the agent must read its flags again.
        path, unit = about["flags_path"], about["service"] or self._unit_now()
        result.update(flags_path=path, service=unit)
        if self.left:
            return result
        differing = self.differing(self.target, path, unit)
        restart = bool(unit) and (bool({"flags", "unit", "environment"} & set(differing)) or self.pending is not None)
        result["actions"] = differing + (["restart"] if restart else [])
        result["changed"] = bool(result["actions"]) or self.pending is not None or self.target != self.good
        if result["changed"]:
            self.refuse_other_installation(unit, path)
        if not result["changed"] or self.check_mode or params["plan"]:
            return result
        service = self.service_of(unit)
        before = self.ask(service)
        if self.pending is not None:  # it was known before the restart of the run that was killed, or has failed
            before = AgentBefore(self.store.state.get("agent_id"), before.containers)
        self.claim.take()
        with self.store.lock():
            self.claim.check(held=True)
            left = self._leaving()
            self._begin(before.agent_id, left)
            self.put_back(self.target, path, unit)
            another = self.switch_identity(left, self.target)
            result.update(_resumed(service, about, restart, before) if service else {})
            # Whose id was asked before is known only where the way there was not finished.
            result["same_agent"] = not another or (self.pending or 0) > 0
            if unit and "unit" in differing:
                self._give_back_drop_in(service, result)
            self._end(about)
        return result

    def _of_another_change(self):
        """Whether only certain changes are to be taken back, and this host is not part of one."""
        return bool(self.params["changes"]) and self._change() not in self.params["changes"]

    def _change(self):
        """Id of the change that the host is in, or was on its way to; None where it has none."""
        here = self.here()
        about = self.store.about(here) if here is not None else None
        if about is None and self.pending is not None:  # the run was killed before it had recorded what it makes
            return self.store.state.get("change")
        return (about or {}).get("change")

    def _left(self):
        """Why a host was taken back already since the last generation that was good, or None."""
        if self.good is None or self.pending is not None:
            return None
        left = [(n, (self.store.about(n) or {}).get("failed")) for n in self.store.numbers() if n > self.good]
        return next(("from generation %d: %s" % (n, why) for n, why in reversed(left) if why), None)

    def _target(self):
        if self.pending is not None or self.left:
            return self.good
        return None if self.good is None else self.store.previous(self.good)

    def _result(self):
        """What is returned where nothing is done."""
        return {
            **untouched_agent(),
            "changed": False,
            "actions": [],
            "before": self.described(self.here()),
            "after": self.described(self.target),
            "generation": self.target,
            "drained": self.store.drained() is not None,
            "already": self.left,
            "change": self._change(),
        }

    def _kept(self):
        """What the generation was made of. Raises GenerationError where it cannot be gone back to."""
        about = self.store.about(self.target)
        if about is None:
            kept = ", ".join(str(n) for n in self.store.numbers()) or "none"
            raise GenerationError("generation %s is not kept here; kept: %s" % (self.target, kept))
        release = about["release"]
        if release and not os.path.isdir(os.path.join(self.planner.releases, release)):
            raise GenerationError("generation %s needs the release %s, which is gone" % (self.target, release))
        return about

    def _unit_now(self):
        return (self.store.about(self.here()) or self.store.about(0) or {}).get("service")

    def _leaving(self):
        """The generation whose agent is here; a run that was killed on the way back has said which."""
        return self.store.state.get("leaving") if self.pending == generations.PENDING_RESTORE else self.here()

    def _begin(self, agent_id, leaving):
        pending = self.pending or generations.PENDING_RESTORE
        state = {"good": self.target, "pending": pending, "restarted": False, "agent_id": agent_id, "leaving": leaving}
        self.store.write_state(**state)

    def _give_back_drop_in(self, service, result):
        """Where ours goes, it keeps the executors until the agent runs again."""
        text = self.store.text(self.target, generations.DROP_IN)
        if result["restarted"] and not agent_service.keeps_executors(text):
            message = "the files are those of generation %s, but its agent is not well: %%s; the drop-in that keeps "
            message += "executors alive stays until it is: see to the agent, then run the playbook rollback again"
            self.refuse_unwell(service, result["containers"], message % self.target)
        self.put_back_drop_in(self.target, result["service"])

    def _end(self, about):
        for number in [n for n in self.store.numbers() if n > self.target]:
            self.store.note(number, failed=self.params["reason"] or "rolled back")
        if about.get("failed"):
            self.store.note(self.target, failed=None)
        self.store.write_state(pending=None, restarted=True)


def _resumed(service, about, restart, before):
    """Leaves the agent as it was when the generation was recorded, else restarts it; what a result says of it."""
    origin = about.get("origin", {}).get("status")
    service.unlink(about.get("origin", {}).get("links", ()))
    if origin and not origin["active"]:
        service.stop()
        return {}
    return restarted_agent(service, before) if restart else {}
