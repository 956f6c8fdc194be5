"""A web server that prints each request and answers what it is told, with TLS or without.

Usage: `python -m tests.live.clients.web`, with JSON on standard input: `listen` (port), `pages` (path to type and text; another path is 404), and
for TLS `certificate` and `key` (PEM). A request is a line of JSON: `method`, `path`, `from` (address) and `body`. First it prints `{}`.
"""

import json
import sys
from typing import Any

from aiohttp import web

from tests.live.clients.relay import server_context


def application(pages: dict[str, list[str]]) -> web.Application:
    """Answers with these pages."""

    async def answer(request: web.Request) -> web.Response:
        said = {"method": request.method, "path": request.path, "from": request.remote, "body": (await request.read()).decode()}
        print(json.dumps(said), flush=True)
        kind, text = pages.get(request.path, ["", ""])
        return web.Response(text=text, content_type=kind) if kind else web.Response(status=404)

    made = web.Application()
    made.router.add_route("*", "/{path:.*}", answer)
    return made


def main() -> None:
    """Serve until it is killed."""
    given: dict[str, Any] = json.load(sys.stdin)

    async def started(_: web.Application) -> None:
        print("{}", flush=True)

    served = application(given["pages"])
    served.on_startup.append(started)
    web.run_app(served, port=given["listen"], ssl_context=server_context(given), print=None)


if __name__ == "__main__":
    main()
