#!/usr/bin/env python
"""Stands in for static-web-server with Ketesa's files, which no package registry has: it serves /var/public, and says that it is alive.

As Ketesa's image sets it up (https://github.com/etkecc/ketesa/blob/main/docker/Dockerfile): the port, the page for paths that have no file.
"""

import http.server
import os
from pathlib import Path
from typing import Any

ROOT = Path("/var/public")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, `/health`, and the page for everything else."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(ROOT))

    def do_GET(self) -> None:
        if self.path == "/health":
            self.send_response(200)
            self.end_headers()
            return
        if not (ROOT / self.path.partition("?")[0].lstrip("/")).exists():
            self.path = "/index.html"
        super().do_GET()


if __name__ == "__main__":
    http.server.ThreadingHTTPServer((os.environ["SERVER_HOST"], int(os.environ["SERVER_PORT"])), Handler).serve_forever()
