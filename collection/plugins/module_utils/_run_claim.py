# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""Which run of a playbook is at work on a host, from its staging to the end of its work here.

    PREFIX/generations/claim.json   0600: {"id", "user", "host", "pid", "start", "boot", "namespace", "began", "name"}

The lock of _run_lock is of one call of a module. A claim is of a whole run, whose process is on the controller, so only
the controller can tell whether it still lives: a module fails with the claim that it has found, and the controller's
half (plugin_utils/_claims.py) says what that means.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

from ansible_collections.mesos.containerizer.plugins.module_utils import _public_paths as public_paths
from ansible_collections.mesos.containerizer.plugins.module_utils._generations import write_file

CLAIM = "claim.json"
PATIENCE = 300  # seconds; the later one gives way at the end of its staging
_PAUSE = 0.2
# What makes a process one and no other; the rest of a claim is for people.
_PROCESS = ("host", "boot", "namespace", "pid", "start")


class ClaimError(Exception):
    """Why this run may not work on this host, in one line; `claim` is another run's, where there is one."""

    def __init__(self, message, claim=None):
        super().__init__(message)
        self.claim = claim


class Claim:
    """The claim of this run on a host. A run that is not told its own (`run`) takes none, and respects others."""

    def __init__(self, store, params, check_mode):
        self._store, self._run, self._take_over = store, params["run"], params["take_over"]
        self._reads_only = check_mode or self._run is None
        self._path = os.path.join(store.path, CLAIM)
        self.took_over = None
        # Directories that were made for the claim, and go with it if nothing else was put there.
        self._made = [store.path]

    def found(self):
        """The claim on this host; None where there is none. Raises ClaimError where nobody can read it."""
        try:
            with open(self._path, encoding="utf-8") as stream:
                found = json.load(stream)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("id"), str):
            raise ClaimError("%s is not a run's claim; remove it if no run is at work on this host" % self._path)
        return found

    def check(self, held=False):
        """Raises ClaimError where another run is at work here, or, with `held`, where this one is no longer."""
        found = self.found()
        if found is None:
            if held and not self._reads_only:
                raise ClaimError("another run has taken over this host and ended meanwhile; nothing was changed")
        elif not self._ours(found) and not self._may_take(found):
            if self._of_this_run(found):
                raise ClaimError(
                    "this host is in the inventory twice, as %s and as %s: keep one of them"
                    % (found.get("name"), self._run["name"])
                )
            raise ClaimError("claimed by the run %s" % found["id"], found)
        return found

    def take(self, patient=False):
        """Claims the host for this run. Raises ClaimError where another one is at work here.

        patient: of two runs that claim hosts at the same time and have each met the other, the later one gives way, and
        the earlier one waits for that. So one of them gets all hosts, in whatever order they are taken.
        """
        end, before = time.monotonic() + PATIENCE, self._store.state
        while True:
            try:
                self._take()
                break
            except ClaimError as error:
                if self._reads_only or not (
                    patient and error.claim and self._began_before(error.claim) and time.monotonic() < end
                ):
                    raise
                if self._store.read_state() != before:  # it has met nobody, and goes on
                    raise
            time.sleep(_PAUSE)
        if self._store.state != before:  # as it was read under the lock
            self.release()
            raise ClaimError("another run has changed this host since it was inspected; run this one again")

    def _take(self):
        found = self.check()  # before the lock, which another run may hold for as long as its agent takes to start
        if self._reads_only or (found is not None and self._ours(found)):
            return
        self._made = public_paths.missing(self._store.path) or self._made
        with self._store.lock():
            self.take_locked()

    def take_locked(self):
        """The same of a caller that holds the lock."""
        found = self.check()
        if self._reads_only or (found is not None and self._ours(found)):
            return
        write_file(self._path, json.dumps(dict(self._run, ended=None), sort_keys=True) + "\n", 0o600)
        self.took_over = found

    def release(self):
        """Ends the claim of this run, or one that it may take over; its id, None where there was none to end."""
        found = self._releasable()
        if found is None or self._reads_only:
            return found and found["id"]
        with self._store.lock():
            if self._releasable() == found:
                os.unlink(self._path)
        for directory in self._made:
            with contextlib.suppress(OSError):
                os.rmdir(directory)  # of a host on which there is no generation yet
        return found["id"]

    def _releasable(self):
        found = self.found()
        return found if found is not None and (self._ours(found) or self._may_take(found)) else None

    def _ours(self, found):
        return self._of_this_run(found) and found.get("name") == self._run["name"]

    def _of_this_run(self, found):
        return self._run is not None and all(found.get(key) == self._run[key] for key in _PROCESS)

    def _may_take(self, found):
        ended = (self._run or {}).get("ended")
        return found["id"] in self._take_over or (ended is not None and self._same(found, ended))

    def _same(self, one, other):
        return all(one.get(key) == other.get(key) for key in ("id", *_PROCESS))

    def _began_before(self, other):
        """In the same way for both of them; false where one does not say when it began."""
        if self._run is None or not self._run["began"] or not other.get("began"):
            return False
        if other.get("boot") == self._run["boot"]:
            return (self._run["start"], self._run["pid"]) < (other.get("start"), other.get("pid"))
        return (self._run["began"], self._run["boot"]) < (other["began"], other.get("boot"))


def refuse(module, error, **more):
    """Ends a module by a ClaimError; the controller's half says whether the run of that claim still lives."""
    module.fail_json(msg=str(error), **({"claimed_by": error.claim} if error.claim else {}), **more)
