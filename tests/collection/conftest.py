"""Fixtures of the tests of the collection."""

import json
import os
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lib.collection import LocalFleet, run_module


@pytest.fixture
def flags(tmp_path):
    """Calls agent_flags on a directory of its own; `flags.path` is that directory."""

    def call(wanted, check=False, **args):
        return run_module("agent_flags", check, **{"path": str(call.path), "flags": wanted, **args})

    call.path = tmp_path / "etc" / "mesos-slave"
    return call


@pytest.fixture
def public_dir():
    """A directory that other users can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="mesos-collection-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def fleet(public_dir, clone):
    return LocalFleet(public_dir, clone)


@pytest.fixture
def host(fleet):
    return fleet.host("host")


@pytest.fixture
def played():
    """An agent and its master, played: `played.answers[path]` is what they say, `played.url` where."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = Handler.answers.get(self.path)
            Handler.asked.append(self.path)
            Handler.told = self.headers["Authorization"]
            if Handler.leads:
                self.send_response(302)
                self.send_header("Location", Handler.leads + self.path)
            else:
                self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def do_POST(self):
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = Handler.calls.get(call["type"], (200, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    Handler.asked, Handler.told, Handler.leads = [], None, None
    Handler.calls = {}
    container = {"container_id": "c-1", "status": {"executor_pid": os.getpid()}}
    Handler.answers = {
        "/slave(1)/health": {},
        "/slave(1)/flags": {"flags": {"gc_delay": "1weeks", "isolation": "posix/cpu"}},
        "/slave(1)/state": {"id": "S1", "version": "1.11.0", "flags": {"gc_delay": "1weeks"}},
        "/slave(1)/containers": [container],
        "/metrics/snapshot": {"slave/registered": 1},
        "/master/slaves": {"slaves": [{"id": "S1", "active": True}]},
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()
