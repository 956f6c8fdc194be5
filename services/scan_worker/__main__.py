"""Run the scan worker: `python -m services.scan_worker SETTINGS`.

It ends on SIGTERM, after the files that are being scanned. Exit codes: 0 ended as asked; 1 something cannot be used, which is said.
"""

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from services.scan_worker import logs
from services.scan_worker.configuration import ConfigurationError, read
from services.scan_worker.server import Service, application

_SHUTDOWN_SECONDS = 60.0
_BUFFER_BYTES = 64 * 1024


def _listener(host: str, port: int) -> socket.socket:
    """A socket whose connections take in little, so that those who wait for their turn keep their files to themselves. Raises OSError."""
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        listener.bind(where)
    except OSError:
        listener.close()
        raise
    return listener


async def _serve(service: Service) -> None:
    # Bodies are taken as they come: decompressing one would be a way to fill the memory.
    runner = web.AppRunner(
        application(service), access_log=None, auto_decompress=False, shutdown_timeout=_SHUTDOWN_SECONDS, read_bufsize=_BUFFER_BYTES
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await runner.setup()
    try:
        listen = service.settings.listen
        await web.SockSite(runner, _listener(listen.host, listen.port), backlog=1024).start()
        await stop.wait()
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="scan_worker", description="Have files scanned by clamd and ICAP servers, over HTTP.")
    parser.add_argument("settings", type=Path, help="the settings file (YAML)")
    parser.add_argument("--check", action="store_true", help="only say whether the settings can be used")
    options = parser.parse_args(arguments)
    try:
        service = Service.of(read(options.settings))
    except ConfigurationError as error:
        for line in str(error).splitlines():
            print(f"{options.settings}: {line}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if options.check:
        return 0
    logs.configure()
    try:
        asyncio.run(_serve(service))
    except OSError as error:
        print(f"cannot listen on {service.settings.listen.host}:{service.settings.listen.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
