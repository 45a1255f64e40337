# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What nobody may read in a result, a diff, a log or an error."""

from __future__ import annotations

import json
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_table import FLAGS, SECRET_FLAGS

MASK = "********"

# zk://user:password@host and its like. Greedy: a password may hold "@", "/" or a space, and masking too much harms
# nobody.
_PASSWORD = re.compile(r"(://[^:/]*:).*@", re.DOTALL)


def masked(name, value):
    """The value of a flag as it may be shown; maps and lists are masked inside.

    Of a flag that the table does not have, a misspelt one for example, nobody knows whether it is a secret.
    """
    if value is None or (isinstance(value, bool) and name not in SECRET_FLAGS):
        return value
    if name not in FLAGS or name in SECRET_FLAGS:
        return MASK
    if FLAGS[name].kind in _JSON_KINDS:
        value = _without_parameters_in_text(value) if isinstance(value, str) else _without_parameters(value)
    return without_passwords(value)


_JSON_KINDS = ("json", "container_info")

# Masking too much harms nobody here either. A lone "key" is the name of a parameter, see _without_parameters.
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|private|auth|[a-z0-9_.-]key$", re.IGNORECASE)


def _without_parameters(value):
    """JSON with what has a secret's name masked: {name: …}, and Mesos' {key: name, value: …}."""
    if isinstance(value, (list, tuple)):
        return [_without_parameters(item) for item in value]
    if not isinstance(value, dict):
        return value
    secret = {name for name in value if _SECRET_NAME.search(str(name))}
    if "value" in value and _SECRET_NAME.search(str(value.get("key"))):
        secret.add("value")
    return {name: MASK if name in secret else _without_parameters(item) for name, item in value.items()}


def _without_parameters_in_text(text):
    if not text.lstrip().startswith(("{", "[")):  # a path, or protobuf's text form, as the agent prints it
        named = any(_SECRET_NAME.search(word) for word in re.findall(r"[\w.-]+", text))
        return MASK if named and not text.startswith(("/", "file://")) else text
    try:
        shown = _without_parameters(json.loads(text))
    except (ValueError, RecursionError):  # nobody knows what is in it
        return MASK
    return json.dumps(shown, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def without_passwords(value):
    """Text, or maps and lists of it, with the passwords inside addresses masked."""
    if isinstance(value, dict):
        return {without_passwords(key): without_passwords(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_passwords(item) for item in value]
    return _PASSWORD.sub(r"\1" + MASK + "@", value) if isinstance(value, str) else value


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
        shown = {name: without_passwords(value) for name, value in self.params.items() if name != "flags"}
        flags = self.params.get("flags")
        if isinstance(flags, dict):
            shown["flags"] = {without_passwords(name): masked(name, value) for name, value in flags.items()}
        elif flags is not None:
            shown["flags"] = MASK
        return {"module_args": shown}

    def exit_json(self, **result):
        result.setdefault("invocation", self._shown_parameters())
        super().exit_json(**result)

    def fail_json(self, msg, **result):
        result.setdefault("invocation", self._shown_parameters())
        super().fail_json(msg, **result)
