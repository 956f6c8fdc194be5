"""Pods, and whole nodes, go away while people send and read: nothing that was accepted is lost, and it goes on by itself or by the runbook."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.inspection.changes import changes
from app.inspection.steps import left
from tests.cluster import CLIENT, SITE, Cluster, Overlay, compiled
from tests.cluster.conftest import WHOLE_SECONDS
from tests.cluster.convergence import back_up, missing, postgresql, why
from tests.cluster.kubernetes import Kubernetes, RefusedError, wait_until
from tests.cluster.people import NAMESPACE as PEOPLE
from tests.cluster.report import Report
from tests.cluster.sandbox import NODES, name
from tests.live.report import Fault
from tests.manifests.rules.budget import quantity

DRAINED_SECONDS = 900.0
NOT_READY_SECONDS = 180.0
MATRIX = ("--namespace", "matrix")
BUSY = 4
"""Endless loops that share what the machine gives a pod."""
QUEUE = 192 * 2**20
"""Bytes that each of the pods requests that wait for room: less than what Synapse's main process does."""
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


def test_nothing_is_lost_when_the_pod_of_the_postgresql_primary_is_deleted(survive: Callable[..., Fault], api: Kubernetes) -> None:
    primary = postgresql(api)["status"]["currentPrimary"]

    def delete() -> None:
        api.kubectl("delete", "pod", primary, *MATRIX, seconds=300)
        # It serves until it is gone, and only then does another take its place.
        wait_until(lambda: postgresql(api)["status"]["currentPrimary"] != primary, 300, "another primary")

    survive("pod of the PostgreSQL primary deleted", delete)


def test_nothing_is_lost_when_the_primary_and_the_standby_of_postgresql_change_places(
    survive: Callable[..., Fault], api: Kubernetes
) -> None:
    status = postgresql(api)["status"]
    (standby,) = {*status["instanceNames"]} - {status["currentPrimary"]}

    def promote() -> None:
        # What `kubectl cnpg promote` writes: internal/cmd/plugin/promote/promote.go.
        told = {"targetPrimary": standby, "targetPrimaryTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        told |= {"phase": "Switchover in progress", "phaseReason": f"Switching over to {standby}"}
        patch = ("--subresource=status", "--type=merge", "--patch", json.dumps({"status": told}))
        api.kubectl("patch", "clusters.postgresql.cnpg.io", "postgresql-main", *MATRIX, *patch)
        wait_until(lambda: postgresql(api)["status"]["currentPrimary"] == standby, 300, f"{standby} is the primary")

    survive("switchover of PostgreSQL", promote)


def test_nothing_is_lost_when_main_is_deleted(survive: Callable[..., Fault], api: Kubernetes) -> None:
    def delete() -> None:
        api.kubectl("delete", "pod", "synapse-0", *MATRIX, seconds=300)
        api.kubectl("rollout", "status", "statefulset/synapse", *MATRIX, "--timeout=300s", seconds=330)

    survive("pod of Synapse's main process deleted", delete)


def test_nothing_is_lost_when_all_processes_of_synapse_are_rolled_at_once(survive: Callable[..., Fault], api: Kubernetes) -> None:
    """As an upgrade does; tests/live/test_synapse_start.py goes from one version to another."""
    chosen = ("--selector", "app.kubernetes.io/name=synapse")

    def roll() -> None:
        api.kubectl("rollout", "restart", "statefulset", *MATRIX, *chosen)
        api.kubectl("rollout", "status", "statefulset", *MATRIX, *chosen, "--timeout=600s", seconds=630)

    survive("all processes of Synapse rolled", roll)


def test_nothing_is_lost_when_push_is_switched_off_and_on_again(
    survive: Callable[..., Fault], rendered: Path, overlay: Overlay, api: Kubernetes, cluster: Cluster, report: Report, tmp_path: Path
) -> None:
    site, choices = tmp_path / "site.yaml", yaml.safe_load(SITE.read_text())
    del choices["features"]["push"], choices["push"]
    site.write_text(yaml.safe_dump(choices))
    without = Overlay(compiled(site, tmp_path / "dist") / rendered.name, cluster.place.folder / "without")
    # kubectl apply takes nothing away; `diff` says so of each. Configuration by another name may stay: nobody reads it.
    gone = [change.identity for change in left(changes(overlay.objects, without.objects)) if change.identity.kind != "ConfigMap"]

    def switch() -> None:
        without.apply(api)
        for identity in gone:
            api.kubectl("delete", f"{identity.kind}/{identity.name}", "--namespace", identity.namespace, seconds=120)
        wait_until(lambda: not _push(api), 120, "the pods of Sygnal are gone")
        wait_until(lambda: not missing(api), WHOLE_SECONDS, lambda: why(api), pause=3)
        assert without.difference(api) == ""
        assert overlay.apply(api) == ()
        wait_until(lambda: not missing(api), WHOLE_SECONDS, lambda: why(api), pause=3)
        assert _push(api)
        report.add("push switched off and on again", f"{len(gone)} objects had to be deleted by hand, which diff names")

    survive("push switched off and on again", switch)


def _push(api: Kubernetes) -> list[dict[str, Any]]:
    return api.objects("pods", "matrix", "app.kubernetes.io/name=sygnal")


def test_an_autoscaler_adds_a_process_under_load_and_the_platform_uses_it(
    survive: Callable[..., Fault], api: Kubernetes, report: Report
) -> None:
    def load() -> None:
        started = time.monotonic()
        # One processor, from a machine that has other things to do, for as long as metrics-server and the controller need to see it.
        busy = "timeout 300 sh -c 'while :; do :; done' >/dev/null 2>&1 &"
        api.exec("matrix", "client-reader-0", ["sh", "-c", busy * BUSY])
        api.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "statefulset/client-reader", *MATRIX, "--timeout=400s", seconds=430)
        report.add("autoscaler under load", f"a second client-reader was ready after {time.monotonic() - started:.0f} s")

    survive("an autoscaler adds a process", load)


