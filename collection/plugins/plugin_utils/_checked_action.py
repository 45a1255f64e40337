# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of the modules: nothing of a host's answer goes on but what its module returns."""

from __future__ import annotations

import re

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.mesos.containerizer.plugins.plugin_utils import (
    _claims as claims,
    _host_answers as host_answers,
)

UNREACHABLE = "unreachable: "
_HUNG_UP = re.compile(r"(Shared c|C)onnection to .* closed")


class CheckedAction(ActionBase):
    """Runs the task's module, and takes its answer only where it is one of that module's."""

    _supports_check_mode = True
    _supports_async = False  # what is asked later does not come by here

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        try:
            result.update(self.answer(task_vars))
        except AnsibleConnectionFailure as error:
            # Unless the play records it as a failure of the task: an unreachable host goes to no rescue.
            if not task_vars.get("__mesos_agent_unreachable_fails"):
                raise
            result.update(failed=True, msg=wrap_var(UNREACHABLE + " ".join(str(error).split())))
        return result

    def answer(self, task_vars):
        """What the task returns."""
        return self.ask(self._task.args, task_vars)

    def ask(self, args, task_vars, needed=False):
        """The module's answer. Raises AnsibleActionFail where it is none; `needed`: see host_answers.wrong."""
        module = self._module()
        if module in claims.CLAIMING:
            run = claims.this_run(args.get("change"), task_vars["inventory_hostname"])
            args = {"change": run["id"], **args} if module == "agent_generation" else args
            answer = self._ask_claimed(module, {**args, "run": run}, task_vars, needed)
        else:
            answer = self._believed(module, args, task_vars, needed)
        if answer.get("failed"):
            answer["msg"] = wrap_var("; ".join(filter(None, (answer.get("msg"), last_words(answer)))))
        return answer

    def _ask_claimed(self, module, args, task_vars, needed):
        """The answer of a module that respects another run's claim; the claim of one that has ended is no obstacle."""
        answer = self._believed(module, args, task_vars, needed)
        claim = answer.pop("claimed_by", None)
        lives = claims.living(claim) if claim else None
        if claim and lives is False:
            args = {**args, "run": {**args["run"], "ended": claim}}
            answer = self._believed(module, args, task_vars, needed)
            claim = answer.pop("claimed_by", None)
        if claim and answer.get("failed"):
            answer["msg"] = wrap_var(claims.refusal(claim, lives))
        taken = answer.pop("took_over", None)
        if taken:
            self._display.warning(f"{task_vars['inventory_hostname']}: took over from {claims.named(taken)}")
        return answer

    def _believed(self, module, args, task_vars, needed):
        answer = self._execute_module("mesos.containerizer." + module, module_args=args, task_vars=task_vars)
        wrong = host_answers.wrong(module, answer, needed)
        if wrong:
            raise disbelieved(task_vars, f"answers what {module} never does: {wrong}")
        return answer

    def _module(self):
        """The task's module; where it is called by an old name, the one that this name is redirected to."""
        loader = self._shared_loader_obj.module_loader
        found = loader.find_plugin_with_context(self._task.action, collection_list=self._task.collections)
        return found.resolved_fqcn.rpartition(".")[2]


def disbelieved(task_vars, what):
    """The failure of a host that has said what it cannot; its words are no template, whatever is in them."""
    advice = "No answer of this host can be trusted; find out who else is root there"
    return AnsibleActionFail(wrap_var(f"{task_vars['inventory_hostname']} {what}. {advice}"))


def last_words(answer):
    """The last line that a module, or what should have started it, has left instead of an answer."""
    for stream in ("module_stderr", "module_stdout"):
        lines = [line.strip() for line in str(answer.get(stream) or "").splitlines()]
        lines = [line for line in lines if line and not _HUNG_UP.fullmatch(line.rstrip("."))]
        if lines:
            return lines[-1]
    return ""
