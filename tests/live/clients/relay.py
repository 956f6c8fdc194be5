"""Listens and passes connections on, with TLS or without: a load balancer, or an ingress controller that asks for no certificate.

Usage: `python -m tests.live.clients.relay`, with JSON on standard input: `listen` (port), `to` (host and port), and for TLS `certificate` and
`key` (PEM). It prints its address when it listens.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any


async def serve(given: dict[str, Any]) -> None:
    """Until it is killed."""
    host, port = given["to"]

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(host, port)
            await asyncio.gather(_copy(reader, back), _copy(there, writer))

    server = await asyncio.start_server(passed, "0.0.0.0", given["listen"], ssl=server_context(given))
    print(socket.gethostbyname(socket.gethostname()), flush=True)
    await server.serve_forever()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        target.close()


def server_context(given: dict[str, Any]) -> ssl.SSLContext | None:
    """TLS with the given certificate, if there is one."""
    if "certificate" not in given:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tls.pem")
        file.write_text(given["certificate"] + given["key"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
    return context


if __name__ == "__main__":
    asyncio.run(serve(json.load(sys.stdin)))
