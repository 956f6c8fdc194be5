#!/usr/bin/env python
"""Stands in for Grafana Alloy, which Go has to build: it sends one line of its own for each tenant to Loki.

Usage: alloy run FILE --storage.path=FOLDER ... It is ready when Loki has taken them. It reads no pods: the node of the tests has no such API.
"""

import asyncio
import re
import sys
import time
from pathlib import Path

from aiohttp import ClientError, ClientSession, web

CONFIG = Path(sys.argv[2]).read_text()
OPTIONS = dict(argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[3:])
(URL,) = re.findall(r'url = "(.*)"', CONFIG)
TENANTS = sorted({*re.findall(r'replacement += "(platform|audit)"', CONFIG)})
sent: set[str] = set()


async def send() -> None:
    """Until Loki takes it."""
    async with ClientSession() as session:
        while missing := [tenant for tenant in TENANTS if tenant not in sent]:
            for tenant in missing:
                line = [str(time.time_ns()), f"a line of {tenant}"]
                streams = {"streams": [{"stream": {"job": "alloy", "level": "INFO"}, "values": [line]}]}
                try:
                    async with session.post(URL, json=streams, headers={"X-Scope-OrgID": tenant}) as answer:
                        if answer.status == 204:
                            sent.add(tenant)
                except ClientError as error:
                    print(error, flush=True)
            await asyncio.sleep(1)


async def ready(_: web.Request) -> web.Response:
    """`GET /-/ready`."""
    return web.Response(status=200 if sent == set(TENANTS) else 503)


async def metrics(_: web.Request) -> web.Response:
    """`GET /metrics`."""
    return web.Response(text=f"alloy_build_info {len(sent)}\n")


async def begin(application: web.Application) -> None:
    """Beside the server."""
    application["sending"] = asyncio.create_task(send())


def main() -> None:
    """Serve until SIGTERM. It writes to its volume, as Alloy does."""
    (Path(OPTIONS["storage.path"]) / "positions.yml").touch()
    application = web.Application()
    application.on_startup.append(begin)
    application.add_routes([web.get("/-/ready", ready), web.get("/metrics", metrics)])
    host, _, port = OPTIONS["server.http.listen-addr"].partition(":")
    web.run_app(application, host=host, port=int(port), print=None)


main()
