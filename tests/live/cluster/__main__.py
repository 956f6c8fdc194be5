"""The node's program: first process of its own namespaces, so that all in them ends with it. Started by `client.py`, which it listens to.

Usage: python -m tests.live.cluster SOCKET
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import traceback
from ipaddress import IPv4Network
from typing import Any

from tests.live.cluster import network
from tests.live.cluster.node import Node
from tests.live.cluster.requests import Requests


async def serve(path: str) -> None:
    """Answer one test run, until it hangs up."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**28)
    requests: Requests | None = None
    tasks: set[asyncio.Task[None]] = set()

    async def answer(request: dict[str, Any]) -> None:
        try:
            value = await getattr(requests, request["call"])(**request["arguments"])
            text = {"id": request["id"], "value": value}
        except Exception as error:
            text = {"id": request["id"], "error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(text).encode() + b"\n")
        await writer.drain()

    async for line in reader:
        request = json.loads(line)
        if request["call"] == "begin":
            given = request["arguments"]
            node = Node(IPv4Network(given["pod_cidr"]), IPv4Network(given["node_cidr"]), given["domain"])
            await node.begin()
            requests = Requests(node)
            writer.write(json.dumps({"id": request["id"], "value": None}).encode() + b"\n")
            continue
        task = asyncio.create_task(answer(request))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    # Nothing is ended one by one: the kernel does it, all at once.
    os._exit(0)


def main() -> None:
    """Be the first process of the namespaces: when this ends, so does everything in them."""
    os.umask(0o022)
    # As container runtimes have it: the limit of a shell is low.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    # What the node keeps is in memory, and gone with it.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=75%,mode=0755", "tmpfs", "/run"], check=True, timeout=10)
    network.NAMESPACES.mkdir(parents=True)
    if sys.version_info < (3, 12):
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        asyncio.run(serve(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
