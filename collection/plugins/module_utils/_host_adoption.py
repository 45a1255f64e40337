# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What beside the flags directory the variables of the roles can say of a host as it is, and what they cannot.

Of what is not theirs only names are said: values may be secrets.
"""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_environment as agent_environment,
    _agent_process as agent_process,
    _agent_service as agent_service,
    _agent_unit as agent_unit,
    _agents_user as agents_user,
    _generations as generations,
    _shim_timers as shim_timers,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import masked
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import DEFAULT_PREFIX
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS
from ansible_collections.mesos.containerizer.plugins.module_utils._host_python import choose
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_configuration import config_path
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import Installation, configuration

_SEEN = ("ExecStart", "Environment", "EnvironmentFiles")
_DEFAULT = "mesos_agent_default_container_info"
_UNMANAGED = "%s; mesos_agent_service is left empty, so that no rollout touches the unit"


class Found(NamedTuple):
    """Variables and their values; what of them is left open, as flag_adoption has it; what else there is to say."""

    variables: dict
    open: list
    notes: list


def of_environment(module, flags):
    """What the init wrapper reads of files of variables."""
    notes = []
    for path in module.params["environment_files"]:
        for variable, value in agent_environment.assignments(path):
            flag = agent_environment.WRAPPER_VARIABLES.get(variable)
            if not value or not (flag or variable.startswith("MESOS_")):
                continue
            if flag in flags:
                what = "and the flags directory has %s: the agent does not start with both" % flag
            elif flag:
                what = "of which the init wrapper makes the flag %s; it stays there" % flag
            else:
                what = "which no variable of the roles can say; it stays there"
            notes.append("%s sets %s, %s" % (path, variable, what))
    return Found({}, [], notes)


def of_unit(module, flags):
    """The agent's unit, by what systemd has made of it and all its drop-ins."""
    service = _service(module)
    if service is None:
        return Found({}, [], ["this host has no unit of an agent; mesos_agent_service is left empty"])
    found = service.show(agent_unit.PROPERTIES + _SEEN)
    own = _own(found, module.params["environment_files"])
    notes = [
        "the unit %s %s, which no variable of the roles can say; it stays so" % (service.unit, what) for what in own
    ]
    status, wrong = service.status(), agent_unit.unmanageable(service.unit, found)
    notes += [
        "the running agent has the flag %s from elsewhere" % name
        for name in _from_other_sources(status["pid"], flags, module, own)
    ]
    lacks = [word for word, key in (("enabled", "enabled"), ("running", "active")) if not status[key]]
    if wrong or lacks:
        why = wrong or "the unit %s is not %s" % (service.unit, " and not ".join(lacks))
        return Found({}, [], notes + [_UNMANAGED % why])
    configured = _agents_user(module)
    variables = {"mesos_agent_service": re.sub(r"\.service$", "", service.unit)}
    path = agent_service.drop_in_path(service.unit)
    text = generations.read_text(path)
    if not agent_service.is_ours(text):
        variables["mesos_agent_drop_in"] = False
        notes += filter(None, [agent_unit.deadly(service.unit, found)])
    elif text != agent_service.drop_in_text(module.params["prefix"], configured):
        notes.append("%s is not as this release writes it, so a rollout writes it anew and restarts the agent" % path)
    return Found(variables, [], notes)


def _agents_user(module):
    """The account of the agent's user by the configuration that is installed; None for root."""
    try:
        text = generations.read_text(config_path(module.params["prefix"]))
        return agents_user.configured(text)
    except agents_user.NoAccount:
        return None  # preflight says it


def _service(module):
    """The agent's unit; None where this host has none, or no systemd."""
    named = module.params["service"]
    for name in [named] if named else agent_service.UNITS:
        service = agent_service.Service(module.run_command, name)
        try:
            if service.known():
                return service.resolved()
        except agent_service.ServiceError:
            if named:
                raise
    return None


def _own(found, files):
    """What a unit gives its agent by itself."""
    words = agent_unit.words(found.get("ExecStart"))
    named = [word.partition("=")[0] for word in words if word.startswith("--")]
    own = ["gives its program the argument %s" % word for word in dict.fromkeys(named)]
    names = [word.partition("=")[0] for word in agent_unit.words(found.get("Environment"))]
    own += ["sets the variable %s" % name for name in dict.fromkeys(names) if name.startswith("MESOS_")]
    read = re.findall(r"(/\S+) \(ignore_errors=", found.get("EnvironmentFiles", ""))
    return own + ["reads variables from %s" % path for path in dict.fromkeys(read) if path not in files]


def _from_other_sources(pid, flags, module, own):
    """Flags of the running agent that nothing gives it which was named."""
    if not pid:
        return []
    variables = [
        name for path in module.params["environment_files"] for name, value in agent_environment.assignments(path)
    ]
    named = {agent_environment.WRAPPER_VARIABLES.get(name) for name in variables}
    named |= {name[6:].lower() for name in variables if name.startswith("MESOS_")}
    named |= {re.sub("^(--(no-)?|mesos_)", "", line.rpartition(" ")[2].lower()) for line in own}
    has = agent_process.started_with(agent_process.find(pid))[0]
    return sorted(set(has) & set(FLAGS) - set(flags) - named)


def of_shim(module, _flags):
    """The shim, where one is installed."""
    params = module.params
    named = {"mesos_shim_python": params["python"], "mesos_shim_helpers_dir": params["helpers_dir"]}
    variables = {name: value for name, value in named.items() if value}
    if params["prefix"] != DEFAULT_PREFIX:
        variables["mesos_shim_prefix"] = params["prefix"]
    planner = Installation(module.run_command, True, params["prefix"], choose(params["python"]), params["helpers_dir"])
    if planner.current() is None:
        return Found(variables, [], [])
    variables.update(_timers(params["prefix"]))
    text = planner.read_config()
    config = _parsed(text)
    if config is None:
        return Found(
            variables,
            [],
            [] if text is None else ["%s is no configuration, so a rollout replaces it" % planner.config_path],
        )
    default, left_open = config.pop("default_container_info", None), []
    # Of the helper that is found by itself nothing need be said.
    without_helper = {key: value for key, value in config.items() if key != "packaged_helper"}
    config = without_helper if planner.config_text(without_helper) == planner.config_text(config) else config
    variables.update({"mesos_shim_config": config} if config else {})
    if default and masked("default_container_info", default) == default:
        variables[_DEFAULT] = default
    elif default:
        left_open = [
            {"variable": _DEFAULT, "key": None, "why": "it holds a secret; put it here, encrypted by ansible-vault"}
        ]
    same = planner.config_text(configuration(config, default)) == text
    return Found(
        variables, left_open, [] if same else ["%s is written in another form by a rollout" % planner.config_path]
    )


def _parsed(text):
    """The configuration of a text, None where it is none."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _timers(prefix):
    """The variables of the timers that are there."""
    found = shim_timers.ours(prefix)
    variables = {} if any(name.startswith("mesos-shim-gc") for name in found) else {"mesos_shim_gc_timer": False}
    for name in found:
        if name.startswith("mesos-shim-metrics") and name.endswith(".service"):
            text = generations.read_text(os.path.join(shim_timers.UNITS, name)) or ""
            written = re.search(r"^WorkingDirectory=(.*)$", text, re.M)
            variables.update({"mesos_shim_metrics_dir": written.group(1)} if written else {})
    return variables
