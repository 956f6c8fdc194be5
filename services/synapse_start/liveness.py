"""What the kubelet hears when it asks whether the process lives: yes while it waits, starts or stops, and else what Synapse says.

A process becomes itself anew when the list of writers has changed, in the same container: for the kubelet it has been started long ago,
and Synapse's own silence would count as a hang until it serves again.
"""

import http.client
import threading
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER_SECONDS = 10.0
"""How long Synapse may take to answer: less than the probe waits."""


class Liveness(ThreadingHTTPServer):
    """Answers on a port of its own. `serving` says whether Synapse should answer `/health` on `health_port`."""

    def __init__(self, port: int, health_port: int) -> None:
        self.health_port = health_port
        self.serving: Callable[[], bool] = lambda: False
        super().__init__(("0.0.0.0", port), _Answer)

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self.serve_forever, name="liveness", daemon=True).start()

    def alive(self) -> bool:
        """Whether nothing hangs."""
        if not self.serving():
            return True
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=ANSWER_SECONDS)) as connection:
                connection.request("GET", "/health")
                return connection.getresponse().status == HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            # A stop may have begun meanwhile.
            return not self.serving()


class _Answer(BaseHTTPRequestHandler):
    server: Liveness
    timeout = 5
    """Seconds that a client may take to ask."""

    def do_GET(self) -> None:
        self.send_response(HTTPStatus.OK if self.server.alive() else HTTPStatus.SERVICE_UNAVAILABLE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it is asked every few seconds."""
