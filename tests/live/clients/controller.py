"""An ingress controller: by TLS, each request to the Service that the Ingresses say, from addresses that they allow.

Usage: `python -m tests.live.clients.controller`, with JSON on standard input: `listen` (port), `certificate` and `key` (PEM), and `routes`, each
with `host`, `path`, `exact`, `to` (URL) and `allowed` (networks; all if there are none). It prints a line when it listens.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from tests.live.clients.serving import serve

_OWN = {"connection", "content-length", "host", "transfer-encoding", "x-forwarded-for", "x-forwarded-proto"}


def chosen(routes: list[dict[str, Any]], host: str, path: str) -> dict[str, Any] | None:
    """The route of a request: the longest path of its host that it is, or is below."""

    def fits(route: dict[str, Any]) -> bool:
        below = not route["exact"] and path.startswith(f"{route['path'].rstrip('/')}/")
        return bool(route["host"] == host and (path == route["path"] or below))

    return max(filter(fits, routes), key=lambda route: len(route["path"]), default=None)


def answering(routes: list[dict[str, Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Passes requests on."""

    async def answer(request: web.Request) -> web.Response:
        route = chosen(routes, request.host.partition(":")[0], request.path)
        if route is None:
            return web.Response(status=404)
        if route["allowed"] and not any(ip_address(request.remote or "") in ip_network(network) for network in route["allowed"]):
            return web.Response(status=403)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        headers |= {"Host": request.host, "X-Forwarded-For": request.remote or "", "X-Forwarded-Proto": "https"}
        url = URL(f"{route['to']}{request.raw_path}", encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, data=await request.read(), headers=headers, allow_redirects=False) as said,
        ):
            back = {name: value for name, value in said.headers.items() if name.lower() not in _OWN}
            return web.Response(status=said.status, body=await said.read(), headers=back)

    return answer


def main() -> None:
    """Serve until it is killed."""
    given: dict[str, Any] = json.load(sys.stdin)
    serve(answering(given["routes"]), given, "listening")


if __name__ == "__main__":
    main()
