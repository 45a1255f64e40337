# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run has changed and why it failed, without a line for each host of which there is nothing to say."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
type: stdout
short_description: Output for a fleet
version_added: 0.3.0
author: The mesos-shim authors (@mesos-shim)
description:
  - As P(ansible.builtin.default#callback), without the hosts on which a task has changed nothing. Hosts that fail a
    task for the same reason share a line, and so do hosts with the same numbers in the recap.
  - With C(-v) it is P(ansible.builtin.default#callback).
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in the configuration, C(stdout_callback = mesos.containerizer.fleet)
"""

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

_NUMBERS = ("ok", "changed", "unreachable", "failures", "skipped", "rescued", "ignored")


def _answer(result):
    """What a task has returned; before 2.19 that is private."""
    return result.result if hasattr(result, "result") else result._result


def _task(result):
    return result.task if hasattr(result, "task") else result._task


class CallbackModule(Default):
    """The callback mesos.containerizer.fleet."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "mesos.containerizer.fleet"

    def __init__(self):
        super().__init__()
        self._failures = {}  # of the task that runs: {reason: (its first result, hosts)}

    def set_options(self, *args, **kwargs):
        super().set_options(*args, **kwargs)
        if not self._display.verbosity:
            # A task is named when there is something to say of it.
            self.set_option("display_skipped_hosts", False)
            self.set_option("display_ok_hosts", False)

    def v2_runner_on_ok(self, result):
        said = self._display.verbosity or _answer(result).get("_ansible_verbose_always")
        if said:
            self.set_option("display_ok_hosts", True)
        if said or _answer(result).get("changed"):
            super().v2_runner_on_ok(result)
        if not self._display.verbosity:
            self.set_option("display_ok_hosts", False)

    def v2_playbook_on_include(self, included_file):
        if self._display.verbosity:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        answer = _answer(result)
        if self._display.verbosity or ignore_errors or "results" in answer or "msg" not in answer:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        held = self._failures.setdefault(str(answer["msg"]), (result, []))
        held[1].append(self.host_label(result))

    def _say_failures(self):
        failures, self._failures = self._failures, {}
        for msg, (result, hosts) in failures.items():
            if self._last_task_banner != _task(result)._uuid:
                self._print_task_banner(_task(result))
            said = self._dump_results({"msg": msg}, indent=None)
            stderr = self.get_option("display_failed_stderr")
            line = "fatal: [%s]: FAILED! => %s" % (", ".join(sorted(hosts)), said)
            self._display.display(line, color=C.COLOR_ERROR, stderr=stderr)

    def _task_start(self, task, prefix=None):
        self._say_failures()
        super()._task_start(task, prefix)

    def v2_playbook_on_play_start(self, play):
        self._say_failures()
        super().v2_playbook_on_play_start(play)

    def v2_playbook_on_stats(self, stats):
        self._say_failures()
        if self._display.verbosity:
            super().v2_playbook_on_stats(stats)
            return
        self._display.banner("PLAY RECAP")
        groups = {}
        for host in sorted(stats.processed):
            numbers = stats.summarize(host)
            groups.setdefault(tuple(numbers[name] for name in _NUMBERS), []).append(host)
        for numbers, hosts in groups.items():
            counted = zip(("failed" if name == "failures" else name for name in _NUMBERS), numbers)
            self._display.display("%s : %s" % (", ".join(hosts), "    ".join("%s=%d" % pair for pair in counted)))
