# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Modules that look for problems and fail by all of them at once."""

from __future__ import annotations

from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import FlagError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def look(module, find, name):
    """What `find` returns. Where it cannot look, the module `name` fails by that one problem."""
    try:
        return find(module)
    except (FlagError, ServiceError) as error:
        problem = str(error)
    except OSError as error:
        problem = said(error, name)
    return module.fail_json(msg=problem, problems=[problem])
