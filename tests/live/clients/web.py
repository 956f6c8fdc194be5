"""A web server that prints each request and answers what it is told, with TLS or without.

Usage: `python -m tests.live.clients.web`, with JSON on standard input: `listen` (port), `pages` (path to type and text; another path is 404), and
for TLS `certificate` and `key` (PEM). A request is a line of JSON: `method`, `path`, `from` (address) and `body`. First it prints `{}`.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.live.clients.serving import serve


def answering(pages: dict[str, list[str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answers with these pages."""

    async def answer(request: web.Request) -> web.Response:
        said = {"method": request.method, "path": request.path, "from": request.remote, "body": (await request.read()).decode()}
        print(json.dumps(said), flush=True)
        kind, text = pages.get(request.path, ["", ""])
        return web.Response(text=text, content_type=kind) if kind else web.Response(status=404)

    return answer


def main() -> None:
    """Serve until it is killed."""
    given: dict[str, Any] = json.load(sys.stdin)
    serve(answering(given["pages"]), given, "{}")


if __name__ == "__main__":
    main()
