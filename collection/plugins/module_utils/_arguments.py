# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Arguments that several modules take; doc_fragments documents them."""

from __future__ import annotations

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_environment import ENVIRONMENT_FILES

DEFAULT_PREFIX = "/opt/mesos-shim"

# doc_fragments/shim.py
PREFIX = {"prefix": {"type": "path", "default": DEFAULT_PREFIX}}
TOOLS = {"helpers_dir": {"type": "path"}, "python": {"type": "path"}}
CLAIM = {"take_over": {"type": "list", "elements": "str", "default": []}, "run": {"type": "dict"}}
KEPT = {"keep": {"type": "int", "default": 3}, "keep_releases": {"type": "int", "default": 2}}

# doc_fragments/agent.py
SERVICE = {"service": {"type": "str"}}
ENDPOINTS = {
    "url": {"type": "str"},
    "url_username": {"type": "str"},
    "url_password": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
}
WELL = {"registered": {"type": "bool", "default": True}, "timeout": {"type": "int", "default": 60}}
CHANGE = {
    "allow_incompatible": {"type": "list", "elements": "str", "default": []},
    "compare": {"type": "bool", "default": False},
    "validator": {"type": "path"},
}
ENVIRONMENT = {
    "environment_files": {"type": "list", "elements": "path", "default": list(ENVIRONMENT_FILES)},
    "take_over_environment": {"type": "bool", "default": False},
}
