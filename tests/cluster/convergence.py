"""Whether the cluster is as its objects say, and what it took."""

import time
from collections.abc import Sequence
from typing import Any

from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.platform import NAMESPACES


def missing(api: Kubernetes, namespaces: Sequence[str] = NAMESPACES) -> list[str]:
    """What is not ready yet, one line each: workloads, Jobs, PostgreSQL and certificates of the namespaces."""
    found: list[str] = []
    for o in [*api.listed("/apis/apps/v1/deployments"), *api.listed("/apis/apps/v1/statefulsets")]:
        status, wanted = o["status"], o["spec"].get("replicas", 1)
        current = status.get("observedGeneration") == o["metadata"]["generation"]
        if not current or status.get("readyReplicas", 0) != wanted or status.get("updatedReplicas", 0) != wanted:
            found.append(f"{_key(o)}: {status.get('readyReplicas', 0)} of {wanted} ready")
    found += [
        f"{_key(o)}: {o['status']['numberReady']} of {o['status']['desiredNumberScheduled']} ready"
        for o in api.listed("/apis/apps/v1/daemonsets")
        if o["status"]["numberReady"] != o["status"]["desiredNumberScheduled"]
    ]
    found += [f"Job {_key(o)}: not complete" for o in api.listed("/apis/batch/v1/jobs") if not _condition(o, "Complete")]
    for o in api.listed("/apis/postgresql.cnpg.io/v1/clusters"):
        status = o.get("status", {})
        if status.get("readyInstances") != o["spec"]["instances"] or status.get("phase") != "Cluster in healthy state":
            found.append(f"{_key(o)}: {status.get('phase')}, {status.get('readyInstances', 0)} of {o['spec']['instances']} instances")
    found += [
        f"certificate {_key(o)}: not ready" for o in api.listed("/apis/cert-manager.io/v1/certificates") if not _condition(o, "Ready")
    ]
    return [line for line in found if any(f"{namespace}/" in line for namespace in namespaces)]


def postgresql(api: Kubernetes) -> dict[str, Any]:
    """The PostgreSQL of the platform, as its operator sees it."""
    found = api.get("clusters.postgresql.cnpg.io", "postgresql-main", "matrix")
    assert found
    return found


def back_up(api: Kubernetes, name: str) -> float:
    """Take a base backup as docs/05-BACKUP-RESTORE.md says. Returns the seconds it took."""
    spec = {
        "cluster": {"name": "postgresql-main"},
        "method": "plugin",
        "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
    }
    started = time.monotonic()
    api.apply([{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": {"name": name, "namespace": "matrix"}, "spec": spec}])

    def phase() -> str:
        found = api.get("backups.postgresql.cnpg.io", name, "matrix") or {}
        current = str(found.get("status", {}).get("phase", ""))
        return current if current in ("completed", "failed") else ""

    assert wait_until(phase, 300, "the backup ends", pause=2) == "completed"
    return time.monotonic() - started


def restarts(api: Kubernetes, namespaces: Sequence[str] = NAMESPACES) -> dict[str, int]:
    """Pods whose containers were started again, as `namespace/name`, and how often."""
    found: dict[str, int] = {}
    for pod in api.listed("/api/v1/pods"):
        count = sum(container["restartCount"] for container in pod["status"].get("containerStatuses", ()))
        if count and pod["metadata"]["namespace"] in namespaces:
            found[_key(pod)] = count
    return found


def why(api: Kubernetes, namespaces: Sequence[str] = NAMESPACES) -> str:
    """What is missing, and what pods that are not ready say: for people who look into a failure."""
    lines = missing(api, namespaces)
    for pod in api.listed("/api/v1/pods"):
        metadata, status = pod["metadata"], pod["status"]
        if metadata["namespace"] not in namespaces or _condition(pod, "Ready") or status.get("phase") == "Succeeded":
            continue
        states = [
            f"{name}: {details.get('reason', '')} {details.get('message', '')[:200]}"
            for container in status.get("containerStatuses", ())
            for name, details in container["state"].items()
        ]
        scheduling = [
            c.get("message", "")[:200] for c in status.get("conditions", ()) if c["status"] == "False" and c["type"] == "PodScheduled"
        ]
        lines.append(f"  pod {_key(pod)} on {pod['spec'].get('nodeName', 'no node')}: {status.get('phase')} {states} {scheduling}")
    return "\n".join(lines)


def _key(o: dict[str, Any]) -> str:
    return f"{o['metadata']['namespace']}/{o['metadata']['name']}"


def _condition(o: dict[str, Any], kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in o.get("status", {}).get("conditions", ()))
