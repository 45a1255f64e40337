# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""An installation of the shim on a host: unpacks and verifies a release, checks the configuration, switches.

What a release looks like on disk is known by the release's own release.py alone, so an installer is always of the
version that it installs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agents_user as agents_user,
    _probe_context as probe_context,
    _public_paths as public_paths,
    _release_files as release_files,
    _run_lock as run_lock,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import Service, ServiceError
from ansible_collections.mesos.containerizer.plugins.module_utils._arguments import DEFAULT_PREFIX
from ansible_collections.mesos.containerizer.plugins.module_utils._file_diff import file_diff
from ansible_collections.mesos.containerizer.plugins.module_utils._probe_container import ProbeError
from ansible_collections.mesos.containerizer.plugins.module_utils._shim_configuration import config_path, expected

_PACKAGED_HELPERS = ("/usr/libexec/mesos", "/usr/local/libexec/mesos")
_UNPACKING = ".unpack-"
_REHEARSAL = ".rehearsal-"
_PARTS = ("lib", "share")  # of a release
_MOST_BYTES = 64 << 20


class InstallError(Exception):
    """Why nothing was switched."""


class Installation:
    """One prefix on this host."""

    def __init__(self, run_command, check_mode, prefix, python, helpers_dir, own_default=False, versions=(), unit=None):
        self.own_default = own_default  # see blamed()
        self.unit = unit  # the agent's
        self.versions = versions  # of this host's Mesos: (major, minor); empty where that is not known
        self.warnings = []
        self.run_command, self.check_mode = run_command, check_mode
        self.prefix, self.python = prefix, python
        self.releases = os.path.join(prefix, "releases")
        self.config_path = config_path(prefix)
        self.helpers_dir = helpers_dir or next((d for d in _PACKAGED_HELPERS if os.path.isdir(d)), None)
        if helpers_dir and not os.path.isdir(helpers_dir):
            raise InstallError("helpers_dir %s is not a directory on this host" % helpers_dir)
        if not os.path.isabs(prefix) or prefix == "/":
            raise InstallError("prefix %s: give an absolute path" % prefix)

    def stage(self, release, archive, config):
        """Puts a release beside the others and has it check the configuration and launch by it; nothing is switched.

        None: the archive is needed first.
        """
        name = release["name"]
        home = os.path.join(self.releases, name)
        staged, damage = self._looked_at(home)
        if not staged and archive is None and not self.check_mode:
            return None
        with self.lock():
            text = self.config_text(config)
            with self._new(home):
                if not staged and not self.check_mode:
                    self._stage(archive, release["sha256"], name, damage)
                if staged or not self.check_mode:
                    self.validate(home, text)
                    self._explain(home, text)
                if not self.check_mode and (self.current() != name or self.read_config() != text):
                    self._rehearse(home, text)
        return dict(self._described(name, [] if staged else ["stage"], self.current()), diff=[], damage=damage)

    def converge(self, release, archive, config, keep):
        """Makes a release and a configuration the current ones. None: the archive is needed first."""
        name, actions = release["name"], []
        home = os.path.join(self.releases, name)
        staged, damage = self._looked_at(home)
        if not staged and archive is None and not self.check_mode:
            return None
        previous = self.current()
        with self.lock():
            before, after = self.read_config(), self.config_text(config)
            changes = before != after or previous != name
            with self._new(home):
                if not staged:
                    actions.append("stage")
                    if not self.check_mode:
                        self._stage(archive, release["sha256"], name, damage)
                if changes and (staged or not self.check_mode):
                    self.validate(home, after)  # by the release that will read it
                if changes and not self.check_mode:
                    self._rehearse(home, after)
            if before != after:
                actions.append("config")
                self.write_config(after)
            if self.activate(name):
                actions.append("activate")
            closed, writable = self.closed(), self.writable()
            if closed or writable:
                actions.append("modes")
                if not self.check_mode:
                    public_paths.hold(closed)
                    public_paths.protect(writable)
            if (staged or not self.check_mode) and self.prune(name, keep):
                actions.append("prune")
        diff = self.diff(previous, name, before, after)
        return dict(self._described(name, actions, previous), diff=diff, damage=damage)

    def _looked_at(self, home):
        """Whether a release is staged and whole, and what is wrong with it otherwise."""
        there = os.path.isdir(home)
        damage = release_files.damage(home, self.python) if there else []
        return there and not damage, damage

    def _described(self, name, actions, previous):
        return {
            "changed": bool(actions),
            "actions": actions,
            "release": name,
            "previous": previous,
            "python": self.python,
            "config_path": self.config_path,
            "program": os.path.join(self.prefix, "bin", "mesos-shim"),
            "launcher_dir": os.path.join(self.prefix, "launcher"),
        }

    def diff(self, previous, name, before, after):
        """For Ansible's --diff: the release and the configuration."""
        return [
            file_diff(os.path.join(self.prefix, "current"), (previous or "") + "\n", (name or "") + "\n"),
            file_diff(self.config_path, before, after),
        ]

    def closed(self):
        """What of the installation others cannot enter or read, though every task's user must."""
        own = [self.prefix, self.releases, os.path.join(self.prefix, "bin"), os.path.dirname(self.config_path)]
        if self.prefix != DEFAULT_PREFIX:
            own.append(os.path.join(self.prefix, "etc"))
        return public_paths.closed(sorted(own) + [self.config_path])

    def writable(self):
        """What of it others may write, though what root does depends on it; the shim refuses such a configuration."""
        return public_paths.writable([self.releases, self.config_path])

    def current(self):
        """The name of the release in use, None where there is none."""
        try:
            return os.path.basename(os.readlink(os.path.join(self.prefix, "current")))
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def lock(self):
        """One installer at a time; in check mode nothing is created for it."""
        if self.check_mode:
            yield
            return
        public_paths.make(self.releases)
        with run_lock.lock(self.releases):
            yield

    def _stage(self, archive, sha256, name, damage):
        self._clear_leftovers()
        unpacked = tempfile.mkdtemp(prefix=_UNPACKING, dir=self.releases)
        try:
            unpack(archive, sha256, unpacked)
            os.chmod(unpacked, 0o755)  # noqa: S103 (programs that every task user runs)
            again = ["--again"] if damage else []
            self._tool(unpacked, "stage", "--source", unpacked, "--name", name, "--config", self.config_path, *again)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)

    def _clear_leftovers(self):
        """Of a killed run: we hold the lock."""
        for left in os.listdir(self.releases):
            if left.startswith(_REHEARSAL):
                _remove_rehearsal(os.path.join(self.releases, left))
            elif left.startswith((_UNPACKING, ".staging-")):
                shutil.rmtree(os.path.join(self.releases, left))

    @contextlib.contextmanager
    def _new(self, home):
        """Leaves nothing of a release behind that was not there before and is not fit."""
        there = os.path.lexists(home)
        try:
            yield
        except BaseException:
            if not there and not self.check_mode:
                shutil.rmtree(home, ignore_errors=True)
            raise

    def _rehearse(self, home, text):
        """Has a release launch as every caller of this host's Mesos does, with the configuration that it will have.

        By a copy of it that is staged below a prefix of its own: what is installed has its configuration's path in it.
        """
        if not sys.platform.startswith("linux"):
            return
        self._clear_leftovers()
        place = tempfile.mkdtemp(prefix=_REHEARSAL, dir=self.releases)
        try:
            os.chmod(place, 0o755)  # noqa: S103 (programs that every task user runs)
            source = os.path.join(place, "source")
            made = shutil.ignore_patterns("*.bundle", "__pycache__")
            shutil.copytree(os.path.join(home, "lib"), os.path.join(source, "lib"), ignore=made)
            own = os.path.join(place, "config.json")
            config = json.loads(text)
            with open(own, "w", encoding="utf-8") as stream:
                # Its records are not the host's: before 1.1 no helper stays to remove them.
                own_records = {key: value for key, value in config.items() if key != "agent_user"}
                json.dump(dict(own_records, state_dir=os.path.join(place, "state")), stream)
            user = agents_user.configured(text)
            if user is not None:
                os.mkdir(os.path.join(place, "state"), 0o700)
                os.chown(os.path.join(place, "state"), user.pw_uid, user.pw_gid)
            words = ["--prefix", place, "--source", source, "--name", "copy", "--config", own]
            self._run(home, "stage", words)
            helper = os.path.join(place, "releases", "copy", "bin", "mesos-containerizer")
            # Without isolation, which an operator may choose, there is nothing that a view must show.
            wanted = [] if config.get("on_unenforceable") == "usage-only" else expected(config)
            shut = public_paths.shut_above(self.prefix)
            if shut is not None and os.geteuid() == 0:
                self.warnings.append(
                    "prefix %s: users other than root cannot enter %s, so this installation works only for root; "
                    "launches by other users were not tested" % (self.prefix, shut)
                )
            work_dir = config.get("work_dir")
            call = {"helper": helper, "versions": self.versions, "volumes": wanted, "work_dir": work_dir}
            own = [place] if work_dir else [place, "/var/tmp"]  # noqa: S108 (where sandboxes are then)
            call["others"] = shut is None
            probe_context.run(self.run_command, self.python, self.unit, call, own)
        except agents_user.NoAccount as error:
            raise InstallError(str(error)) from error
        except (ProbeError, ServiceError) as error:
            known = (
                "" if self.versions else " (the Mesos version of this host is unknown, so all versions were simulated)"
            )
            raise InstallError(
                "release %s does not work on this host: %s%s" % (os.path.basename(home), error, known)
            ) from error
        finally:
            self._clear_rehearsal(place, text)
            _remove_rehearsal(place)

    def _clear_rehearsal(self, place, text):
        """Removes what the rehearsal's launches leave in a base of private directories: before 1.1 no helper stays.

        Where the agent is not root's, the timer's gc does it with its user's rights. Here it would look at records that
        the user's tasks can have made links of, and root's gc removes what is no record.
        """
        if json.loads(text).get("agent_user") is not None:
            return
        own = json.loads(text).get("private_directories") or {}
        program = os.path.join(place, "releases", "copy", "bin", "mesos-shim")
        if os.path.exists(program) and any(item.get("base", "sandbox") != "sandbox" for item in own.values()):
            # What it cannot clear the timer's gc does: no reason to refuse the release.
            self.run_command([program, "gc", "--config", os.path.join(place, "config.json")])

    def activate(self, name):
        """Makes a staged release the current one; whether that changes anything."""
        home = os.path.join(self.releases, name)
        if self.check_mode and not os.path.isdir(home):
            return True
        helpers = ["--helpers", self.helpers_dir] if self.helpers_dir else []
        return self._tool(home, "activate", "--name", name, *helpers)["changed"]

    def prune(self, name, keep, needed=()):
        """Has a release remove the old ones; whether there were any."""
        more = ["--needed", ",".join(sorted(needed))] if needed else []
        return self._tool(os.path.join(self.releases, name), "prune", "--keep", str(keep), *more)["changed"]

    def _tool(self, home, command, *arguments):
        """Runs a release's own release.py for this prefix and returns what it says."""
        check = ["--check"] if self.check_mode else []
        return self._run(home, command, ["--prefix", self.prefix] + list(arguments) + check)

    def _run(self, home, command, arguments):
        script = os.path.join(home, "lib", "mesos_shim", "release.py")
        code, out, err = self.run_command([self.python, "-ISB", script, command] + arguments)
        if code != 0:
            raise InstallError("release %s: %s failed: %s" % (os.path.basename(home), command, (err or out).strip()))
        try:
            return json.loads(out)
        except ValueError as error:
            raise InstallError("%s %s printed no JSON: %s" % (script, command, out.strip())) from error

    def read_config(self):
        """The text of the configuration, None where there is none."""
        try:
            with open(self.config_path, encoding="utf-8") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def config_text(self, config):
        """The configuration as it lies on the host."""
        config = {key: value for key, value in config.items() if value is not None}
        helper = os.path.join(self.helpers_dir or "", "mesos-containerizer")
        if self.helpers_dir and "packaged_helper" not in config and os.path.isfile(helper):
            config["packaged_helper"] = helper
        if self.unit and "agent_user" not in config:
            user = agents_user.of_unit(Service(self.run_command, self.unit).show(agents_user.PROPERTIES))
            config.update({"agent_user": user} if user else {})
        return json.dumps(config, sort_keys=True, indent=2, ensure_ascii=False) + "\n"

    def validate(self, home, text):
        """Has a release check a configuration; raises InstallError by its words."""
        self._check(home, text, lambda candidate: ["validate", candidate])

    def _explain(self, home, text):
        """Has a release plan a launch of an executor that brings nothing: what this host lacks for it is said now."""
        if not json.loads(text).get("default_container_info"):
            return
        sandbox = tempfile.mkdtemp(prefix="mesos-shim-sandbox-", dir="/var/tmp")  # noqa: S108 (private, and removed)
        try:
            words = ["--sandbox", sandbox, "--", "true"]
            self._check(home, text, lambda candidate: ["explain", "--json", "--config", candidate] + words)
        finally:
            os.rmdir(sandbox)

    def _check(self, home, text, words):
        program = os.path.join(home, "bin", "mesos-shim")
        fd, candidate = tempfile.mkstemp(prefix="mesos-shim-config-", suffix=".json")
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                stream.write(text)
            code, out, err = self.run_command([program] + words(candidate))
        finally:
            os.unlink(candidate)
        if code != 0:
            reason = blamed((err or out).strip(), candidate, self.own_default)
            raise InstallError("the configuration for %s is refused: %s" % (self.config_path, reason))

    def write_config(self, text):
        """Puts the configuration in its place by one rename; None removes it."""
        if self.check_mode:
            return
        if text is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.config_path)
            return
        directory = os.path.dirname(self.config_path)
        public_paths.make(directory)
        fd, new = tempfile.mkstemp(prefix=".config-", dir=directory)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                stream.write(text)
                os.fchmod(stream.fileno(), 0o644)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(new, self.config_path)
        except BaseException:
            os.unlink(new)
            raise


