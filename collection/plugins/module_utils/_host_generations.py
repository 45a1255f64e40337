# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""This host between generations: what lies on it, what is kept of it, and how it is switched.

The jobs are in _generation_activate, _generation_restore, _shim_uninstall and the module agent_generation_confirm.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_baseline as agent_baseline,
    _agent_environment as agent_environment,
    _agent_health as agent_health,
    _agent_identity as agent_identity,
    _agent_service as agent_service,
    _flag_directory as flag_directory,
    _generations as generations,
    _other_installation as other_installation,
    _public_paths as public_paths,
    _run_claim as run_claim,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import ApiError, agent, alive
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import NoPython, choose
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import Installation, InstallError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


class GenerationError(Exception):
    """Why a host was not taken where it was to go, in one line."""


class Found(NamedTuple):
    """What of a generation lies on the host besides its flags; None for what is not there."""

    config: str | None
    drop_in: str | None
    release: str | None
    former: str | None = None  # the drop-in's path where an earlier release has put it


class AgentBefore(NamedTuple):
    """What the agent said of itself before it was touched."""

    agent_id: str | None
    containers: dict


class Host:
    """This host and its generations, for one job of one call of a module; a job has `run`, which returns its result."""

    def __init__(self, module):
        self.module, self.params, self.check_mode = module, module.params, module.check_mode
        self.prefix = os.path.normpath(self.params["prefix"])
        python, helpers = choose(self.params["python"]), self.params["helpers_dir"]
        self.installation = Installation(module.run_command, self.check_mode, self.prefix, python, helpers)
        unit = self.params.get("service")
        self.planner = Installation(module.run_command, True, self.prefix, python, helpers, unit=unit)
        self.store = generations.Store(self.prefix)
        self.claim = run_claim.Claim(self.store, self.params, self.check_mode)

    # What lies on the host now.

    def found(self, unit):
        """Configuration, drop-in of the unit and release."""
        former = agent_service.former_drop_in(unit) if unit else None
        drop_in = generations.read_text(agent_service.drop_in_path(unit)) if unit else None
        if drop_in is None and former:
            drop_in = generations.read_text(former)
        return Found(self.planner.read_config(), drop_in, self.planner.current(), former)

    def differing(self, number, path, unit):
        """Which parts of the host are not what a generation says."""
        about, found = self.store.about(number), self.found(unit)
        differing = []
        if found.drop_in != self.store.text(number, generations.DROP_IN) or found.former:
            differing.append("unit")
        if found.config != self.store.text(number, generations.CONFIG):
            differing.append("config")
        if about["release"] is not None and about["release"] != found.release:
            differing.append("release")
        environment = about.get("environment") or {}
        if environment != agent_environment.found(environment):
            differing.append("environment")
        if not generations.same_tree(path, self.store.file(number, generations.FLAGS)):
            differing.append("flags")
        return differing

    def described(self, number):
        """A generation as results name it."""
        about = (self.store.about(number) if number is not None else None) or {}
        return {"generation": number, "release": about.get("release")}

    def here(self):
        """The generation that the host is in, or was on its way to."""
        pending, good = self.store.state["pending"], self.store.state["good"]
        return pending if (pending or 0) > 0 else good

    def identity(self, number):
        """The generation that brought the agent's identity of this one; 0 for what the host had before."""
        return ((self.store.about(number) if number is not None else None) or {}).get("identity", 0)

    def switch_identity(self, here, there):
        """Between two generations: which agent this host's comes back as. Whether that is another one."""
        agent_identity.switch(self.store, self.identity(here), self.identity(there), None)
        return self.identity(here) != self.identity(there)

    def refuse_other_installation(self, unit, path):
        """Raises GenerationError where the unit or the flags are another installation's."""
        wrong = other_installation.refusal(self.prefix, unit, path)
        if wrong:
            raise GenerationError(wrong)

    # Switching.

    def put_back(self, number, path, unit):
        """Files as a generation has them; the agent is the caller's, and after it the drop-in (put_back_drop_in)."""
        about = self.store.about(number)
        if unit and agent_service.keeps_executors(self.store.text(number, generations.DROP_IN)):
            self.put_back_drop_in(number, unit)
        config = self.store.text(number, generations.CONFIG)
        self.switch_shim(about["release"], self.planner.read_config(), config)
        if config is None:
            self.installation.write_config(None)
        agent_environment.write(about.get("environment") or {})
        flags = self.store.file(number, generations.FLAGS)
        if not generations.same_tree(path, flags):
            generations.put_flags(path, flags)
        elif flag_directory.leftover(path):
            with flag_directory.Replacement(path):
                pass  # it clears what a killed run has left

    def put_back_drop_in(self, number, unit):
        """The drop-in of a generation. systemd stops a unit by what it has loaded then, so one that lets it end the
        executors, or none, comes back only when the agent has been restarted."""
        self.write_drop_in(unit, self.store.text(number, generations.DROP_IN))

    def refuse_unwell(self, service, containers, message):
        """Waits until the agent of a unit is well after a restart; raises GenerationError by `message` if it is not."""
        wanted = dict(self.params, ignore_flags=[], agent_id=None, master=None, containers=containers)
        seen = agent_health.wait(wanted, {}, agent(self.params, service), service)
        if seen.problems:
            raise GenerationError(message % "; ".join(seen.problems))

    def switch_shim(self, release, old_config, config):
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

    def write_drop_in(self, unit, text):
        """Gives the unit this drop-in, None for none."""
        path, former = agent_service.drop_in_path(unit), agent_service.former_drop_in(unit)
        if generations.read_text(path) == text and not former:
            return
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.dirname(path))  # only if nobody else has a drop-in there
        else:
            public_paths.make(os.path.dirname(path))
            generations.write_file(path, text, 0o644)
        if former:
            os.unlink(former)
        agent_service.Service(self.module.run_command, unit).reload()

    def confirm_pending(self):
        """The pending generation is good; old ones go, and the releases that only they needed."""
        store = self.store
        store.write_state(good=store.state["pending"], pending=None)
        good = store.state["good"]
        current, previous = self.planner.current(), store.previous(good)
        if current is not None:
            needed = {(store.about(n) or {}).get("release") for n in (good, previous) if n is not None} - {None}
            self.installation.prune(current, self.params["keep_releases"], needed)
        store.prune(self.params["keep"], self.planner.releases)

    # The agent.

    def service_of(self, unit):
        """The unit by its own name, where there is one."""
        return agent_service.Service(self.module.run_command, unit).resolved() if unit else None

    def ask(self, service):
        """The agent before a switch; one that does not answer or is not managed has nothing to compare with."""
        if service is None:
            return AgentBefore(None, {})
        try:
            return _said(agent(self.params, service))
        except ApiError:
            return AgentBefore(None, {})

    def ask_running(self, service):
        """The same of an agent that is to be restarted. Raises GenerationError where one that runs does not answer."""
        if service is None:
            return AgentBefore(None, {})
        try:
            return agent_baseline.look(agent(self.params, service), service, _said) or AgentBefore(None, {})
        except agent_baseline.MuteError as error:
            raise GenerationError("%s; nothing was changed" % error) from error


def _said(api):
    return AgentBefore(api.state().get("id") or None, api.containers())


def untouched_agent():
    """What a result says of an agent that was not restarted."""
    return {"restarted": False, "agent_id": None, "same_agent": True, "containers": {}, "lost_containers": []}


def restarted_agent(service, before):
    """Restarts the agent; what a result says of it."""
    containers = alive(before.containers)
    service.restart()
    after = alive(containers)
    lost = sorted(set(containers) - set(after))
    return {"restarted": True, "agent_id": before.agent_id, "containers": after, "lost_containers": lost}


def answer(module, job):
    """Ends the module by what the job returns, or by why it cannot be done."""
    try:
        job = job(module)
        result = job.run()
    except run_claim.ClaimError as error:
        run_claim.refuse(module, error)
    except (FlagError, GenerationError, InstallError, NoPython, ServiceError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, module.params["prefix"], "mesos_shim_prefix"))
    module.exit_json(**result, took_over=job.claim.took_over)
