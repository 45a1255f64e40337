# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Generations of a host: flags, configuration, release and drop-in as they were together, to be taken back together.

    PREFIX/generations/        0700: flags may hold secrets
      state.json               {"good": number, "pending": number | null, "origin": {…}}
      0/                       the host as it was before the first change
      1/ generation.json       what it was made of, and how it ended
         flags/                the flags directory, file by file; absent where there was none
         config.json           absent where there was none
         drop-in.conf          absent where there was none

`pending` is written before anything is switched and taken away once the switch is known to be good, so that a killed
run is seen by the next one, which either finishes it or takes it back.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
import time

from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _flag_directory as flag_directory,
    _public_paths as public_paths,
    _run_lock as run_lock,
)

FLAGS, CONFIG, DROP_IN, ABOUT = "flags", "config.json", "drop-in.conf", "generation.json"
_DRAINED = "drained.json"
PENDING_RESTORE = -1

# What all generations of a host have in common: the option, its value, its variable, and what it was before.
ANOTHER = (
    "%s: %s (variable %s), but this host's generations use %s; set it to that, or run the "
    "playbook uninstall first; a second agent of one host needs a mesos_shim_prefix of its own"
)


class Store:
    """The directory of generations. Nothing is created before the first one is recorded."""

    def __init__(self, prefix):
        self.path = os.path.join(prefix, "generations")
        self.state = self.read_state()

    @contextlib.contextmanager
    def lock(self):
        """One run at a time, of all installations of this host: two of them may want the same unit or flags."""
        public_paths.make(os.path.dirname(self.path))
        os.makedirs(self.path, 0o700, exist_ok=True)
        with run_lock.lock(self.path), run_lock.host():
            self.state = self.read_state()
            yield

    def read_state(self):
        return self._read_json("state.json") or {"good": None, "pending": None}

    def _read_json(self, *names):
        try:
            with open(os.path.join(self.path, *names), encoding="utf-8") as stream:
                return json.load(stream)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def numbers(self):
        """Every generation that is complete, oldest first."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        return sorted(
            int(n) for n in names if n.isascii() and n.isdigit() and os.path.exists(os.path.join(self.path, n, ABOUT))
        )

    def about(self, number):
        """What a generation was made of."""
        return self._read_json(str(number), ABOUT)

    def another_directory(self, path):
        """Why `path` cannot be the flags directory: all generations are of one, and another could not be put back."""
        known = (self.about(0) or {}).get("flags_path")
        if known is None or os.path.normpath(known) == os.path.normpath(path):
            return None
        return ANOTHER % ("path", path, "mesos_agent_flags_dir", known)

    def next_number(self):
        """A number that no generation has had."""
        taken = self.numbers() + [self.state["good"] or 0, self.state["pending"] or 0, self.state.get("last") or 0]
        return max(taken) + 1

    def file(self, number, name):
        """The path of a part, None where the generation has none."""
        path = os.path.join(self.path, str(number), name)
        return path if os.path.lexists(path) else None

    def text(self, number, name):
        """The text of a part, None where the generation has none."""
        path = self.file(number, name)
        if path is None:
            return None
        with open(path, encoding="utf-8") as stream:
            return stream.read()

    def write_state(self, **changed):
        """Says what is good and what is on its way, durably."""
        self.state = dict(self.state, **changed)
        write_file(os.path.join(self.path, "state.json"), json.dumps(self.state, sort_keys=True) + "\n", 0o600)

    def drained(self):
        """When a rollout put this machine into the master's maintenance schedule, in ns since 1970; None: it did not.

        Kept here because a rollout that was killed cannot tell the next one that it is to take the machine out again.
        """
        return (self._read_json(_DRAINED) or {}).get("start")

    def note_drained(self, start):
        """Remembers it; with None it is over."""
        path = os.path.join(self.path, _DRAINED)
        if start is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        public_paths.make(os.path.dirname(self.path))
        os.makedirs(self.path, 0o700, exist_ok=True)
        write_file(path, json.dumps({"start": start}) + "\n", 0o600)

    def record(self, number, flags_path, config, drop_in, about):
        """Keeps the parts as they are now; the generation is there whole or not at all."""
        home = os.path.join(self.path, str(number))
        staging = tempfile.mkdtemp(prefix=".recording-", dir=self.path)
        try:
            if os.path.isdir(flags_path) and not os.path.islink(flags_path):
                copy_tree(flags_path, os.path.join(staging, FLAGS))
            for name, text in ((CONFIG, config), (DROP_IN, drop_in)):
                if text is not None:
                    write_file(os.path.join(staging, name), text, 0o600)
            about = dict(about, number=number, created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            write_file(os.path.join(staging, ABOUT), json.dumps(about, sort_keys=True, indent=1) + "\n", 0o600)
            if os.path.lexists(home):
                shutil.rmtree(home)
            os.rename(staging, home)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def environment(self):
        """{path: text} of the wrapper's files in the host as it was, where a later generation has taken from them."""
        return (self.about(0) or {}).get("environment") or {}

    def note_environment(self, texts):
        """What generations were recorded without these files had them as they are now."""
        for number in self.numbers():
            known = self.about(number).get("environment") or {}
            if set(texts) - set(known):
                self.note(number, environment={**texts, **known})

    def note(self, number, **changed):
        """Adds to what is known of a generation."""
        about = self.about(number)
        if about is not None:
            path = os.path.join(self.path, str(number), ABOUT)
            write_file(path, json.dumps(dict(about, **changed), sort_keys=True, indent=1) + "\n", 0o600)

    def prune(self, keep, releases):
        """Removes old ones: `keep` stay, the good one among them, and the origin. One whose release is not below
        `releases` any more cannot be gone back to."""
        good = self.state["good"]
        older = [n for n in self.numbers() if 0 < n < good]
        fit = [n for n in older if not self.about(n).get("failed") and _has_release(self.about(n), releases)]
        for number in set(older) - set(fit[max(0, len(fit) - keep + 1) :]):
            shutil.rmtree(os.path.join(self.path, str(number)))
        for name in os.listdir(self.path):
            if name.startswith((".recording-", ".new-")):  # of a killed run: the lock is ours
                path = os.path.join(self.path, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def previous(self, number):
        """The newest generation before `number` that was good; None where there is none."""
        older = [n for n in self.numbers() if n < number and not (self.about(n) or {}).get("failed")]
        return older[-1] if older else None


def _has_release(about, releases):
    return about["release"] is None or os.path.isdir(os.path.join(releases, about["release"]))


def write_file(path, text, mode, owner=None):
    """Puts a file in its place by one rename, durably; `owner` is (uid, gid), ours where none is given."""
    directory = os.path.dirname(path)
    fd, new = tempfile.mkstemp(prefix=".new-", dir=directory)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as stream:
            stream.write(text)
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(new, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise


def read_text(path):
    """The text of a file, None where there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def copy_tree(source, target):
    """A directory with modes, owners, times and links as they are; sockets, FIFOs and devices are no one's flags."""
    found = os.lstat(source)
    os.mkdir(target, 0o700)
    for name in os.listdir(source):
        old, new = os.path.join(source, name), os.path.join(target, name)
        entry = os.lstat(old)
        if stat.S_ISDIR(entry.st_mode):
            copy_tree(old, new)
        elif stat.S_ISLNK(entry.st_mode):
            os.symlink(os.readlink(old), new)
            _take_over(new, entry)
        elif stat.S_ISREG(entry.st_mode):
            shutil.copyfile(old, new, follow_symlinks=False)
            _take_over(new, entry)
    _take_over(target, found)


def _take_over(path, found):
    if (os.lstat(path).st_uid, os.lstat(path).st_gid) != (found.st_uid, found.st_gid):
        os.lchown(path, found.st_uid, found.st_gid)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(path, stat.S_IMODE(found.st_mode))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns), follow_symlinks=False)


def same_tree(one, other):
    """Whether two directories hold the same names, contents, modes and owners; one that is absent is an empty None."""
    return _facts(one) == _facts(other)


def _facts(path):
    if path is None or not os.path.isdir(path):
        return None
    facts = {}
    for directory, names, files in os.walk(path):
        for name in [""] + names + files:
            full = os.path.join(directory, name) if name else directory
            found = os.lstat(full)
            content = None
            if stat.S_ISREG(found.st_mode):
                with open(full, "rb") as stream:
                    content = stream.read()
            elif stat.S_ISLNK(found.st_mode):
                content = os.readlink(full)
            relative = os.path.relpath(full, path)
            facts[relative] = (stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
            facts[relative] += (content,)
            if stat.S_ISLNK(found.st_mode):
                facts[relative] = (content,)
    return facts


def put_flags(path, source):
    """Makes the flags directory a copy of `source` by one rename; None removes it."""
    if source is None and not os.path.lexists(path):
        return
    with flag_directory.Replacement(path) as replacement:
        if source is None:
            replacement.remove()
        else:
            replacement.put_copy(lambda target: copy_tree(source, target))
