"""Pods, and whole nodes, go away while people send and read: nothing that was accepted is lost, and it goes on by itself or by the runbook."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.cluster.convergence import missing, why
from tests.cluster.kubernetes import Kubernetes, RefusedError, wait_until
from tests.cluster.report import Report
from tests.cluster.sandbox import name
from tests.live.report import Fault
from tests.live.traffic import Traffic
from tests.live.traffic_log import lost, twice

RECOVERY_SECONDS = 600.0
WHOLE_SECONDS = 900.0
DRAINED_SECONDS = 900.0
NOT_READY_SECONDS = 180.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]


@pytest.fixture
def survive(people: Traffic, report: Report, api: Kubernetes) -> Callable[..., Fault]:
    def run(what: str, happens: Callable[[], None], repair: Callable[[], None] = lambda: None) -> Fault:
        try:
            found = people.survive(what, happens, RECOVERY_SECONDS)
        finally:
            repair()
        report.faults.append(found)
        assert found.lost == 0, lost(people.lines())
        assert found.twice == 0, twice(people.lines())
        # The next fault finds the platform whole.
        wait_until(lambda: not missing(api), WHOLE_SECONDS, lambda: why(api), pause=3)
        return found

    return run


def postgresql(api: Kubernetes) -> dict[str, Any]:
    """The PostgreSQL of the platform, as its operator sees it."""
    found = api.get("clusters.postgresql.cnpg.io", "postgresql-main", "matrix")
    assert found
    return found


def test_nothing_is_lost_when_the_pod_of_the_postgresql_primary_is_deleted(survive: Callable[..., Fault], api: Kubernetes) -> None:
    primary = postgresql(api)["status"]["currentPrimary"]

    def delete() -> None:
        api.kubectl("delete", "pod", primary, "--namespace", "matrix", seconds=300)
        # It serves until it is gone, and only then does another take its place.
        wait_until(lambda: postgresql(api)["status"]["currentPrimary"] != primary, 300, "another primary")

    survive("pod of the PostgreSQL primary deleted", delete)


def test_nothing_is_lost_when_main_is_deleted(survive: Callable[..., Fault], api: Kubernetes) -> None:
    def delete() -> None:
        api.kubectl("delete", "pod", "synapse-0", "--namespace", "matrix", seconds=300)
        api.kubectl("rollout", "status", "statefulset/synapse", "--namespace", "matrix", "--timeout=300s", seconds=330)

    survive("pod of Synapse's main process deleted", delete)


@pytest.mark.usefixtures("applied")
def test_a_backup_completes(api: Kubernetes, report: Report) -> None:
    scheduled = {o["metadata"]["name"]: o.get("status", {}).get("phase") for o in api.objects("backups.postgresql.cnpg.io")}
    backup = {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Backup",
        "metadata": {"name": "by-hand", "namespace": "matrix"},
        "spec": {
            "cluster": {"name": "postgresql-main"},
            "method": "plugin",
            "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
        },
    }
    started = time.monotonic()
    api.apply([backup])

    def phase() -> str:
        found = api.get("backups.postgresql.cnpg.io", "by-hand", "matrix") or {}
        current = str(found.get("status", {}).get("phase", ""))
        return current if current in ("completed", "failed") else ""

    assert wait_until(phase, 300, "the backup ends", pause=2) == "completed"
    report.add("backup by hand", f"completed after {time.monotonic() - started:.0f} s; the scheduled ones: {scheduled}")


def test_nothing_is_lost_when_a_node_is_drained(survive: Callable[..., Fault], api: Kubernetes, report: Report) -> None:
    node = name(2)

    def drain() -> None:
        started = time.monotonic()
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAINED_SECONDS:.0f}s")
        api.kubectl("drain", node, *flags, seconds=DRAINED_SECONDS + 30)
        report.add(f"drain of {node}", f"{time.monotonic() - started:.0f} s")

    survive(f"drain of {node}", drain, lambda: _uncordon(api, node))


def _uncordon(api: Kubernetes, node: str) -> None:
    api.kubectl("uncordon", node)


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
