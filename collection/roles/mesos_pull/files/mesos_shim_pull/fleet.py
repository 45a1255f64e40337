# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The hosts' agreement in ZooKeeper."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException, NoAuthError, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry
from kazoo.security import make_digest_acl

from .config import Config
from .text import NAME, PullError, one_line
from .turns import Rollout, parse_rollout

ROOT = "/mesos-shim/pull"
SECONDS = 10  # for the connection, and for each answer
ATTEMPTS = 100  # of a write; each one that fails is one of another host that went through


class Fleet:
    """The hosts' agreement in ZooKeeper, as a context: a connection, and no longer than it is needed.

    ROOT/rollout          the change under way (Rollout)
    ROOT/hosts/NAME       the change that the host has applied
    ROOT/canaries/NAME    the hosts that go first

    No node is bound to a session: a host that loses its session, or dies, keeps its place.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._hosts, path, user = parse_zookeeper(config.zookeeper)
        self._root = path + ROOT
        acl = None if user is None else [make_digest_acl(*user.split(":", 1), all=True)]
        auth = None if user is None else [("digest", user)]
        again = KazooRetry(max_tries=-1, max_delay=1)
        self._client = KazooClient(
            self._hosts, timeout=SECONDS, connection_retry=again, default_acl=acl, auth_data=auth
        )

    def __enter__(self) -> Fleet:
        with self._explained():
            self._client.start(timeout=SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(KazooException):  # all that was to be said has been answered
            self._client.stop()
            self._client.close()

    def register(self) -> None:
        """Count this host as one of the fleet. Where it is one, this only reads: every host asks every few minutes."""
        self._ask("ensure_path", "canaries")
        canary = f"canaries/{self._config.name}"
        if self._config.canary:
            self._ask("ensure_path", canary)
        elif self._ask("exists", canary):
            self._delete(canary)
        self._ask("ensure_path", f"hosts/{self._config.name}")

    def size(self) -> int:
        """How many hosts are registered."""
        found = self._ask("exists", "hosts")
        return max(1, 0 if found is None else found.numChildren)

    def canaries(self, change: str) -> dict[str, bool]:
        """The hosts that go first, and whether each has applied the change."""
        names = self._ask("get_children", "canaries")
        wrong = [name for name in names if not NAME.match(name)]
        if wrong:
            raise PullError(f"{self._root}/canaries in ZooKeeper has {wrong[0]!r}, which is not a host; delete it")
        return {name: self._applied(name) == change for name in names}

    def note_applied(self, change: str) -> None:
        """Tell the others what this host has applied."""
        if self._applied(self._config.name) != change:
            self._ask("set", f"hosts/{self._config.name}", change.encode("ascii"))

    def forget(self, name: str) -> None:
        """Remove a host that has left the fleet."""
        self.update(lambda rollout: (rollout and rollout.without_place(name), None))
        for kind in ("canaries", "hosts"):
            self._delete(f"{kind}/{name}")

    def rollout(self) -> tuple[Rollout | None, int]:
        """The change under way, with the version of its node."""
        try:
            data, stat = self._ask("get", "rollout")
        except NoNodeError:
            return None, -1
        return parse_rollout(data, f"{self._root}/rollout"), stat.version

    def update(self, step: Callable[[Rollout | None], tuple[Rollout | None, Any]]) -> Any:
        """Replace the rollout by what `step` makes of it, again when another host was faster.

        Arguments:
            step: returns the new rollout (None: as it is), and what this function is to return.
        """
        for _attempt in range(ATTEMPTS):
            rollout, version = self.rollout()
            new, result = step(rollout)
            if new is None or new == rollout or self._replace(new, version):
                return result
        raise PullError(f"{self._root}/rollout in ZooKeeper has changed {ATTEMPTS} times before this host could")

    def _replace(self, rollout: Rollout, version: int) -> bool:
        data = json.dumps(asdict(rollout), sort_keys=True).encode()
        try:
            if version == -1:
                self._ask("create", "rollout", data)
            else:
                self._ask("set", "rollout", data, version)
        except (BadVersionError, NodeExistsError):
            return False
        return True

    def _applied(self, name: str) -> str:
        try:
            data: bytes = self._ask("get", f"hosts/{name}")[0]
        except NoNodeError:
            return ""
        return data.decode("ascii", "replace")

    def _delete(self, name: str) -> None:
        with contextlib.suppress(NoNodeError):
            self._ask("delete", name)

    def _ask(self, verb: str, name: str, *arguments: Any) -> Any:
        """The answer; kazoo's own calls would wait for a ZooKeeper that is gone as long as it is."""
        with self._explained():
            return getattr(self._client, f"{verb}_async")(f"{self._root}/{name}", *arguments).get(timeout=SECONDS)

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except (NoNodeError, BadVersionError, NodeExistsError):
            raise
        except KazooTimeoutError:
            what = f"does not answer within {SECONDS} s; see whether it runs and this host reaches it"
            raise PullError(f"ZooKeeper at {self._hosts} {what}") from None
        except NoAuthError:
            what = f"refuses {self._root}; give every host the same USER:PASSWORD in mesos_pull_zookeeper"
            raise PullError(f"ZooKeeper at {self._hosts} {what}") from None
        except KazooException as error:
            raise PullError(one_line(f"ZooKeeper at {self._hosts}: {type(error).__name__} {error}")) from None


def parse_zookeeper(text: str) -> tuple[str, str, str | None]:
    """Hosts, path (empty for the top) and USER:PASSWORD of zk://[USER:PASSWORD@]HOST:PORT,…[/PATH]."""
    match = re.match(r"zk://(?:([^@/]+:[^@/]*)@)?([^@/]+)((?:/[^/\0]+)*)/?\Z", text)
    if not match:
        raise PullError("zookeeper: expected zk://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…][/PATH]")
    return match[2], match[3], match[1]
