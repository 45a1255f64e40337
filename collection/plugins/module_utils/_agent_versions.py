# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Which versions of Mesos the agent of this host is: the one that runs, and the one that its package would start."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_program as agent_program,
    _launch_callers as launch_callers,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_api import AgentApi, Api, ApiError, access

_SECONDS = 5


def installed():
    """[(major, minor)] of the installed program; empty where there is none, or where it says nothing."""
    program = agent_program.find()
    try:
        said = agent_program.said(program, "--version") if program else None
    except OSError:
        said = None
    lines = [launch_callers.version(line.strip()) for line in (said or "").splitlines()[:100]]
    return [version for version in lines if version][:1]


def running(params, service):
    """[(major, minor)] of the agent of this host; empty where none answers, or where it does not say.

    At a given url nobody knows who answers, so it is told no password, neither of the address nor of its own.
    """
    known = access(params)._replace(user=None, password=None)
    if params["url"]:
        parts = urlsplit(params["url"])
        api = Api(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), known, _SECONDS)
    elif service is not None:
        api = AgentApi(None, known, service)
    else:
        return []
    for path in ("/version", "/slave(1)/state.json"):  # 0.21 has no more than its state
        try:
            said = api.get(path)
        except ApiError:
            continue
        version = launch_callers.version(said.get("version")) if isinstance(said, dict) else None
        if version:
            return [version]
    return []


def text(versions):
    """As they travel between modules: ["1.11"]."""
    return [launch_callers.text(version) for version in sorted(set(versions))]


def parsed(texts):
    """The versions in what text() has made."""
    return [version for version in map(launch_callers.version, texts or []) if version]
