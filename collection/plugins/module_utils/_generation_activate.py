# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Forward to what a call says: flags, configuration, release and drop-in together, then the agent."""

from __future__ import annotations

import json
import os

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_environment as agent_environment,
    _agent_identity as agent_identity,
    _agent_service as agent_service,
    _agent_unit as agent_unit,
    _agents_user as agents_user,
    _generations as generations,
    _public_paths as public_paths,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import alive
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import without_passwords
from ansible_collections.mesos.containerizer.plugins.module_utils._file_diff import file_diff
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_change import FlagChange
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_effects import INCOMPATIBLE, new_identity
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import effective
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import (
    AgentBefore,
    GenerationError,
    Host,
    restarted_agent,
    untouched_agent,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import configuration
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


class Activation(Host):
    """Makes flags, configuration and release what the call says."""

    def __init__(self, module):
        super().__init__(module)
        params = self.params
        if not self.params["compare"]:
            self.claim.check(self.params["claimed"])
        # None leaves the one that is there.
        self.config = None if params["config"] is None else self._config_text()
        self.service = self.service_of(params["service"])
        user, gid = self._agents_user()
        self.change = FlagChange(module, gid)
        self.change.refuse()
        self.unit = self.service.unit if self.service else None
        self._refuse_another_agent()
        self.before = self.found(self.unit)
        self.drop_in = agent_service.drop_in_text(self.prefix, user) if self.unit and params["drop_in"] else None
        self.environment = {}
        if params["take_over_environment"]:
            self.environment = agent_environment.takeover(params["environment_files"], self.change.after).texts
        self.actions = self._switched()
        self.closed = self.planner.closed() if params["release"] is not None else []
        self.writable = self.planner.writable() if params["release"] is not None else []
        self.status = self.service.status() if self.service else {}
        # A run that was killed has begun a switch.
        self.resumed = self.store.state["pending"] is not None
        self.restart = bool(self.service) and self._needs_restart()
        begun = self.store.state.get("new_identity", False) if self.resumed else False
        self.new_identity = begun or new_identity(self.change.changed_flags)

    def run(self):
        try:
            return self._run()
        finally:
            if self.store.state["pending"] is None:  # else until it is confirmed or taken back
                self.claim.release()

    def _run(self):
        result = self._result()
        if not result["changed"] or self.check_mode:
            return result
        # Asked before anything is switched.
        before = self.ask_running(self.service) if self.restart and not self.resumed else self.ask(self.service)
        self._refuse_to_lose(before)
        self.claim.take()
        public_paths.hold(self.closed)
        public_paths.protect(self.writable)
        if not (self.actions or self.resumed):
            result.update(self._wake(before))
            result["after"]["generation"] = self.store.state["good"]
            return result
        with self.store.lock():
            self._refuse_another_agent()  # another run may have been the first one meanwhile
            self.claim.check(held=True)
            self._forward(before, result)
            result.update(self._wake(AgentBefore(result["agent_id"], before.containers)))
            self.store.write_state(restarted=True)
            if self.params["confirm"]:
                self.confirm_pending()
                result["pending"] = False
        return result

    def _config_text(self):
        return self.planner.config_text(configuration(self.params["config"], self.params["default_container_info"]))

    def _agents_user(self):
        """(account, gid) of an agent that is not root's, by the configuration that will be there.

        Where it is root's again, the flags must not stay another user's to read: then the gid is ours.
        """
        before = self.planner.read_config()
        try:
            user = agents_user.configured(before if self.config is None else self.config)
            if user is None and _is_anothers(before):
                return None, os.getegid()
            found = self.service.show(agents_user.PROPERTIES) if user and self.service else {}
            return user, agents_user.group(user, found)
        except agents_user.NoAccount as error:
            raise GenerationError(str(error)) from error

    def _refuse_another_agent(self):
        """All generations are of one flags directory and one unit: another one's could not be put back."""
        if self.unit:
            wrong = agent_unit.unmanageable(self.unit, self.service.show(agent_unit.PROPERTIES))
            if wrong:
                raise GenerationError(wrong)
        about = self.store.about(0) or {}
        moved, unit = self.store.another_directory(self.change.path), about.get("service")
        if moved:
            raise GenerationError(moved)
        if unit and self.unit and self.service_of(unit).unit != self.unit:
            raise GenerationError(generations.ANOTHER % ("service", self.unit, "mesos_agent_service", unit))
        self.refuse_other_installation(self.unit, self.change.path)

    # What is to be done.

    def _switched(self):
        params, actions = self.params, []
        if self.unit and (self.before.drop_in != self.drop_in or self.before.former):
            actions.append("unit")
        if params["release"] is not None and self.planner.activate(params["release"]):
            actions.append("release")
        if self.config is not None and self.before.config != self.config:
            actions.append("config")
        if self.change.drift:
            actions.append("flags")
        if self.environment:
            actions.append("environment")
        return actions

    def _waking(self):
        """What a unit lacks that is not enabled, or not started."""
        if not self.service:
            return []
        return [name for name, key in (("enable", "enabled"), ("start", "active")) if not self.status[key]]

    def _needs_restart(self):
        unfinished = self.resumed and not self.store.state.get("restarted")
        read = {"unit", "environment"} & set(self.actions)  # what only a start reads
        return "start" in self._waking() or self.change.restart_required or bool(read) or unfinished

    def _all_actions(self):
        return (
            self.actions
            + (["modes"] if self.closed or self.writable else [])
            + self._waking()
            + (["resume"] if self.resumed else [])
            + (["identity"] if self.new_identity else [])
            + (["restart"] if self.restart else [])
        )

    def _result(self):
        """What is returned where nothing is done."""
        good, release, actions = self.store.state["good"], self.params["release"], self._all_actions()
        before = self.described(good)
        flags = self.change.result()
        return {
            **{name: flags[name] for name in ("changed_flags", "restart_required", "foreign_files")},
            **untouched_agent(),
            "changed": bool(actions),
            "actions": actions,
            "closed_paths": self.closed,
            "writable_paths": self.writable,
            "changed_config": self._changed_config(),
            "before": dict(before, release=before["release"] or self.before.release),
            "after": {"generation": None if actions else good, "release": release or self.before.release},
            "generation": good,
            "pending": self.resumed,
            "diff": self._diff(),
        }

    def _changed_config(self):
        """Keys of the configuration that are not what they should be; none where what is there cannot be read."""
        if "config" not in self.actions or self.before.config is None:
            return []
        try:
            before, after = json.loads(self.before.config), json.loads(self.config)
            return sorted(key for key in {*before, *after} if before.get(key, ...) != after.get(key, ...))
        except (ValueError, AttributeError, TypeError):
            return []

    def _diff(self):
        before = self.before
        release = self.params["release"] or before.release
        config = before.config if self.config is None else self.config
        diff = self.planner.diff(before.release, release, before.config, config)
        diff.append(self.change.diff())
        if self.unit:
            diff.append(file_diff(agent_service.drop_in_path(self.unit), before.drop_in, self.drop_in))
        for path, text in self.environment.items():
            shown = without_passwords([generations.read_text(path), text])
            diff.append(file_diff(path, *shown))
        return [part for part in diff if part["before"] != part["after"]]

    # Doing it.

    def _wake(self, before):
        """Enables the unit, and restarts the agent where that is needed; what a result says of it."""
        if self.service and not self.status["enabled"]:
            self._note_links(self.service.enable())
        return restarted_agent(self.service, before) if self.restart else {}

    def _note_links(self, made):
        """What enabling has made, for the way back to the first generation."""
        about = self.store.about(0)
        if about is not None:
            origin = about["origin"]
            self.store.note(0, origin=dict(origin, links=sorted({*origin.get("links", ()), *made})))

    def _refuse_to_lose(self, before):
        """An agent that comes back as another one ends the containers that it finds."""
        running = sorted(alive(before.containers)) if self.new_identity and not self.resumed else []
        if len(running) > self.params["allowed_losses"]:
            raise GenerationError(
                "the agent comes back under a new id, which ends the %d containers that run (%s): drain the host first "
                "(playbook rollout with mesos_agent_master_url), or allow as many losses by "
                "mesos_agent_gate_allowed_losses; nothing was changed" % (len(running), ", ".join(running[:5]))
            )

    def _forward(self, before, result):
        """Switches the files; the agent is the caller's. What fails is put back."""
        store, pending = self.store, self.store.state["pending"]
        base = self._base()
        number = pending if (pending or 0) > 0 else store.next_number()
        agent_id = before.agent_id
        change = self.params["change"]
        same_agent = not any(change.effect == INCOMPATIBLE for change in self.change.changed_flags)
        if pending is not None:  # what the killed run knew of the agent before its restart
            agent_id, same_agent = store.state.get("agent_id"), same_agent and store.state.get("same_agent", True)
        identity = number if self.new_identity else self.identity(base)
        store.write_state(
            good=base,
            pending=number,
            last=number,
            restarted=False,
            agent_id=agent_id,
            same_agent=same_agent,
            new_identity=self.new_identity,
            change=change,
        )
        try:
            self._switch(before)
            names = sorted(change.name for change in self.change.changed_flags)
            self._record(number, base, changed_flags=names, change=change, identity=identity)
            agent_identity.switch(store, self.identity(base), identity, self.change.agents_directory)
        except Exception as error:
            self._back(base, error)
        place = self.described(base)
        place["release"] = place["release"] or self.before.release
        result.update(generation=number, before=place, after=self.described(number))
        result.update(agent_id=agent_id, same_agent=same_agent, pending=True)

    def _switch(self, before):
        if self.unit:
            self.write_drop_in(self.unit, self.drop_in)
            self._refuse_to_end_executors(before)
        self.switch_shim(self.params["release"], self.before.config, self.config)
        agent_environment.write(self.environment)
        if self.change.drift:
            self.change.make()

    def _refuse_to_end_executors(self, before):
        """Raises GenerationError by what systemd says now, with everybody's drop-ins; nothing was restarted yet."""
        found = self.service.show(agent_unit.PROPERTIES)
        wrong = [agent_unit.deadly(self.unit, found)] if self.restart and alive(before.containers) else []
        if self.drop_in is not None:
            wrong = agent_unit.overruled(self.unit, found)
        if any(wrong):
            raise GenerationError("; ".join(wrong))

    def _back(self, base, error):
        """Puts back what a failed switch has left, and raises GenerationError by why it failed."""
        try:
            self.put_back(base, self.change.path, self.unit)
            if self.unit:  # the agent has not been restarted
                self.put_back_drop_in(base, self.unit)
            self.store.write_state(pending=None)
        except Exception as second:
            message = "%s; the earlier state could not be restored: %s; run the playbook rollback when that is fixed"
            raise GenerationError(message % (self._words(error), self._words(second))) from error
        message = "%s; flags, release and configuration were restored"
        raise GenerationError(message % self._words(error)) from error

    def _words(self, error):
        return said(error, self.prefix) if isinstance(error, OSError) else str(error)

    def _base(self):
        """The generation that a failure goes back to: what lies here now is recorded unless it is already."""
        store = self.store
        self._adopt()
        self.store.note_environment(agent_environment.found(self.environment))
        if store.state["good"] is None and self._ours_already():
            # What the host was before has been lost with its generations: what lies here is no origin.
            self._record(1, None, found=True)
            store.write_state(good=1, last=1)
        elif store.state["good"] is None:
            paths = [self.change.path, self.planner.config_path]
            paths += [agent_service.drop_in_path(self.unit)] if self.unit else []
            self._record(0, None, origin={"missing": _missing_directories(paths), "status": self.status})
            store.write_state(good=0)
        elif store.state["pending"] is None and self.differing(store.state["good"], self.change.path, self.unit):
            # Somebody has changed the host since: that, not what we knew, is what it must be able to go back to.
            number = store.next_number()
            good = store.state["good"]
            self._record(number, good, found=True, identity=self.identity(good))
            store.write_state(good=number, last=number)
        return store.state["good"]

    def _ours_already(self):
        """Whether the agent's unit or its flags are what a rollout has made of them."""
        named = [effective(setting) or "" for setting in self.change.state.flags.get("launcher_dir", [])]
        launcher = os.path.join(self.prefix, "launcher")
        return agent_service.is_ours(self.before.drop_in) or launcher in [os.path.normpath(path) for path in named]

    def _adopt(self):
        """A unit that is managed only now: what it is belongs to the host as it was before the first generation."""
        about = self.store.about(0)
        if about is None or not self.unit or about["service"]:
            return
        where = agent_service.drop_in_path(self.unit)
        text = generations.read_text(where)
        if text is not None:
            generations.write_file(os.path.join(self.store.path, "0", generations.DROP_IN), text, 0o600)
        missing = sorted(set(about["origin"]["missing"]) | set(_missing_directories([where])))
        self.store.note(0, service=self.unit, origin={"missing": missing, "status": self.status})

    def _record(self, number, base, changed_flags=(), **more):
        """Keeps what lies here now as a generation."""
        found = self.found(self.unit)
        about = dict(more, release=found.release, flags_path=self.change.path, service=self.unit, base=base)
        about["changed_flags"] = list(changed_flags)
        about["environment"] = agent_environment.found({**self.store.environment(), **self.environment})
        self.store.record(number, self.change.path, found.config, found.drop_in, about)


def _missing_directories(paths):
    """The directories on the way to `paths` that are not there, which we will have made."""
    found = set()
    for path in paths:
        directory = os.path.dirname(path)
        while directory not in ("", "/") and not os.path.lexists(directory):
            found.add(directory)
            directory = os.path.dirname(directory)
    return sorted(found)


def _is_anothers(config):
    """Whether an agent with that configuration is not root's; its account may have gone."""
    try:
        return agents_user.configured(config) is not None
    except agents_user.NoAccount:
        return True