def _remove_rehearsal(place):
    """Its records may be an agent's user's, who can make a tree there that is too deep to remove."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(place, ignore_errors=True)


def configuration(config, default_container_info):
    """A configuration with the default ContainerInfo that goes before its own, where there is one."""
    return dict(config, default_container_info=default_container_info) if default_container_info else config


def blamed(reason, candidate, own_default):
    """What is wrong with the file `candidate`, by the variable that the operator has set.

    own_default: the default ContainerInfo is from a variable of its own.
    """
    if own_default:
        reason = reason.replace(candidate + ": default_container_info", "mesos_agent_default_container_info")
    return reason.replace(candidate, "mesos_shim_config")


def unpack(archive, sha256, target):
    """Unpacks an archive whose digest is the expected one: regular files below lib/ and share/, nothing else."""
    with open(archive, "rb") as stream:
        found = hashlib.sha256(stream.read()).hexdigest()
    if found != sha256:
        raise InstallError("the archive arrived with the SHA-256 %s, expected %s: not installed" % (found, sha256))
    try:
        with tarfile.open(archive) as tar:
            left = _MOST_BYTES
            for member in tar:
                if member.isdir():
                    continue
                parts = member.name.split("/")
                if not member.isreg() or parts[0] not in _PARTS or {"", ".", ".."} & set(parts):
                    raise InstallError(
                        "the archive holds %r, which is not a regular file below lib/ or share/" % member.name
                    )
                left -= member.size
                if left < 0:
                    raise InstallError("the archive unpacks to more than %d bytes" % _MOST_BYTES)
                path = os.path.join(target, *parts)
                os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
                with tar.extractfile(member) as content, open(path, "xb") as stream:
                    shutil.copyfileobj(content, stream)
    except tarfile.TarError as error:
        raise InstallError("the archive cannot be unpacked: %s" % error) from error
