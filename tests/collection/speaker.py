"""A process that answers as an agent does, where and how its arguments and variables say: see test_agent_address.py.

Prints the ports that it listens on. An argument goes before the variable; TLS is spoken as libprocess' variables say.
"""

import json
import os
import socket
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWERS = {
    "/slave(1)/health": {},
    "/slave(1)/flags": {"flags": {}},
    "/slave(1)/state": {"id": "S1", "version": "1.11.0"},
    "/slave(1)/containers": [],
    "/metrics/snapshot": {"slave/registered": 1},
    "/version": {"version": "1.11.0"},
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = ANSWERS.get(self.path)
        status = int(os.environ.get("SPEAKER_STATUS") or (404 if answer is None else 200))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in os.environ.get("SPEAKER_IP", "") else socket.AF_INET

    def handle_error(self, request, client_address):
        pass  # a client that does not like our certificate


def context():
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(os.environ["LIBPROCESS_SSL_CERT_FILE"], os.environ["LIBPROCESS_SSL_KEY_FILE"])
    if os.environ.get("LIBPROCESS_SSL_REQUIRE_CERT") == "true":
        found.load_verify_locations(os.environ["LIBPROCESS_SSL_CA_FILE"])
        found.verify_mode = ssl.CERT_REQUIRED
    return found


def main():
    ip = os.environ.get("SPEAKER_IP", "127.0.0.1")
    given = [int(word.partition("=")[2]) for word in sys.argv if word.startswith("--port=")]
    ports = given or [int(port) for port in os.environ.get("MESOS_PORT", "0").split()]
    servers = [Server((ip, ports[0]), Handler)]
    others = [socket.create_server((ip, 0)) for _ in range(int(os.environ.get("SPEAKER_OTHERS", "0")))]
    for server in servers:
        if os.environ.get("LIBPROCESS_SSL_ENABLED") == "true":
            server.socket = context().wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(servers[0].server_address[1], *[other.getsockname()[1] for other in others], flush=True)
    servers[0].serve_forever()


main()
