#!/usr/bin/python
# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)

from __future__ import annotations

DOCUMENTATION = r"""
module: shim_timers
short_description: Keep the timers that clear away and report
version_added: 0.2.0
author: The mesos-shim authors (@mesos-shim)
description:
  - C(mesos-shim-gc.timer) runs C(mesos-shim gc), which clears away what ended containers left behind.
  - C(mesos-shim-metrics.timer) writes C(mesos-shim.prom) every 15 seconds for node_exporter's textfile collector.
  - For another prefix than the default one, names have the prefix as their instance, for example
    C(mesos-shim-gc@srv-shim.timer) and C(mesos-shim@srv-shim.prom), so that installations of one host have their own.
  - A host that systemd does not run, and a user who is not root, have no timers; O(metrics_dir) is refused there.
extends_documentation_fragment:
  - mesos.containerizer.attributes
  - mesos.containerizer.attributes.changes
  - mesos.containerizer.shim
attributes:
  diff_mode:
    description: Shows each unit before and after.
options:
  gc:
    description: Whether the host clears away by a timer.
    type: bool
    default: true
  metrics_dir:
    description:
      - Directory that node_exporter's textfile collector reads. Without one there is no timer for it.
      - It must exist, belong to root, and be writable by root alone.
    type: path
seealso:
  - module: mesos.containerizer.shim_release
"""

EXAMPLES = r"""
- name: Clear away by a timer, and report to Prometheus
  mesos.containerizer.shim_timers:
    metrics_dir: /var/lib/prometheus/node-exporter
"""

RETURN = r"""
units:
  description: Files of units that were written or removed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [mesos-shim-gc.service, mesos-shim-gc.timer]
started:
  description: Timers that were enabled and started, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [mesos-shim-gc.timer]
supported:
  description: Whether this host and this user can have timers.
  returned: success
  type: bool
  sample: true
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils import _shim_timers as shim_timers
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import PREFIX
from ansible_collections.mesos.containerizer.plugins.module_utils._file_diff import file_diff
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_timers import TimerError
from ansible_collections.mesos.containerizer.plugins.module_utils._system_errors import said


def run(module):
    params = module.params
    found = shim_timers.requested(
        module.run_command, os.path.normpath(params["prefix"]), params["gc"], params["metrics_dir"]
    )
    if found is None:
        return {"changed": False, "units": [], "started": [], "supported": False}
    changes, starting = found
    if not module.check_mode:
        shim_timers.apply(module.run_command, {name: change.after for name, change in changes.items()}, starting)
    return {
        "changed": bool(changes or starting),
        "units": sorted(changes),
        "started": starting,
        "supported": True,
        "diff": [
            file_diff(path, before, after)
            for path, (before, after) in sorted(
                (os.path.join(shim_timers.UNITS, name), change) for name, change in changes.items()
            )
        ],
    }


def main():
    module = AnsibleModule(
        argument_spec={
            **PREFIX,
            "gc": {"type": "bool", "default": True},
            "metrics_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except (ServiceError, TimerError) as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=said(error, shim_timers.UNITS))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
