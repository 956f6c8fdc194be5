"""Probes as the kubelet makes them: how often, how patient, and what counts as an answer."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, frozen

Manifest = Mapping[str, Any]
Exec = Callable[[Sequence[str], float], Awaitable[tuple[int, str]]]
"""Run a command in the container for so many seconds at most; its code and what it printed."""


@frozen
class ProbeSpec:
    """One probe with the API's defaults (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe)."""

    action: Manifest
    initial_delay: float
    period: float
    timeout: float
    successes: int
    failures: int

    @classmethod
    def read(cls, probe: Manifest) -> "ProbeSpec":
        """From its manifest."""
        return cls(
            action={key: probe[key] for key in ("httpGet", "tcpSocket", "exec") if key in probe},
            initial_delay=probe.get("initialDelaySeconds", 0),
            period=probe.get("periodSeconds", 10),
            timeout=probe.get("timeoutSeconds", 1),
            successes=probe.get("successThreshold", 1),
            failures=probe.get("failureThreshold", 3),
        )


@define
class Counter:
    """What a row of results comes to: nothing until one threshold is reached, then True or False."""

    spec: ProbeSpec
    last: bool | None = None
    row: int = 0

    def record(self, success: bool) -> bool | None:
        """Take in one result. Returns the verdict, or None while neither threshold is reached."""
        self.row = self.row + 1 if success == self.last else 1
        self.last = success
        if self.row < (self.spec.successes if success else self.spec.failures):
            return None
        return success


def port_of(container: Manifest, port: int | str) -> int:
    """The number of a port that a probe names."""
    if isinstance(port, int):
        return port
    return next(int(known["containerPort"]) for known in container.get("ports") or () if known.get("name") == port)


async def probe(spec: ProbeSpec, container: Manifest, address: str, run: Exec) -> tuple[bool, str]:
    """Make one attempt from the node. Returns whether it succeeded, and why not."""
    ((kind, action),) = spec.action.items()
    try:
        if kind == "exec":
            code, output = await run(action["command"], spec.timeout)
            return code == 0, f"code {code}: {output[-300:]}"
        host, port = action.get("host") or address, port_of(container, action["port"])
        if kind == "tcpSocket":
            return await asyncio.wait_for(_connect(host, port), spec.timeout), ""
        return await asyncio.wait_for(_get(host, port, action), spec.timeout)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
        return False, f"{type(error).__name__} {error}"


async def _connect(host: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True


async def _get(host: str, port: int, action: Manifest) -> tuple[bool, str]:
    context = None
    if action.get("scheme") == "HTTPS":
        # The kubelet does not verify certificates either.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.35", "Accept": "*/*", "Connection": "close"}
        headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {action.get('path') or '/'} HTTP/1.1\r\n{lines}\r\n".encode())
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        return 200 <= status < 400, f"status {status}"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            writer.transport.abort()
