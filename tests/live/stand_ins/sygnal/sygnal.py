"""Stands in for Sygnal (`python -m sygnal.sygnal`), which no package registry has: it speaks the push gateway API and delivers to nobody.

It reads the rendered configuration: the ports and the apps. Each notification is printed as a line of JSON; the pushkeys of an app that the
configuration does not name are rejected, as Sygnal does (https://spec.matrix.org/latest/push-gateway-api/, sygnal/http.py).
"""

import json
import os
from pathlib import Path

import yaml
from aiohttp import web

CONFIG = yaml.safe_load(Path(os.environ["SYGNAL_CONF"]).read_text())


async def notify(request: web.Request) -> web.Response:
    """`POST /_matrix/push/v1/notify`."""
    notification = (await request.json())["notification"]
    print(json.dumps({"notification": notification}), flush=True)
    unknown = [device["pushkey"] for device in notification["devices"] if device["app_id"] not in CONFIG["apps"]]
    return web.json_response({"rejected": unknown})


async def health(_: web.Request) -> web.Response:
    """`GET /health`."""
    return web.Response()


def main() -> None:
    """Serve until SIGTERM. Fails at the start, as Sygnal does, when a credential that the configuration names is not there."""
    for app in CONFIG["apps"].values():
        Path(app.get("keyfile") or app["service_account_file"]).read_bytes()
    application = web.Application()
    application.add_routes([web.post("/_matrix/push/v1/notify", notify), web.get("/health", health)])
    web.run_app(application, host=CONFIG["http"]["bind_addresses"][0], port=CONFIG["http"]["port"], print=None)


main()
