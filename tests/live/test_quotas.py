"""A real API server admits what the quotas are for: every autoscaler at its ceiling, operators' pods, an update of everything at once."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from app.compiler import compile_site
from app.settings import read_site
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.processes import wait_for
from tests.manifests.rules.budget import quantity
from tests.manifests.rules.objects import Object, Objects, of_kind

pytestmark = [pytest.mark.live, pytest.mark.optional]

KINDS = ("Namespace", "ResourceQuota", "LimitRange", "PriorityClass", "ServiceAccount", "ConfigMap", "StatefulSet", "Deployment", "Job")
HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}


def container(name: str, resources: Any) -> Object:
    return {"name": name, "image": "example.org/image:1", "securityContext": {"runAsNonRoot": True, **HARDENED}, "resources": resources}


def stand_in(owner: Object, name: str, replicas: int, containers: list[Object], sizes: list[str]) -> Object:
    """Pods like those that an operator makes for a custom resource."""
    claims = [
        {
            "metadata": {"name": f"data-{number}"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        }
        for number, size in enumerate(sizes)
    ]
    labels = {"stands-for": name}
    spec = {
        "replicas": replicas,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        "volumeClaimTemplates": claims,
    }
    metadata = {"name": f"{name}-stand-in", "namespace": owner["metadata"]["namespace"]}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


def operated(objects: Objects) -> Iterator[Object]:
    for cluster in of_kind(objects, "Cluster"):
        spec, name = cluster["spec"], cluster["metadata"]["name"]
        (store,) = (o for o in of_kind(objects, "ObjectStore") if o["metadata"]["name"] == name)
        sidecar = store["spec"]["instanceSidecarConfiguration"]["resources"]
        containers = [container("postgres", spec["resources"]), container("plugin", sidecar)]
        sizes = [spec["storage"]["size"], spec["walStorage"]["size"]]
        # One more than it has: the Job that makes an instance, or a restored backup.
        yield stand_in(cluster, name, spec["instances"] + 1, containers, sizes)
    for tenant in of_kind(objects, "Tenant"):
        for pool in tenant["spec"]["pools"]:
            size = pool["volumeClaimTemplate"]["spec"]["resources"]["requests"]["storage"]
            containers, name = (
                [container("minio", pool["resources"]), container("sidecar", {})],
                f"{tenant['metadata']['name']}-{pool['name']}",
            )
            yield stand_in(tenant, name, pool["servers"], containers, [size] * pool["volumesPerServer"])


def at_the_ceiling(objects: Objects) -> Objects:
    """What Kubernetes' own controllers make pods of, autoscaled to the most."""
    most = {
        (o["spec"]["scaleTargetRef"]["kind"], o["spec"]["scaleTargetRef"]["name"]): o["spec"]["maxReplicas"]
        for o in of_kind(objects, "HorizontalPodAutoscaler")
    }
    found = deepcopy(of_kind(objects, *KINDS))
    for o in found:
        if o["kind"] in ("StatefulSet", "Deployment"):
            o["spec"]["replicas"] = most.get((o["kind"], o["metadata"]["name"]), o["spec"].get("replicas", 1))
    return found


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """The shipped site, in the size with the most autoscaled processes."""
    folder = tmp_path_factory.mktemp("dist")
    write(folder, compile_site(read_site(ROOT / "tests" / "site.yaml"), profiles()[-1:]))
    return build(folder / "base")


@pytest.fixture(scope="module")
def cluster(objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("control-plane")
    with control_plane(folder) as plane:
        plane.apply(of_kind(objects, "Namespace", "ResourceQuota", "LimitRange"), folder)
        wait_for(lambda: all("used" in o.get("status", {}) for o in plane.objects("resourcequotas")), 60, "the quotas are in force")
        yield plane


def refusals(cluster: ControlPlane) -> list[str]:
    return [event["message"] for event in cluster.objects("events") if event["reason"] == "FailedCreate"]


def pods(cluster: ControlPlane) -> int:
    return len(cluster.objects("pods"))


def test_every_declared_pod_is_admitted_also_in_the_middle_of_an_update(cluster: ControlPlane, objects: Objects, tmp_path: Path) -> None:
    workloads = [*at_the_ceiling(objects), *operated(objects)]
    cluster.apply(workloads, tmp_path)
    wanted = sum(o["spec"].get("replicas", 1) for o in workloads if o["kind"] in ("StatefulSet", "Deployment", "Job"))
    wait_for(lambda: pods(cluster) >= wanted or refusals(cluster), 120, f"{wanted} pods")
    assert refusals(cluster) == []
    for deployment in of_kind(workloads, "Deployment"):
        metadata = deployment["metadata"]
        cluster.kubectl("rollout", "restart", f"deployment/{metadata['name']}", "--namespace", metadata["namespace"])
    # With Recreate the old pod has gone before the new one comes.
    during = wanted + sum(o["spec"]["strategy"]["type"] != "Recreate" for o in of_kind(workloads, "Deployment"))
    wait_for(lambda: pods(cluster) >= during or refusals(cluster), 120, f"{during} pods")
    assert refusals(cluster) == []
    for quota in cluster.objects("resourcequotas"):
        used, hard = quota["status"]["used"], quota["status"]["hard"]
        assert all(quantity(used[key]) <= quantity(hard[key]) for key in hard), quota["metadata"]["namespace"]


def pod(name: str, resources: Any) -> Object:
    spec = {"containers": [container("a", resources)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "matrix"}, "spec": spec}


def test_what_nobody_has_declared_is_refused(cluster: ControlPlane, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exceeded quota: platform"):
        cluster.apply([pod("miner", {"requests": {"cpu": "500", "memory": "1Gi"}, "limits": {"memory": "1Gi"}})], tmp_path)


def test_a_container_that_says_nothing_gets_its_share_and_is_not_throttled(cluster: ControlPlane, tmp_path: Path) -> None:
    cluster.apply([pod("looking-around", {})], tmp_path)
    (found,) = [o for o in cluster.objects("pods", "matrix") if o["metadata"]["name"] == "looking-around"]
    assert found["spec"]["containers"][0]["resources"] == {"limits": {"memory": "256Mi"}, "requests": {"cpu": "25m", "memory": "64Mi"}}
