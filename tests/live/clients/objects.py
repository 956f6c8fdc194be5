"""Puts objects into a bucket and gets them, many at once, and says of each whether it was acknowledged.

Usage: python -m tests.live.clients.objects put|get ENDPOINT BUCKET PREFIX COUNT PARALLEL [SECONDS], with `access-key:secret-key` on standard input

`put` goes on for SECONDS where these are given, and for COUNT objects otherwise. What an object holds follows from its name.
"""

import hashlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SIZE = 40 * 1024
"""Bytes of an object: what MinIO does not keep in the file of its metadata, as it does small ones."""


def content(name: str) -> bytes:
    """What the object of a name holds."""
    return hashlib.shake_128(name.encode()).digest(SIZE)


def main(what: str, endpoint: str, bucket: str, prefix: str, number: str, parallel: str, seconds: str = "") -> None:
    """Print what became of the objects, as JSON."""
    access_key, secret_key = sys.stdin.read().strip().split(":")
    config = Config(
        connect_timeout=3,
        read_timeout=60,
        max_pool_connections=int(parallel),
        retries={"mode": "standard", "total_max_attempts": 4},
        s3={"addressing_style": "path"},
        region_name="us-east-1",
    )
    s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=access_key, aws_secret_access_key=secret_key, config=config)
    began, until = time.monotonic(), time.monotonic() + float(seconds or 0)
    done: dict[str, tuple[float, float]] = {}
    refused: dict[str, str] = {}

    def one(index: int) -> None:
        if seconds and time.monotonic() > until:
            return
        name, started = f"{prefix}/{index:05}", time.monotonic()
        try:
            _one(s3, what, bucket, name)
        except (BotoCoreError, ClientError, ValueError) as error:
            refused[name] = str(error)
        else:
            done[name] = (started - began, time.monotonic() - began)
            if len(done) == 1:
                print("begun", file=sys.stderr, flush=True)

    with ThreadPoolExecutor(int(parallel)) as pool:
        for index in count():
            if index >= int(number) or (seconds and time.monotonic() > until):
                break
            if seconds:
                one(index)
            else:
                pool.submit(one, index)
    ends = sorted(end for _, end in done.values())
    gap = max((later - earlier for earlier, later in zip([0.0, *ends], ends, strict=False)), default=0.0)
    longest = max((end - start for start, end in done.values()), default=0.0)
    print(json.dumps({"done": sorted(done), "refused": refused, "longest": longest, "gap": gap, "took": time.monotonic() - began}))


def _one(s3: Any, what: str, bucket: str, name: str) -> None:
    if what == "put":
        s3.put_object(Bucket=bucket, Key=name, Body=content(name))
    elif s3.get_object(Bucket=bucket, Key=name)["Body"].read() != content(name):
        raise ValueError(f"{name} holds something else")


main(*sys.argv[1:])
