#!/usr/bin/env python
"""Stands in for Loki, which tests/live/test_loki.py runs where Go has built it: it keeps lines that come by its API in its rendered bucket.

Usage: loki -config.file=FILE. Each push is an object of the bucket; a question is answered from them, one tenant's alone. No LogQL.
"""

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import boto3
import yaml
from aiohttp import web

CONFIG = yaml.safe_load(Path(sys.argv[1].partition("=")[2]).read_text())
STORAGE = CONFIG["common"]["storage"]["s3"]
OVERRIDES = yaml.safe_load(Path(CONFIG["runtime_config"]["file"]).read_text())["overrides"]


def bucket() -> Any:
    """The bucket, with the keys that are mounted."""
    s3 = boto3.resource("s3", endpoint_url=STORAGE["endpoint"], region_name=STORAGE["region"])
    return s3.Bucket(STORAGE["bucketnames"])


def tenant(request: web.Request) -> str:
    """Who asks; nobody without a name."""
    name = request.headers.get("X-Scope-OrgID")
    if not name:
        raise web.HTTPUnauthorized(text="no org id")
    return name


async def push(request: web.Request) -> web.Response:
    """`POST /loki/api/v1/push`, in JSON."""
    key = f"{tenant(request)}/{uuid.uuid4()}"
    bucket().put_object(Key=key, Body=json.dumps(await request.json()).encode())
    return web.Response(status=204)


async def query(request: web.Request) -> web.Response:
    """`GET /loki/api/v1/query_range`: all streams of a tenant."""
    objects = bucket().objects.filter(Prefix=f"{tenant(request)}/")
    streams = [stream for found in objects for stream in json.loads(found.get()["Body"].read())["streams"]]
    result = [{"stream": stream["stream"], "values": stream["values"]} for stream in streams]
    return web.json_response({"status": "success", "data": {"resultType": "streams", "result": result}})


async def ready(_: web.Request) -> web.Response:
    """`GET /ready`: the bucket answers."""
    next(iter(bucket().objects.limit(1)), None)
    return web.Response(text="ready\n")


async def metrics(_: web.Request) -> web.Response:
    """`GET /metrics`."""
    return web.Response(text="loki_build_info 1\n")


def main() -> None:
    """Serve until SIGTERM. It writes to its volume, as Loki does."""
    assert OVERRIDES
    assert Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).read_text()
    (Path(CONFIG["common"]["path_prefix"]) / "wal").mkdir(exist_ok=True)
    application = web.Application()
    application.add_routes([web.post("/loki/api/v1/push", push), web.get("/loki/api/v1/query_range", query)])
    application.add_routes([web.get("/ready", ready), web.get("/metrics", metrics)])
    web.run_app(application, host="0.0.0.0", port=CONFIG["server"]["http_listen_port"], print=None)


main()
