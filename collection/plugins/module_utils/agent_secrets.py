# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What nobody may read in a result, a diff, a log or an error."""

from __future__ import annotations

import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils.flag_table import SECRET_FLAGS

MASK = "********"

# zk://user:password@host and its like. Greedy: a password may hold "@" or "/", and masking too much harms nobody.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S*@")


def masked(name, value):
    """The value of a flag as it may be shown; maps and lists are masked inside."""
    if value is None:
        return None
    if name in SECRET_FLAGS:
        return MASK
    if isinstance(value, dict):
        return {key: masked(None, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(None, item) for item in value]
    if isinstance(value, str):
        return _PASSWORD.sub(r"\1" + MASK + "@", value)
    return value


class SecretiveModule(AnsibleModule):
    """A module whose parameter `flags` may hold secrets: they go neither to the host's log nor into the result.

    no_log on the parameter would be no help: Ansible would then mask every value, "true" and "1" among them,
    wherever it occurs.
    """

    def _log_invocation(self):
        """Nothing for syslog or the journal.

        AnsibleModule(no_log=True) would not keep it out: the task's own no_log, false unless somebody said so, takes
        its place before anything is logged.
        """

    def _shown_parameters(self):
        shown = dict(self.params)
        if isinstance(shown.get("flags"), dict):
            shown["flags"] = {name: masked(name.lstrip("?"), value) for name, value in shown["flags"].items()}
        elif shown.get("flags") is not None:
            shown["flags"] = MASK
        return {"module_args": shown}

    def exit_json(self, **result):
        result.setdefault("invocation", self._shown_parameters())
        super().exit_json(**result)

    def fail_json(self, msg, **result):
        result.setdefault("invocation", self._shown_parameters())
        super().fail_json(msg, **result)
