# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What a running agent says of itself, by its HTTP endpoints."""

from __future__ import annotations

import base64
import collections
import http.client
import json
import os
import ssl
from urllib.parse import urlsplit

from ansible.module_utils.urls import open_url
from ansible_collections.mesos.containerizer.plugins.module_utils import (
    _agent_process as agent_process,
    _agent_socket as agent_socket,
)
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_secrets import without_passwords
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_service import start_time
from ansible_collections.mesos.containerizer.plugins.module_utils._agent_socket import StrangerError, refuse_strangers


class ApiError(Exception):
    """No usable answer, in one line; `status` is HTTP's where there was one."""

    def __init__(self, message, status=None):
        super().__init__(message)
        self.status = status


# What an endpoint asks for: a principal and its secret; the authorities of its certificate, and a certificate of ours.
Access = collections.namedtuple("Access", "user password ca_file client_cert client_key")
NO_ACCESS = Access(None, None, None, None, None)


def access(params):
    """What a module's parameters say (_arguments.ENDPOINTS)."""
    return Access(*(params[name] for name in ("url_username", "url_password", "ca_file", "client_cert", "client_key")))


class MasterError(ApiError):
    """The same of a master: its address is an operator's word, an agent's is found."""

    def __init__(self, error):
        super().__init__("mesos_agent_master_url: %s: give a master that answers this host" % error)


class Api:
    """The endpoints below one address."""

    def __init__(self, url, allowed=NO_ACCESS, timeout=10):
        self.url, self.access, self.timeout = url.rstrip("/"), allowed, timeout

    @property
    def shown(self):
        """The address as a message may have it."""
        return without_passwords(self.url)

    def get(self, path, parse=True):
        """The JSON at a path. Raises ApiError."""
        data = self._open(path, None)
        if not parse:
            return None
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ApiError("%s%s: the answer is not JSON" % (self.shown, path)) from error

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
            raise ApiError("%s: %s: the answer is not a JSON object" % (self.shown, kind))
        return answer

    def _open(self, path, data):
        try:
            return self._answer(path, data)
        except Exception as error:  # of the socket, of HTTP, of TLS: all of them mean no answer
            said = b" ".join(error.read().split())[:300].decode("utf-8", "replace") if hasattr(error, "read") else ""
            # Of TLS it is one word, and all is in the error.
            reason = error if isinstance(error, ssl.SSLError) else getattr(error, "reason", None) or error
            reason = without_passwords(str(reason)) + _tls_advice(reason, self)
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
            url_username=self.access.user,
            url_password=self.access.password,
            force_basic_auth=self.access.user is not None,
            ca_path=self.access.ca_file,
            client_cert=self.access.client_cert,
            client_key=self.access.client_key,
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


def _tls_advice(reason, api):
    """What to give where TLS has failed, to be said after the reason."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "" if api.access.ca_file else "; give the certificates of its authority as mesos_agent_ca_file"
    # An endpoint that asks for a certificate and is shown none ends the connection, with an alert or without.
    ended = isinstance(reason, (ssl.SSLError, ConnectionResetError, BrokenPipeError))
    if ended and api.url.startswith("https:") and not api.access.client_cert:
        return "; where it asks for a certificate, give mesos_agent_client_cert and mesos_agent_client_key"
    return ""


def _tls(allowed, named):
    """How to speak TLS; `named`: whether the certificate must be the address'. Raises ApiError for unusable files."""
    for variable, path in zip(("ca_file", "client_cert", "client_key"), allowed[2:]):
        if path and not os.access(path, os.R_OK):
            raise ApiError("mesos_agent_%s: %s is no file that can be read on this host" % (variable, path))
    context = ssl.create_default_context()
    context.check_hostname = named
    try:
        if allowed.ca_file:
            context.load_verify_locations(cafile=allowed.ca_file)
    except ssl.SSLError as error:
        raise ApiError("mesos_agent_ca_file: %s holds no certificates" % allowed.ca_file) from error
    try:
        if allowed.client_cert:
            context.load_cert_chain(allowed.client_cert, allowed.client_key)
    except ssl.SSLError as error:
        raise ApiError(
            "mesos_agent_client_cert: %s and mesos_agent_client_key are no certificate and its key"
            % allowed.client_cert
        ) from error
    return context


