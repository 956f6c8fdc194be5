"""Servers in this process that stand in for others."""

import contextlib
import json
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler

from tests.live.processes import LOOPBACK


class HttpHandler(BaseHTTPRequestHandler):
    """Answers requests, and prints no line for each."""

    def answer(self, status: int, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send an answer. `headers`: besides its length, or another than that."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def answer_json(self, status: int, content: object) -> None:
        """Send something as JSON."""
        self.answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextlib.contextmanager
def serving(
    handler: type[socketserver.StreamRequestHandler], address: str = LOOPBACK, port: int = 0, context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Answer for the time of a block; the port, of this server's own choice if it is 0. `context`: for TLS."""
    with _Server((address, port), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)
