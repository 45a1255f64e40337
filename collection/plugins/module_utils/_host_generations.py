# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Takes a host from one generation to another: flags, configuration, release and drop-in together, then the agent."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_service as agent_service,
    _flag_directory as flag_directory,
    _generations as generations,
    _public_paths as public_paths,
    _shim_timers as shim_timers,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import ApiError, agent, alive
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_refusals import refuse_choices
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_change import FlagChange
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_effects import INCOMPATIBLE
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import choose
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import (
    Installation,
    InstallError,
    configuration,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said

# What the shim keeps below its state directory.
_RECORDS = ("containers", "usage.json", "usage.lock")


# What an uninstallation takes away below the prefix; what else lies there is an operator's own.
_PROGRAMS = ("current", os.path.join("bin", "mesos-shim"), os.path.join("bin", "mesos-containerizer"))
_TREES = ("launcher", "releases", "generations")
_INSTALLED = _PROGRAMS + _TREES


class GenerationError(Exception):
    """Why a host was not taken where it was to go, in one line."""


class Host:
    """This host and its generations, for one call of a module."""

    def __init__(self, module):
        self.module, self.params, self.check_mode = module, module.params, module.check_mode
        prefix = os.path.normpath(self.params["prefix"])
        python = choose(self.params.get("python"))
        self.installation = Installation(
            module.run_command, self.check_mode, prefix, python, self.params["helpers_dir"]
        )
        self.planner = Installation(module.run_command, True, prefix, python, self.params["helpers_dir"])
        self.store = generations.Store(prefix)
        self.prefix = prefix
        config = self.params["config"]
        # The text of the configuration that is wanted, None to leave what is there.
        self.config = (
            None
            if config is None
            else self.planner.config_text(configuration(config, self.params["default_container_info"]))
        )

    # What lies on the host now.

    def _found(self, unit):
        drop_in = generations.read_text(agent_service.drop_in_path(unit)) if unit else None
        return {"config": self.planner.read_config(), "drop_in": drop_in, "release": self.planner.current()}

    def _differs(self, number, path, unit):
        """Which parts of the host are not what a generation says."""
        about, found = self.store.about(number), self._found(unit)
        differing = []
        if found["drop_in"] != self.store.text(number, generations.DROP_IN):
            differing.append("unit")
        if found["config"] != self.store.text(number, generations.CONFIG):
            differing.append("config")
        if about["release"] is not None and about["release"] != found["release"]:
            differing.append("release")
        if not generations.same_tree(path, self.store.file(number, generations.FLAGS)):
            differing.append("flags")
        return differing

    def _described(self, number):
        about = (self.store.about(number) if number is not None else None) or {}
        return {"generation": number, "release": about.get("release")}

    # Forward.

    def activate(self):
        """Makes flags, configuration and release what the call says. Returns the module's result."""
        params, store, unit = self.params, self.store, self.params["service"] or None
        change = FlagChange(self.module)
        refuse_choices(change.after)
        self._refuse_another_directory(change.path)
        found = self._found(unit)
        drop_in = agent_service.drop_in_text(self.prefix) if unit and params["drop_in"] else None
        actions = self._planned(change, found, drop_in)
        closed = self.planner.closed() if params["release"] is not None else []
        service = agent_service.Service(self.module.run_command, unit) if unit else None
        status = service.status() if service else {}
        waking = [name for name, key in (("enable", "enabled"), ("start", "active")) if service and not status[key]]
        pending = store.state["pending"] is not None
        unfinished = pending and not store.state.get("restarted")
        restart = bool(service) and ("start" in waking or change.restart_required or "unit" in actions or unfinished)
        done = (
            actions
            + (["modes"] if closed else [])
            + waking
            + (["resume"] if pending else [])
            + (["restart"] if restart else [])
        )
        result = self._result(change, found, done, params["release"] or found["release"])
        result["closed_paths"] = closed
        result["diff"] = self._diff(change, found, drop_in, unit)
        if not result["changed"] or self.check_mode:
            return result
        public_paths.hold(closed)
        # Asked before anything is switched; who does not answer has nothing that could be compared.
        settings = {n: s[-1] for n, s in change.state.flags.items()}
        agent_id, containers = self._ask(settings, service) if service else (None, {})
        if not (actions or pending):
            if service:
                service.enable(True)
            result.update(self._restart(service, containers, agent_id) if restart else {}, restarted=restart)
            result["after"]["generation"] = store.state["good"]
            return result
        with store.lock():
            self._forward(change, found, drop_in, unit, status, agent_id, result)
            if service:
                service.enable(True)
            if restart:
                result.update(self._restart(service, containers, result["agent_id"]), restarted=True)
            store.write_state(restarted=True)
            if params["confirm"]:
                self._confirm()
                result["pending"] = False
        return result

    def _refuse_another_directory(self, path):
        """All generations are of one flags directory: another one's could not be put back."""
        known = (self.store.about(0) or {}).get("flags_path")
        if known is not None and os.path.normpath(known) != os.path.normpath(path):
            message = (
                "path: %s (variable mesos_agent_flags_dir), but this host's generations are of %s: set it to that, "
                "or take the host back with the playbook uninstall first"
            )
            raise GenerationError(message % (path, known))

    def _result(self, change, found, actions, release):
        """What activate returns where nothing is done."""
        good = self.store.state["good"]
        before = self._described(good)
        flags = {
            k: v for k, v in change.result().items() if k in ("changed_flags", "restart_required", "foreign_files")
        }
        return {
            **flags,
            "changed": bool(actions),
            "actions": actions,
            "before": dict(before, release=before["release"] or found["release"]),
            "after": {"generation": None if actions else good, "release": release},
            "generation": good,
            "pending": self.store.state["pending"] is not None,
            "restarted": False,
            "agent_id": None,
            "same_agent": True,
            "containers": {},
            "lost_containers": [],
        }

    def _forward(self, change, found, drop_in, unit, status, agent_id, result):
        """Switches the files; the agent is the caller's. What fails is put back."""
        store, pending = self.store, self.store.state["pending"]
        base = self._base(change, unit, status)
        number = pending if (pending or 0) > 0 else store.next_number()
        same_agent = not any(c[3] == INCOMPATIBLE for c in change.changed_flags)
        if pending is not None:  # what the killed run knew of the agent before its restart
            agent_id, same_agent = store.state.get("agent_id"), same_agent and store.state.get("same_agent", True)
        store.write_state(
            good=base, pending=number, last=number, restarted=False, agent_id=agent_id, same_agent=same_agent
        )
        try:
            self._switch(change, drop_in, unit, found["config"], self.config)
            self._record(number, change.path, unit, base, change)
        except Exception as error:
            try:
                self._put_back(base, change.path, unit)
                store.write_state(pending=None)
            except Exception as second:
                message = "%s; and it could not be put back: %s; run the playbook rollback once it can"
                raise GenerationError(message % (self._words(error), self._words(second))) from error
            message = "%s; flags, release and configuration were put back"
            raise GenerationError(message % self._words(error)) from error
        before, after = self._described(base), self._described(number)
        before["release"] = before["release"] or found["release"]
        result.update(generation=number, before=before, after=after)
        result.update(agent_id=agent_id, same_agent=same_agent, pending=True)

    def _words(self, error):
        return said(error, self.prefix) if isinstance(error, OSError) else str(error)

    def _planned(self, change, found, drop_in):
        params, actions = self.params, []
        if params["service"] and found["drop_in"] != drop_in:
            actions.append("unit")
        if params["release"] is not None and self.planner.activate(params["release"]):
            actions.append("release")
        if self.config is not None and found["config"] != self.config:
            actions.append("config")
        if change.drift:
            actions.append("flags")
        return actions

    def _diff(self, change, found, drop_in, unit):
        params = self.params
        release = params["release"] or found["release"]
        config = found["config"] if self.config is None else self.config
        diff = self.planner.diff(found["release"], release, found["config"], config)
        diff.append(change.diff())
        if unit:
            where = agent_service.drop_in_path(unit)
            diff.append(
                {
                    "before_header": where,
                    "after_header": where,
                    "before": found["drop_in"] or "",
                    "after": drop_in or "",
                }
            )
        return diff

    def _base(self, change, unit, status):
        """The generation that a failure goes back to: what lies here now is recorded unless it is already."""
        store = self.store
        self._adopt(unit, status)
        if store.state["good"] is None:
            paths = [change.path, self.planner.config_path]
            paths += [agent_service.drop_in_path(unit)] if unit else []
            origin = {"missing": _missing_directories(paths), "status": status}
            self._record(0, change.path, unit, None, None, origin=origin)
            store.write_state(good=0)
        elif store.state["pending"] is None and self._differs(store.state["good"], change.path, unit):
            # Somebody has changed the host since: that, not what we knew, is what it must be able to go back to.
            number = store.next_number()
            self._record(number, change.path, unit, store.state["good"], None, found=True)
            store.write_state(good=number, last=number)
        return store.state["good"]

    def _adopt(self, unit, status):
        """A unit that is managed only now: what it is belongs to the host as it was before the first generation."""
        about = self.store.about(0)
        if about is None or not unit or about["service"]:
            return
        where = agent_service.drop_in_path(unit)
        text = generations.read_text(where)
        if text is not None:
            generations.write_file(os.path.join(self.store.path, "0", generations.DROP_IN), text, 0o600)
        missing = sorted(set(about["origin"]["missing"]) | set(_missing_directories([where])))
        self.store.note(0, service=unit, origin={"missing": missing, "status": status})

    def _record(self, number, path, unit, base, change, **more):
        found = self._found(unit)
        flags = sorted(c[0] for c in change.changed_flags) if change else []
        about = dict(more, release=found["release"], flags_path=path, service=unit, base=base, changed_flags=flags)
        self.store.record(number, path, found["config"], found["drop_in"], about)

    def _switch(self, change, drop_in, unit, old_config, config):
        if unit:
            self._write_drop_in(unit, drop_in)
        self._switch_shim(self.params["release"], old_config, config)
        if change.drift:
            change.make()

    def _switch_shim(self, release, old_config, config):
        """Release and configuration, in the order in which every launch in between is understood."""
        release_first = release is None or old_config is None or self._understands(release, old_config)
        for step in (0, 1):
            if (step == 0) == release_first and release is not None:
                self.installation.activate(release)
            elif (step == 0) != release_first and config is not None and config != self.planner.read_config():
                self.installation.write_config(config)

    def _understands(self, release, config):
        home = os.path.join(self.installation.releases, release)
        try:
            self.planner.validate(home, config)
        except InstallError:
            return False
        return True

    def _write_drop_in(self, unit, text):
        path = agent_service.drop_in_path(unit)
        if generations.read_text(path) == text:
            return
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))  # only if nobody else has a drop-in there
        else:
            public_paths.make(os.path.dirname(path))
            generations.write_file(path, text, 0o644)
        agent_service.Service(self.module.run_command, unit).reload()

    # The agent.

    def _ask(self, settings, service):
        api = agent(self.params, settings, service)
        try:
            return api.state().get("id") or None, api.containers()
        except ApiError:
            return None, {}

    def _restart(self, service, containers, agent_id):
        before = alive(containers)
        service.restart()
        after = alive(before)
        return {"containers": after, "lost_containers": sorted(set(before) - set(after)), "agent_id": agent_id}

    # Good, and back.

    def confirm(self):
        """The pending generation is good."""
        number = self.store.state["pending"]
        result = {"changed": number is not None, "generation": number or self.store.state["good"]}
        if number is None or self.check_mode:
            return result
        if number == generations.PENDING_RESTORE or self.store.about(number) is None:
            raise GenerationError(
                "generation %s was begun and not finished: run the rollout again, or roll back" % number
            )
        with self.store.lock():
            self._confirm()
        return result

    def _confirm(self):
        store = self.store
        store.write_state(good=store.state["pending"], pending=None)
        good = store.state["good"]
        current, previous = self.planner.current(), store.previous(good)
        if current is not None:
            needed = {(store.about(n) or {}).get("release") for n in (good, previous) if n is not None} - {None}
            self.installation.prune(current, self.params["keep_releases"], needed)
        store.prune(self.params["keep"], self.planner.releases)

    def restore(self):
        """Back to the generation before: of a pending one the last good one, else the one before the good one."""
        store, params = self.store, self.params
        pending, good = store.state["pending"], store.state["good"]
        target = params["generation"]
        left = self._left() if target is None and params["once"] else None
        if target is None:
            target = good if pending is not None or left else None if good is None else store.previous(good)
        result = {
            "changed": False,
            "actions": [],
            "before": self._described(pending if (pending or 0) > 0 else good),
            "after": self._described(target),
            "generation": target,
            "drained": store.drained() is not None,
            "already": left,
            "restarted": False,
            "agent_id": None,
            "same_agent": True,
            "containers": {},
            "lost_containers": [],
        }
        if target is None or (pending is None and params["pending_only"]):
            if params["required"] and not params["pending_only"]:
                raise GenerationError("there is no earlier generation to go back to")
            return result
        about = store.about(target)
        if about is None:
            kept = ", ".join(str(n) for n in store.numbers()) or "none"
            raise GenerationError("generation %s is not kept here; kept: %s" % (target, kept))
        if about["release"] and not os.path.isdir(os.path.join(self.planner.releases, about["release"])):
            raise GenerationError("generation %s needs the release %s, which is gone" % (target, about["release"]))
        # A generation from before the unit was managed: without our drop-in, but the agent must read its flags again.
        present = (store.about(pending if (pending or 0) > 0 else good) or store.about(0) or {}).get("service")
        path, unit = about["flags_path"], about["service"] or present
        result["flags_path"], result["service"] = path, unit
        if left:
            return result
        flags = self.store.file(target, generations.FLAGS)
        settings = flag_directory.read(flags, FLAGS).flags if flags else {}
        differing = self._differs(target, path, unit)
        restart = bool(unit) and (bool({"flags", "unit"} & set(differing)) or pending is not None)
        result["actions"] = differing + (["restart"] if restart else [])
        result["changed"] = bool(result["actions"]) or pending is not None or target != good
        if not result["changed"] or self.check_mode:
            return result
        service = agent_service.Service(self.module.run_command, unit) if unit else None
        settings = {name: items[-1] for name, items in settings.items()}
        agent_id, containers = self._ask(settings, service) if service else (None, {})
        if pending is not None:
            agent_id = store.state.get("agent_id")
        with store.lock():
            store.write_state(
                good=target, pending=pending or generations.PENDING_RESTORE, restarted=False, agent_id=agent_id
            )
            self._put_back(target, path, unit)
            if service:
                origin = about.get("origin", {}).get("status")
                if origin:
                    service.enable(origin["enabled"])
                if origin and not origin["active"]:
                    service.stop()
                elif restart:
                    result.update(self._restart(service, containers, agent_id), restarted=True)
            for number in [n for n in store.numbers() if n > target]:
                store.note(number, failed=params["reason"] or "rolled back")
            if about.get("failed"):
                store.note(target, failed=None)
            store.write_state(pending=None, restarted=True)
        return result

    def _left(self):
        """Why a host was taken back already since the last generation that was good, or None."""
        store, good = self.store, self.store.state["good"]
        if good is None or store.state["pending"] is not None:
            return None
        left = [(n, (store.about(n) or {}).get("failed")) for n in store.numbers() if n > good]
        return next(("from generation %d: %s" % (n, why) for n, why in reversed(left) if why), None)

    def _put_back(self, number, path, unit):
        """Files as a generation has them; the agent is the caller's."""
        about = self.store.about(number)
        if unit:
            self._write_drop_in(unit, self.store.text(number, generations.DROP_IN))
        config = self.store.text(number, generations.CONFIG)
        self._switch_shim(about["release"], self.planner.read_config(), config)
        if config is None:
            self.installation.write_config(None)
        flags = self.store.file(number, generations.FLAGS)
        if not generations.same_tree(path, flags):
            generations.put_flags(path, flags)
        elif flag_directory.leftover(path):
            with flag_directory.Replacement(path):
                pass  # it clears what a killed run has left

    # Away.

    def remove(self):
        """The host as it was before the first generation, without the shim."""
        store = self.store
        origin = store.about(0)
        installed = any(os.path.lexists(os.path.join(self.prefix, name)) for name in _INSTALLED)
        timers = shim_timers.ours(self.prefix)
        result = {
            "changed": installed or origin is not None or bool(timers),
            "actions": [],
            "before": self._described(store.state["good"]),
        }
        result["after"] = {"generation": None, "release": None}
        if not result["changed"]:
            return result
        running = self._running_containers()
        if running and not self.params["force"]:
            raise GenerationError(
                "%d containers that the shim started still run (%s): drain the host first, or force it"
                % (len(running), ", ".join(running[:5]))
            )
        result["actions"] = (["timers"] if timers else []) + ["remove"]
        if origin is not None:
            result["actions"] = self._differs(0, origin["flags_path"], origin["service"]) + result["actions"]
        if self.check_mode:
            return result
        shim_timers.remove(self.module.run_command, timers)  # first: what they run goes
        state_dir = self._state_dir()
        if origin is not None:
            path, unit = origin["flags_path"], origin["service"]
            flags_changed = "flags" in result["actions"] or "unit" in result["actions"]
            self._put_back(0, path, unit)
            if unit:
                service, status = agent_service.Service(self.module.run_command, unit), origin["origin"]["status"]
                if service.known():
                    service.enable(status["enabled"])
                    if not status["active"]:
                        service.stop()
                    elif flags_changed:
                        service.restart()
        self.installation.write_config(None)
        missing = origin["origin"]["missing"] if origin is not None else []
        for directory in sorted(missing, key=len, reverse=True) + [os.path.dirname(self.planner.config_path)]:
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        self._remove_installation()
        if not running and state_dir:
            _remove_records(state_dir)
        return result

    def _remove_installation(self):
        """What was installed below the prefix and nothing else: an operator may have given a directory of others."""
        for name in _PROGRAMS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.prefix, name))
        share = os.path.join(self.prefix, "share")
        if os.path.islink(share) and os.readlink(share) == "current/share":
            os.unlink(share)
        for name in _TREES:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(os.path.join(self.prefix, name))
        for name in ("bin", "etc", ""):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(self.prefix, name))

    def _program(self, *words):
        program = os.path.join(self.prefix, "bin", "mesos-shim")
        if not os.access(program, os.X_OK):
            return None
        code, out, unused = self.module.run_command([program] + list(words))
        return out if code == 0 else None

    def _running_containers(self):
        """Ids of the containers that the shim knows and that still run, for all that can be told from here."""
        program = os.path.join(self.prefix, "bin", "mesos-shim")
        if not os.access(program, os.X_OK):
            return []  # nothing that could have started one
        try:
            running = [item["container_id"] for item in json.loads(self._program("ps", "--json"))]
        except (ValueError, KeyError, TypeError):
            return ["%s ps does not tell" % program]
        return running + sorted(self._untold() - set(running))

    def _untold(self):
        """Ids of the containers of which there is a record that gc would not clear."""
        directory = os.path.join(self._state_dir() or "", "containers")
        try:
            names = {name[: -len(".json")] for name in os.listdir(directory) if re.match(r"[^.].*\.json\Z", name)}
        except OSError:
            return set()
        program = os.path.join(self.prefix, "bin", "mesos-shim")
        out = self.module.run_command([program, "gc", "--dry-run"])[1]  # 1 where something stays
        cleared = re.findall(r"^would clear (?:record of (\S+)|(\S+)\.json, which is no record)", out, re.M)
        return names - {one or other for one, other in cleared}

    def _state_dir(self):
        try:
            given = json.loads(self.planner.read_config() or "{}").get("state_dir")
        except ValueError:
            given = None
        return given or ("/run/mesos-shim" if os.geteuid() == 0 else None)


def _remove_records(state_dir):
    """The records of ended containers; a directory that holds anything else stays."""
    for name in _RECORDS:
        path = os.path.join(state_dir, name)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(state_dir)


def _missing_directories(paths):
    """The directories on the way to `paths` that are not there, which we will have made."""
    found = set()
    for path in paths:
        directory = os.path.dirname(path)
        while directory not in ("", "/") and not os.path.lexists(directory):
            found.add(directory)
            directory = os.path.dirname(directory)
    return sorted(found)