class AgentApi(Api):
    """The same of this host's agent, and of nobody else.

    By http only a connection that the agent's own process has accepted is written to (agent_socket), by https only one
    with a certificate for that name, or where the address was found at the agent's process, both that process and a
    certificate. Nothing is sent on where an answer leads to.
    """

    def __init__(self, url, allowed=NO_ACCESS, service=None):
        super().__init__(url or "", allowed)
        self.service, self.found = service, url is None

    def _answer(self, path, data):
        if self.found:
            self.url = address(self.service, self.access)
        where = urlsplit(self.url)
        user, password = self.access.user, self.access.password
        if user is None:
            user, password = where.username, where.password
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
        if where.scheme not in ("http", "https") or not where.hostname:
            raise ApiError("not the address of an agent; give it as http://HOST:PORT or https://HOST:PORT")
        port = where.port or _PORTS[where.scheme]
        connection = http.client.HTTPConnection(where.hostname, port, timeout=self.timeout)
        context = _tls(self.access, named=not self.found) if where.scheme == "https" else None
        try:
            connection.connect()
            if context is None or self.found:
                refuse_strangers(connection.sock, self.service)
            if context is not None:
                connection.sock = context.wrap_socket(connection.sock, server_hostname=where.hostname)
        except StrangerError as error:
            connection.close()
            raise ApiError("%s; nothing was sent" % error) from error
        except BaseException:
            connection.close()
            raise
        return connection


_PORTS = {"http": 80, "https": 443}
_TRUE = ("1", "true")


def address(service, allowed=NO_ACCESS):
    """Where the agent's process listens, whatever told it so: a flag, a variable, a file or a command.

    Raises ApiError where it listens nowhere yet, and StrangerError where it cannot be looked at.
    """
    main = service.status()["pid"]
    if not main:
        raise ApiError("the unit %s is not running" % service.unit)
    pid = agent_process.find(main)
    flags, environment = agent_process.started_with(pid)
    listening = agent_socket.listening(pid)
    # A module of the agent may listen as well.
    there = [one for one in listening if str(one[1]) == flags.get("port", "5051")] or listening
    if len({port for _host, port in there}) != 1:
        ports = ", ".join(sorted("%s:%d" % one for one in there))
        raise ApiError(
            "the process %d of the unit %s listens %s; give mesos_agent_url"
            % (pid, service.unit, "at more than one place (%s)" % ports if ports else "at no port")
        )
    host, port = there[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not listened on)
    scheme = "https" if _speaks_tls(environment, allowed) else "http"
    return "%s://%s:%d" % (scheme, "[%s]" % host if ":" in host else host, port)


def _speaks_tls(environment, allowed=NO_ACCESS):
    """libprocess takes its variables with the longer prefix and, for compatibility, with the shorter one."""

    def says(name):
        value = environment.get("LIBPROCESS_SSL_" + name, environment.get("SSL_" + name, "false"))
        return value.lower() in _TRUE

    return says("ENABLED") and not (says("SUPPORT_DOWNGRADE") and not allowed.ca_file)


def agent(params, service=None):
    """The agent of this host by a module's parameters: at url, or where the process of its unit listens."""
    if not (params["url"] or service):
        raise ApiError("which agent? Name its unit as mesos_agent_service, or give mesos_agent_url")
    return AgentApi(params["url"] or None, access(params), service)


def alive(containers):
    """Those whose process still is the one it was; where it is not known, they count as such."""
    return {
        name: c for name, c in containers.items() if not c.get("pid") or start_time(c["pid"]) == c.get("start_time")
    }
