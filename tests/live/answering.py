"""What nodes and operators would say of objects, on a control plane that has neither: it is written into their status.

Nothing runs. A pod is ready, a Job has ended and a database is healthy as soon as it is seen, unless a test wants to see what waits for it.
"""

import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.live.control_plane import ControlPlane
from tests.manifests.rules.objects import Object

Status = dict[str, Any]
Statuses = Mapping[str, Callable[[Object], Status]]
"""What is said of each object of a kind, by the path of the kind's list."""
_HEARTBEAT_SECONDS = 10
"""A node that says nothing for 50 s is lost (kube-controller-manager, --node-monitor-grace-period)."""


def _node(node: Object) -> Status:
    beat = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() // _HEARTBEAT_SECONDS * _HEARTBEAT_SECONDS))
    if any(condition["lastHeartbeatTime"] == beat for condition in node.get("status", {}).get("conditions", [])):
        return {}
    return {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": beat}]}


def _pod(pod: Object) -> Status:
    if pod["status"].get("phase", "Pending") != "Pending":
        return {}
    if pod["metadata"]["ownerReferences"][0]["kind"] == "Job":
        return {"phase": "Succeeded"}
    return {"phase": "Running", "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled")]}


def _always(status: Status) -> Callable[[Object], Status]:
    return lambda _: status


_READY = _always({"conditions": [{"type": "Ready", "status": "True"}]})
NODES: Statuses = {"/api/v1/nodes": _node}
PODS: Statuses = {"/api/v1/pods": _pod}
EVERYTHING: Statuses = {
    **NODES,
    **PODS,
    # cert-manager, pkg/apis/certmanager/v1/types_certificate.go and types_issuer.go.
    "/apis/cert-manager.io/v1/certificates": _READY,
    "/apis/cert-manager.io/v1/issuers": _READY,
    # cloudnative-pg, api/v1/cluster_types.go and database_funcs.go.
    "/apis/postgresql.cnpg.io/v1/clusters": _always({"phase": "Cluster in healthy state"}),
    "/apis/postgresql.cnpg.io/v1/databases": lambda o: {"applied": True, "observedGeneration": o["metadata"]["generation"]},
    # minio/operator, pkg/controller/main-controller.go.
    "/apis/minio.min.io/v2/tenants": _always({"currentState": "Initialized"}),
}


@contextmanager
def answering(plane: ControlPlane, statuses: Statuses) -> Iterator[set[str]]:
    """Say it for the time of a `with` block. The value: the paths of kinds of which nothing is said yet."""
    silent: set[str] = set()
    ended = threading.Event()

    def say() -> None:
        while not ended.wait(0.3):
            for path in statuses.keys() - silent:
                for o in _listed(plane, path):
                    _say(plane, path, o, statuses[path](o))

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield silent
    finally:
        ended.set()
        thread.join(30)


def _listed(plane: ControlPlane, path: str) -> list[Object]:
    """The objects of a kind; none while the API server begins to serve it, or has too much to do."""
    try:
        found: list[Object] = plane.ask(path)["items"]
        return found
    except urllib.error.HTTPError as error:
        if error.code != 429:
            raise
        return []


def _say(plane: ControlPlane, path: str, o: Object, status: Status) -> None:
    said = o.get("status", {})
    if all(said.get(key) == value for key, value in status.items()):
        return
    list_of, _, plural = path.rpartition("/")
    metadata = o["metadata"]
    scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    try:
        plane.ask(f"{list_of}{scope}/{plural}/{metadata['name']}/status", "PATCH", {"status": status})
    except urllib.error.HTTPError as error:
        # It has gone or changed meanwhile.
        assert error.code in (404, 409), error  # noqa: PT017 - nothing else is expected
