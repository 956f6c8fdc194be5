"""Which connections between running pods get through: by real packets, from the network of one pod to the address of another."""

import re
import select
import socket
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from attrs import frozen

from app.inspection.reach import Pod, can_reach, read_cluster
from tests.cluster.nodes import Cluster
from tests.namespaces import inside, network_of

Connection = tuple[str, str, int]
"""Source and target, as `namespace/name`, and the port."""


@frozen
class RunningPod:
    """A pod that runs, and a process of it on this machine."""

    key: str
    node: str
    address: str
    process: int
    labels: Mapping[str, str]
    owner: str


def running_pods(cluster: Cluster) -> dict[str, RunningPod]:
    """All running pods with a network of their own, by `namespace/name`."""
    processes = _processes()
    found: dict[str, RunningPod] = {}
    for pod in cluster.api.listed("/api/v1/pods"):
        metadata, status = pod["metadata"], pod["status"]
        process = processes.get(metadata["uid"])
        if process and status.get("phase") == "Running" and status.get("podIP") and not pod["spec"].get("hostNetwork"):
            key = f"{metadata['namespace']}/{metadata['name']}"
            owners = metadata.get("ownerReferences") or [{"kind": "", "name": ""}]
            owner = re.sub(r"-[0-9a-f]+$", "", owners[0]["name"]) if owners[0]["kind"] == "ReplicaSet" else owners[0]["name"]
            found[key] = RunningPod(key, pod["spec"]["nodeName"], status["podIP"], process, metadata.get("labels") or {}, owner)
    return found


def _processes() -> dict[str, int]:
    """The process that holds each pod's network, by the pod's identity, which is part of the name of its control group."""
    found: dict[str, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if (folder / "comm").read_text() != "pause\n":
                    continue
                group = (folder / "cgroup").read_text()
            except OSError:
                continue
            if named := re.search(r"/pod([0-9a-f-]{36})/", group):
                found.setdefault(named[1], int(folder.name))
    return found


def arrivals(pods: Mapping[str, RunningPod], asked: Sequence[Connection], seconds: float) -> set[Connection]:
    """Which of these TCP connections get an answer, be it a refusal by the target, within `seconds`."""
    found: set[Connection] = set()
    for source in dict.fromkeys(source for source, _, _ in asked):
        mine = [one for one in asked if one[0] == source]

        def open_all(count: int = len(mine)) -> list[socket.socket]:
            return [socket.socket() for _ in range(count)]

        sockets = inside(network_of(pods[source].process), open_all)
        found |= _answered(dict(zip(sockets, mine, strict=True)), pods, seconds)
    return found


def _answered(sockets: Mapping[socket.socket, Connection], pods: Mapping[str, RunningPod], seconds: float) -> set[Connection]:
    waiting, found = select.poll(), set()
    by_number = {one.fileno(): (one, connection) for one, connection in sockets.items()}
    for number, (one, (_, target, port)) in by_number.items():
        one.setblocking(False)
        one.connect_ex((pods[target].address, port))
        waiting.register(number, select.POLLOUT)
    deadline = time.monotonic() + seconds
    while by_number and (left := deadline - time.monotonic()) > 0:
        for number, _ in waiting.poll(left * 1000):
            one, connection = by_number.pop(number)
            waiting.unregister(number)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, 111):  # connected, or ECONNREFUSED
                found.add(connection)
    for one in sockets:
        one.close()
    return found


def meant(rendered: Sequence[Mapping[str, Any]], pods: Mapping[str, RunningPod]) -> tuple[set[Connection], set[Connection]]:
    """All connections between these pods on different nodes, on each declared TCP port and one that is not, and those of them that policies allow."""
    known = read_cluster(list(rendered))
    by_key: dict[str, Pod] = {}
    for key, pod in pods.items():
        namespace, name = key.split("/")
        own = [p for p in known.pods if p.namespace == namespace and (p.name == name or p.workload == f"{namespace}/{pod.owner}")]
        if own:
            by_key[key] = next((p for p in own if p.name == name), own[0])
    asked = {
        (source, target, port)
        for source, target in product(by_key, by_key)
        if pods[source].node != pods[target].node
        for port in {p.number for p in by_key[target].ports if p.protocol == "TCP"} | {1}
    }
    return asked, {one for one in asked if can_reach(known, by_key[one[0]], by_key[one[1]], one[2])}
