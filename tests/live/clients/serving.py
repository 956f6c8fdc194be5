"""A server of aiohttp that says when it listens."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.live.clients.relay import server_context


def serve(answer: Callable[[web.Request], Awaitable[web.Response]], given: dict[str, Any], listening: str) -> None:
    """Answer every request until it is killed. `given`: `listen` (port) and, for TLS, `certificate` and `key`; `listening`: the first line."""

    async def started(_: web.Application) -> None:
        print(listening, flush=True)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    application.on_startup.append(started)
    web.run_app(application, port=given["listen"], ssl_context=server_context(given), print=None)
