# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the host first; a release travels only where it is not there yet."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.validation import check_type_dict
from ansible.parsing.mod_args import ModuleArgsParser
from ansible.template import Templar
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_installation import (
    InstallError,
    blamed,
    configuration,
    unpack,
)
from ansible_collections.mesos.containerizer.plugins.plugin_utils._checked_action import (
    CheckedAction,
    disbelieved,
)
from ansible_collections.mesos.containerizer.plugins.plugin_utils._map_keys import not_text
from ansible_collections.mesos.containerizer.plugins.plugin_utils._release_archive import kept
from ansible_collections.mesos.containerizer.plugins.plugin_utils._without_facts import variables

# They name files of the controller, and what is in them runs there.
_OWN_ARGUMENTS = ("archive", "archive_sha256", "psutil_wheel")
_MAPS = {"config": "mesos_shim_config", "default_container_info": "mesos_agent_default_container_info"}

_A_DATE = "%s: YAML reads an unquoted %s as a date: quote it"
# Before 2.19 a map with a date in it arrives as this text of it.
_DATE_BEFORE = re.compile(r"\bdatetime\.(?:date|datetime)\(([0-9]{1,4}), ([0-9]{1,2}), ([0-9]{1,2})")

_VALIDATE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from mesos_shim import validate; sys.exit(validate.main(['-']))"
)


def _check(archive, config, own_default):
    """Has the release in an archive check a configuration. Raises AnsibleActionFail by its words."""
    text = json.dumps({key: value for key, value in config.items() if value is not None})
    with tempfile.TemporaryDirectory(dir=C.DEFAULT_LOCAL_TMP) as home:
        path, unpacked = os.path.join(home, "release"), os.path.join(home, "unpacked")
        with open(path, "wb") as stream:
            stream.write(archive)
        # As on a host, by its rules: tarfile's own filter is not in every Python that controllers have.
        try:
            unpack(path, hashlib.sha256(archive).hexdigest(), unpacked)
        except InstallError as error:
            raise AnsibleActionFail(str(error)) from error
        done = subprocess.run(
            [sys.executable, "-ISB", "-c", _VALIDATE, os.path.join(unpacked, "lib")],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if done.returncode:
        reason = blamed(done.stderr.strip(), "standard input", own_default)
        raise AnsibleActionFail(f"the configuration is refused: {reason}")


def _map(name, value):
    """A map, also where an inventory in INI form has given it as text. Raises AnsibleActionFail by its variable."""
    try:
        found = check_type_dict(value or {})
    except TypeError as error:
        before = _DATE_BEFORE.search(value) if isinstance(value, str) else None
        if before is not None:
            raise AnsibleActionFail(_A_DATE % (_MAPS[name], datetime.date(*map(int, before.groups())))) from error
        raise AnsibleActionFail(f"{_MAPS[name]}: not a map, nor JSON of one: {error}") from error
    date = _date(found)
    if date is not None:
        raise AnsibleActionFail(_A_DATE % (_MAPS[name], date))
    key = not_text(_MAPS[name], found)
    if key is not None:
        raise AnsibleActionFail(key)
    return found


def _date(value):
    """The first date in a map or list; None where there is none."""
    if isinstance(value, (dict, list)):
        items = value.values() if isinstance(value, dict) else value
        return next((date for date in map(_date, items) if date is not None), None)
    return value if isinstance(value, datetime.date) else None


def _unless_omitted(value, known):
    """What a template has given; None where that is nothing. Before 2.19 omit is a text that only Ansible knows."""
    return value if value and value != known.get("omit") else None


class ActionModule(CheckedAction):
    """The controller's half of mesos.containerizer.shim_release."""

    TRANSFERS_FILES = False  # hardly ever: the directory for it is made when it is needed

    def answer(self, task_vars):
        args = dict(self._task.args)
        for name in _MAPS:
            args[name] = _map(name, args.get(name))
        own = self._own({name: args.pop(name, None) or None for name in _OWN_ARGUMENTS}, task_vars)
        try:
            found = kept(C.DEFAULT_LOCAL_TMP, own["archive"], own["archive_sha256"], own["psutil_wheel"])
        except AnsibleError as error:
            raise AnsibleActionFail(str(error)) from error
        args["releases"] = {where: {"name": a.name, "sha256": a.sha256} for where, a in found.items()}
        result = self.ask(args, task_vars, needed=True)
        wanted = result.pop("archive_needed", None)
        if wanted not in (None, *found):
            raise disbelieved(task_vars, f"asks for a release for {wanted!r}: there is none")
        if wanted or "stage" in result.get("actions", ()):
            # No release there that could check it: the same code does here, before anything on the host changes.
            own = args.get("default_container_info")
            _check(next(iter(found.values())).content, configuration(args.get("config") or {}, own), bool(own))
        if wanted:
            result.update(self.ask({**args, "archive": self._send(found[wanted].content)}, task_vars))
        return result

    def _own(self, options, task_vars):
        """Which files of the controller are meant, by what the operator has written and no host has said.

        The task's arguments have been templated with the host's facts, which go before the inventory.
        """
        written = ModuleArgsParser(task_ds=self._task.get_ds()).parse(skip_action_validation=True)[1]
        known = variables(task_vars["hostvars"], task_vars["inventory_hostname"], self._task)
        templar, own = Templar(self._loader, variables=known), {}
        for name, value in options.items():
            if value and name not in written:
                raise AnsibleActionFail(f"{name}: give it in the task itself, not in module_defaults")
            try:
                own[name] = _unless_omitted(templar.template(written.get(name)), known)
            except AnsibleError as error:
                raise AnsibleActionFail(
                    f"{name}: it names a file of the controller, and no fact of a host may decide which: {error}"
                ) from error
        return own

    def _send(self, content):
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir or self._make_tmp_path(), "release")
        fd, local = tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP)
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(content)
            self._transfer_file(local, remote)
        finally:
            os.unlink(local)
        self._fixup_perms2((self._connection._shell.tmpdir, remote), execute=False)  # else a chmod of its own
        return remote
