# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The host as it was before the first generation, without the shim."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_service as agent_service,
    _agents_user as agents_user,
    _generations as generations,
    _shim_timers as shim_timers,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._host_generations import (
    GenerationError,
    Host,
    restarted_agent,
    untouched_agent,
)

# What the shim keeps below its state directory.
_RECORDS = ("containers", "usage.json", "usage.lock")

# What an uninstallation takes away below the prefix; what else lies there is an operator's own.
_PROGRAMS = ("current", os.path.join("bin", "mesos-shim"), os.path.join("bin", "mesos-containerizer"))
_TREES = ("launcher", "releases", "generations")
_INSTALLED = _PROGRAMS + _TREES

_UNWELL = (
    "flags, configuration and release are as they were before the first generation, but the agent is not well: %s; the "
    "shim stays installed, and the drop-in that keeps executors alive stays: see to the agent, then run the playbook "
    "uninstall again"
)


class Uninstallation(Host):
    """Takes the shim away, and the host back to what it was."""

    def __init__(self, module):
        super().__init__(module)
        self._look()
        self.running = []

    def _look(self):
        self.origin = self.store.about(0)
        self.timers = shim_timers.ours(self.prefix)

    def run(self):
        self.claim.check()
        try:
            if self.check_mode or not os.path.isdir(self.store.path):
                return self._uninstall(self.claim.take)
            with self.store.lock():
                self._look()  # another run may have been here meanwhile
                return self._uninstall(self.claim.take_locked)
        finally:
            self.claim.release()

    def _uninstall(self, claim):
        installed = any(os.path.lexists(os.path.join(self.prefix, name)) for name in _INSTALLED)
        result = {
            "changed": installed or self.origin is not None or bool(self.timers),
            "actions": [],
            "before": self.described(self.store.state["good"]),
            "after": {"generation": None, "release": None},
        }
        if not result["changed"]:
            return result
        self._refuse_running()
        self._refuse_lost_origin()
        if self.origin is not None:
            self.refuse_other_installation(self.origin["service"], self.origin["flags_path"])
        result["actions"] = self._actions()
        if not self.check_mode:
            claim()
            result.update(self._remove(result["actions"]))
        return result

    def _refuse_lost_origin(self):
        """Without what the host was before, its agent would be left with flags and a unit that need the shim."""
        ours = agent_service.all_of_ours(self.prefix)
        if self.origin is None and (ours or self.store.state["good"] is not None) and not self.params["force"]:
            raise GenerationError(
                "what this host was before the shim came is not known, because %s is gone: give the agent the flags "
                "that it shall have (no launcher_dir below %s) and restart it%s; then force it "
                "(mesos_agent_uninstall_force)"
                % (
                    os.path.join(self.store.path, "0"),
                    self.prefix,
                    "".join(", then remove %s and run systemctl daemon-reload" % path for path in ours),
                )
            )

    def _refuse_running(self):
        self.running = running = self._running_containers()
        if running and not self.params["force"]:
            raise GenerationError(
                "%d containers that the shim started still run (%s): drain the host first, or force it"
                % (len(running), ", ".join(running[:5]))
            )

    def _actions(self):
        actions = (["timers"] if self.timers else []) + ["remove"]
        if self.origin is None:
            return actions
        return self.differing(0, self.origin["flags_path"], self.origin["service"]) + actions

    def _remove(self, actions):
        state_dirs, result = self._state_dirs(), untouched_agent()
        if self.origin is not None:
            unit, here = self.origin["service"], self.here()
            self.put_back(0, self.origin["flags_path"], unit)
            self.switch_identity(here, 0)
            if unit:
                result.update(self._give_back_service(bool({"flags", "unit", "environment"} & set(actions))))
                self.put_back_drop_in(0, unit)
        shim_timers.remove(self.module.run_command, self.timers)  # before what they run
        self.installation.write_config(None)
        missing = self.origin["origin"]["missing"] if self.origin is not None else []
        for directory in sorted(missing, key=len, reverse=True) + [os.path.dirname(self.planner.config_path)]:
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        self._remove_installation()
        if not self.running:
            for state_dir in state_dirs:
                _remove_records(state_dir)
        return {name: result[name] for name in ("restarted", "lost_containers")}

    def _give_back_service(self, changed):
        """The unit as it was before the first generation, its agent well; what a result says of it."""
        service, origin = self.service_of(self.origin["service"]), self.origin["origin"]
        if not service.known():
            return {}
        service.unlink(origin.get("links", ()))
        status = origin["status"]
        if not status["active"]:
            service.stop()
            return {}
        if not changed:
            return {}
        result = restarted_agent(service, self.ask(service))
        self.refuse_unwell(service, result["containers"], _UNWELL)
        if result["lost_containers"]:
            lost = ", ".join(result["lost_containers"])
            self.module.warn("containers ended while the agent was restarted: %s" % lost)
        return result

    def _remove_installation(self):
        """What was installed below the prefix and nothing else: an operator may have given a directory of others."""
        for name in _PROGRAMS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.prefix, name))
        share = os.path.join(self.prefix, "share")
        if os.path.islink(share) and os.readlink(share) == "current/share":
            os.unlink(share)
        for name in _TREES:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(os.path.join(self.prefix, name))
        for name in ("bin", "etc", ""):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(self.prefix, name))

    def _program(self, *words):
        program = os.path.join(self.prefix, "bin", "mesos-shim")
        if not os.access(program, os.X_OK):
            return None
        code, out, unused = self.module.run_command([program] + list(words))
        return out if code == 0 else None

    def _running_containers(self):
        """Ids of the containers that the shim knows and that still run, for all that can be told from here."""
        program = os.path.join(self.prefix, "bin", "mesos-shim")
        if not os.access(program, os.X_OK):
            return []  # nothing that could have started one
        try:
            running = [item["container_id"] for item in json.loads(self._program("ps", "--json"))]
        except (ValueError, KeyError, TypeError):
            return ["%s ps does not tell" % program]
        return running + sorted(self._untold() - set(running))

    def _untold(self):
        """Ids of the containers of which there is a record that gc would not clear."""
        names, looks = set(), set()
        for state_dir, words in self._state_dirs().items():
            with contextlib.suppress(OSError):
                found = os.listdir(os.path.join(state_dir, "containers"))
                names |= {name[: -len(".json")] for name in found if re.match(r"[^.].*\.json\Z", name)}
                looks.add(words)
        program = os.path.join(self.prefix, "bin", "mesos-shim")
        for words in looks if names else ():
            out = self.module.run_command([program, "gc", "--dry-run", *words])[1]  # 1 where something stays
            cleared = re.findall(r"^would clear (?:record of (\S+)|(\S+)\.json, which is no record)", out, re.M)
            names -= {one or other for one, other in cleared}
        return names

    def _state_dirs(self):
        """{where our records are: words with which gc looks there}.

        Root's, and agents' users' by all configurations that are kept: one may run as root by now.
        """
        text, configured = self.planner.read_config(), None
        with contextlib.suppress(ValueError):
            configured = json.loads(text or "{}").get("state_dir")
        own = configured or ("/run/mesos-shim" if os.geteuid() == 0 else None)
        found = {own: ()} if own else {}
        kept = [(self.store.text(n, generations.CONFIG), n) for n in self.store.numbers()]
        for each, number in [(text, None), *kept]:
            with contextlib.suppress(agents_user.NoAccount):
                user = agents_user.configured(each)
                if user is not None:
                    words = () if number is None else ("--config", self.store.file(number, generations.CONFIG))
                    # Nobody but root can put a link in its place.
                    found.setdefault(agents_user.STATE_DIR % user.pw_uid, words)
        return found


def _remove_records(state_dir):
    """The records of ended containers; a directory that holds anything else stays.

    One of an agent's user may hold anything: links, which neither of these follows, or trees too deep to remove.
    """
    for name in _RECORDS:
        path = os.path.join(state_dir, name)
        with contextlib.suppress(OSError, RecursionError):
            shutil.rmtree(path) if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink(path)
    with contextlib.suppress(OSError):
        os.rmdir(state_dir)