@pytest.mark.usefixtures("applied")
def test_a_backup_completes(api: Kubernetes, report: Report) -> None:
    scheduled = {o["metadata"]["name"]: o.get("status", {}).get("phase") for o in api.objects("backups.postgresql.cnpg.io")}
    seconds = back_up(api, "by-hand")
    report.add("backup by hand", f"completed after {seconds:.0f} s; the scheduled ones: {scheduled}")


@pytest.mark.parametrize("number", NODES)
def test_nothing_is_lost_when_a_node_is_drained(number: int, survive: Callable[..., Fault], api: Kubernetes, report: Report) -> None:
    node = name(number)

    def drain() -> None:
        started = time.monotonic()
        # The people are on the first node, and stay.
        flags = (
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            f"--timeout={DRAINED_SECONDS:.0f}s",
            f"--pod-selector=app.kubernetes.io/name!={PEOPLE}",
        )
        api.kubectl("drain", node, *flags, seconds=DRAINED_SECONDS + 30)
        report.add(f"drain of {node}", f"{time.monotonic() - started:.0f} s")

    survive(f"drain of {node}", drain, lambda: _uncordon(api, node))


def _uncordon(api: Kubernetes, node: str) -> None:
    api.kubectl("uncordon", node)


def test_what_messages_need_takes_the_room_of_what_does_not_matter_on_full_nodes(
    survive: Callable[..., Fault], api: Kubernetes, report: Report
) -> None:
    """Pods of others fill all nodes to the brim, and more of them wait for what becomes free: main comes back all the same."""

    def fill() -> None:
        brim = [_filler(f"brim-{node}", _room(api, name(node)) - QUEUE // 2, node) for node in NODES]
        api.apply([*brim, *(_filler(f"queue-{number}", QUEUE) for number in range(len(NODES)))])
        wait_until(lambda: {"brim", "queue"} <= _placed(api), 120, "the nodes are full")
        api.kubectl("delete", "pod", "synapse-0", *MATRIX, seconds=300)
        api.kubectl("rollout", "status", "statefulset/synapse", *MATRIX, "--timeout=300s", seconds=330)
        left = len(api.objects("pods", "default", "app=filler"))
        report.add("main deleted on full nodes", f"it came back; {2 * len(NODES) - left} of the other pods had to go")
        assert left < 2 * len(NODES)

    remove = ("delete", "pods", "--namespace", "default", "--selector", "app=filler")
    survive("main deleted on full nodes", fill, lambda: api.kubectl(*remove, seconds=120))


def _room(api: Kubernetes, node: str) -> int:
    """The memory that nobody on a node has requested, bytes."""
    found = api.get("node", node)
    assert found
    pods = [pod for pod in api.listed("/api/v1/pods") if pod["spec"].get("nodeName") == node]
    running = [pod["spec"] for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]
    return int(quantity(found["status"]["allocatable"]["memory"]) - sum(map(_memory, running)))


def _memory(pod: dict[str, Any]) -> float:
    """What a pod requests, as the scheduler counts it: all that run together, or the one of its first steps that requests most."""
    first = pod.get("initContainers", [])
    together = [*pod["containers"], *(container for container in first if container.get("restartPolicy") == "Always")]
    requests = [[quantity(c.get("resources", {}).get("requests", {}).get("memory", 0)) for c in group] for group in (together, first)]
    return max(sum(requests[0]), *requests[1], 0)


def _filler(pod: str, memory: int, node: int | None = None) -> dict[str, Any]:
    """A pod without a priority that requests so many bytes, on one node or on any."""
    metadata = {"name": pod, "namespace": "default", "labels": {"app": "filler", "part": pod.partition("-")[0]}}
    resources = {"requests": {"memory": str(memory)}}
    container = {"name": "filler", "image": CLIENT, "command": ["sleep", "3600"], "resources": resources}
    where = {"nodeSelector": {"kubernetes.io/hostname": name(node)}} if node else {}
    spec = {**where, "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _placed(api: Kubernetes) -> set[str]:
    """Of the fillers, the parts that are as they should be: those that fill the nodes run, and all others wait."""
    wanted = {"brim": "True", "queue": "False"}
    pods = [pod for pod in api.listed("/api/v1/namespaces/default/pods") if pod["metadata"].get("labels", {}).get("app") == "filler"]
    scheduled = [
        (pod["metadata"]["labels"]["part"], condition["status"])
        for pod in pods
        for condition in pod["status"].get("conditions", ())
        if condition["type"] == "PodScheduled"
    ]
    return {part for part, status in wanted.items() if scheduled.count((part, status)) == len(NODES)}


def test_messages_go_on_after_a_lost_node_is_declared_out_of_service(
    survive: Callable[..., Fault], api: Kubernetes, cluster: Cluster, report: Report
) -> None:
    number = _busiest(api)
    node = name(number)

    def lose() -> None:
        cluster.place.set_link(number, up=False)
        started = time.monotonic()
        wait_until(lambda: not _ready(api, node), NOT_READY_SECONDS, f"{node} is seen to be gone")
        report.add(f"{node} without network", f"NotReady after {time.monotonic() - started:.0f} s")
        # As the runbook says, when it is certain that the machine is off.
        api.kubectl("taint", "node", node, OUT_OF_SERVICE)

    def repair() -> None:
        cluster.place.set_link(number, up=True)
        wait_until(lambda: _ready(api, node), NOT_READY_SECONDS, f"{node} is back")
        api.kubectl("taint", "node", node, f"{OUT_OF_SERVICE}-")

    survive(f"{node} lost, then declared out of service", lose, repair)


def _busiest(api: Kubernetes) -> int:
    """The node with the pod of Synapse's main process; the people are on the first, which is not taken."""
    main = api.get("pod", "synapse-0", "matrix")
    node = main["spec"]["nodeName"] if main else ""
    return next((number for number in (2, 3) if name(number) == node), 3)


def _ready(api: Kubernetes, node: str) -> bool:
    try:
        found = api.get("node", node) or {}
    except RefusedError:
        return True
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found.get("status", {}).get("conditions", ()))
