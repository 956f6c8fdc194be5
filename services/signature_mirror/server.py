"""The mirror's HTTP server: what has been published, and nothing else. It runs before anything has been published too."""

import asyncio
import re
import signal
from pathlib import Path

from aiohttp import web

from services.signature_mirror.publication import LIST_FILE

_NAME = re.compile(r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")
_PUBLIC = web.AppKey("public", Path)


async def _file(request: web.Request) -> web.StreamResponse:
    name = request.match_info["name"]
    path = request.app[_PUBLIC] / name
    if not _NAME.match(name) or not path.is_file() or path.is_symlink():
        raise web.HTTPNotFound
    # With Last-Modified, and answers to If-Modified-Since and Range, which freshclam uses.
    return web.FileResponse(path, chunk_size=256 * 1024)


async def _health(_: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


async def _ready(request: web.Request) -> web.StreamResponse:
    """Whether there are signatures to be had. For people and alerts: pods must not wait for it to be sent to."""
    there = (request.app[_PUBLIC] / LIST_FILE).is_file()
    return web.json_response({"signatures": there}, status=200 if there else 503)


def application(public: Path) -> web.Application:
    """The server as an aiohttp application."""
    app = web.Application()
    app[_PUBLIC] = public
    app.add_routes([web.get("/health", _health), web.get("/signatures", _ready), web.get("/{name}", _file)])
    return app


async def serve(public: Path, host: str, port: int) -> None:
    """Serve until SIGTERM. Raises OSError if it cannot listen there."""
    runner = web.AppRunner(application(public), access_log=None, shutdown_timeout=20)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await stop.wait()
    finally:
        await runner.cleanup()
