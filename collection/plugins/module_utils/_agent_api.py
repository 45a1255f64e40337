# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What a running agent says of itself, by its HTTP endpoints."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import without_passwords
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import start_time
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_socket import StrangerError, refuse_strangers
from ansible_collections.mesos.containerizer.plugins.module_utils._flag_values import effective


class ApiError(Exception):
    """No usable answer, in one line; `status` is HTTP's where there was one."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


def address(settings):
    """The agent's own address as its flags say: where it does not listen everywhere, --ip."""
    ip = effective(settings.get("ip")) or "127.0.0.1"
    ip = "127.0.0.1" if ip in ("0.0.0.0", "::") else ip  # noqa: S104 (compared, not listened on)
    return "http://%s:%s" % ("[%s]" % ip if ":" in ip else ip, effective(settings.get("port")) or "5051")


class MasterError(ApiError):
    """The same of a master: its address is an operator's word, an agent's is found."""

    def __init__(self, error):
        super().__init__("mesos_agent_master_url: %s: give a master that answers this host" % error)


class Api:
    """The endpoints below one address."""

    def __init__(self, url, user=None, password=None, timeout=10):
        self.url, self.user, self.password, self.timeout = url.rstrip("/"), user, password, timeout
        self.shown = without_passwords(self.url)

    def get(self, path, parse=True):
        """The JSON at a path. Raises ApiError."""
        data = self._open(path, None)
        if not parse:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ApiError("%s%s: answered no JSON" % (self.shown, path)) from error

    def post(self, path, data):
        """Sends JSON to a path and returns what is answered. Raises ApiError."""
        return self._open(path, data)

    def call(self, kind, **body):
        """A call of the agent's operator API, and its answer as a map. Raises ApiError.

        Source: include/mesos/v1/agent/agent.proto.
        """
        data = self.post("/slave(1)/api/v1", json.dumps({"type": kind, kind.lower(): body}))
        try:
            answer = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ApiError("%s: %s: answered no JSON object" % (self.shown, kind))
        return answer

    def _open(self, path, data):
        try:
            return self._answer(path, data)
        except Exception as error:  # of the socket, of HTTP, of TLS: all of them mean no answer
            said = b" ".join(error.read().split())[:300].decode("utf-8", "replace") if hasattr(error, "read") else ""
            reason = getattr(error, "reason", None) or error
            reason = without_passwords(str(reason))
            message = "%s%s: %s%s" % (self.shown, path, reason, ": " + said if said else "")
            raise ApiError(message, getattr(error, "code", getattr(error, "status", None))) from error

    def _answer(self, path, data):
        answer = open_url(
            self.url + path,
            method="GET" if data is None else "POST",
            data=data,
            headers=None if data is None else {"Content-Type": "application/json"},
            timeout=self.timeout,
            use_proxy=False,
            use_netrc=False,
            url_username=self.user,
            url_password=self.password,
            force_basic_auth=self.user is not None,
            http_agent="mesos.containerizer",
        )
        return answer.read()

    def _first(self, *paths):
        for path in paths[:-1]:
            try:
                return self.get(path)
            except ApiError:
                continue
        return self.get(paths[-1])

    def health(self):
        """Raises ApiError unless the agent says that it is well."""
        self.get("/slave(1)/health", parse=False)

    def flags(self):
        """{flag: text} as the agent runs with them; 0.21 says so in its state."""
        return self._first("/slave(1)/flags", "/slave(1)/state.json").get("flags") or {}

    def state(self):
        """The agent's state; its id is empty until it has one."""
        return self._first("/slave(1)/state", "/slave(1)/state.json")

    def registered(self):
        """Whether a master has the agent."""
        return self.get("/metrics/snapshot").get("slave/registered") == 1

    def containers(self):
        """{container id: {"pid", "start_time"}} of the running containers; both 0 where the agent does not say."""
        found = {}
        for item in self._first("/slave(1)/containers", "/slave(1)/monitor/statistics.json"):
            identity = item.get("container_id") or item.get("executor_id")
            pid = (item.get("status") or {}).get("executor_pid") or 0
            found[identity] = {"pid": pid, "start_time": (start_time(pid) or 0) if pid else 0}
        return found


class AgentApi(Api):
    """The same of this host's agent, and of nobody else.

    By http only a connection that the agent's own process has accepted is written to (agent_socket), by https only one
    with a certificate for that name. Nothing is sent on where an answer leads to.
    """

    def __init__(self, url, user=None, password=None, service=None):
        super().__init__(url, user, password)
        self.service = service

    def _answer(self, path, data):
        where = urlsplit(self.url)
        user, password = (self.user, self.password) if self.user is not None else (where.username, where.password)
        headers = {"User-Agent": "mesos.containerizer"}
        if user is not None:
            word = "%s:%s" % (user, password or "")
            headers["Authorization"] = "Basic " + base64.b64encode(word.encode("utf-8")).decode("ascii")
        if data is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connected(where)
        try:
            connection.request("GET" if data is None else "POST", where.path + path, body=data, headers=headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status // 100 != 2:
            shown = b" ".join(said.split())[:300].decode("utf-8", "replace")
            message = "HTTP %d %s%s" % (answer.status, answer.reason, ": " + shown if shown else "")
            raise ApiError(message, answer.status)
        return said

    def _connected(self, where):
        """A connection that is known to be the agent's; nothing has been sent on it yet."""
        if where.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(where.hostname, where.port, timeout=self.timeout, context=context)
            connection.connect()
            return connection
        if where.scheme != "http" or not where.hostname:
            raise ApiError("no address of an agent: give it as http://HOST:PORT or https://HOST:PORT")
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=self.timeout)
        try:
            connection.connect()
            refuse_strangers(connection.sock, self.service)
        except StrangerError as error:
            connection.close()
            raise ApiError("%s; nothing was sent" % error) from error
        return connection


def agent(params, settings, service=None):
    """The agent of this host by a module's parameters: where its flags say that it listens, or url does.

    service: its unit, where there is one; see agent_socket.refuse_strangers.
    """
    return AgentApi(params["url"] or address(settings), params["url_username"], params["url_password"], service)


def alive(containers):
    """Those whose process still is the one it was; where it is not known, they count as such."""
    return {
        name: c for name, c in containers.items() if not c.get("pid") or start_time(c["pid"]) == c.get("start_time")
    }
