"""What a cluster lacks is said before anything is applied, each thing in one line with what to do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from app.compiler import render
from app.inspection.prerequisites import CILIUM_CONFIG, RESOURCES, ClusterState, Wanted, findings, state_of
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import ROOT

SITE = """
server_name: example.com
images: {registry: registry.example.com}
features: {calls: true, li: true}
li: {country_code: DE, owner: operator, officers: {a@example.net: A (approver)}}
cluster: {node_cidrs: [10.0.0.0/24]}
storage_classes: {database: fast}
"""
WANTED = Wanted(
    "traefik", {"traefik": "ingress.controller_namespace", "kube-system": "cluster.dns.namespace"}, ("10.0.0.0/24",), ("10.0.0.0/8",)
)
VERSION = {"serverVersion": {"major": "1", "minor": "35+"}}
CALLS = {"matrix-platform/livekit": "true", "matrix-platform/coturn": "true"}
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rendered() -> Objects:
    return [dict(manifest) for manifest in render(parse_site(SITE), profiles()[0]).manifests()]


def named(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, **rest.pop("metadata", {})}, **rest}


def definition(group: str, kind: str, version: str) -> dict[str, Any]:
    spec = {"group": group, "names": {"kind": kind}, "versions": [{"name": version, "served": True}]}
    return named("CustomResourceDefinition", f"{kind.lower()}s.{group}", spec=spec)


def node(number: int) -> dict[str, Any]:
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
        "allocatable": {"cpu": "4", "memory": "16Gi"},
    }
    return named("Node", f"node-{number}", metadata={"labels": dict(CALLS)}, status=status)


@pytest.fixture
def cluster() -> Objects:
    """A cluster that has what the site needs."""
    kinds = [
        ("postgresql.cnpg.io", "Cluster", "v1"),
        *(("postgresql.cnpg.io", kind, "v1") for kind in ("ScheduledBackup", "Database", "DatabaseRole")),
        ("barmancloud.cnpg.io", "ObjectStore", "v1"),
        ("minio.min.io", "Tenant", "v2"),
        ("cert-manager.io", "Issuer", "v1"),
        ("cert-manager.io", "Certificate", "v1"),
        ("traefik.io", "Middleware", "v1alpha1"),
    ]
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    return [
        *(definition(*kind) for kind in kinds),
        *map(node, (1, 2, 3)),
        named("StorageClass", "standard", metadata=default, allowVolumeExpansion=True),
        named("StorageClass", "fast", allowVolumeExpansion=True),
        named("IngressClass", "traefik"),
        named(
            "EndpointSlice",
            "kubernetes",
            metadata={"labels": {"kubernetes.io/service-name": "kubernetes"}},
            endpoints=[{"addresses": ["10.0.0.1"]}],
            ports=[{"port": 6443}],
        ),
        *(named("Namespace", name) for name in ("traefik", "kube-system")),
        named("APIService", "v1beta1.metrics.k8s.io", status={"conditions": [{"type": "Available", "status": "True"}]}),
    ]


def missing(rendered: Objects, cluster: Objects, version: dict[str, Any] = VERSION) -> list[str]:
    return [
        f"{found.requirement}: {found.seen}" for found in findings(rendered, WANTED, state_of(version, {"items": cluster})) if not found.met
    ]


def test_a_cluster_that_has_everything_lacks_nothing(rendered: Objects, cluster: Objects) -> None:
    assert missing(rendered, cluster) == []


def test_where_keda_scales_nobody_asks_for_the_use_of_processors(rendered: Objects, cluster: Objects) -> None:
    _drop(cluster, "APIService", "v1beta1.metrics.k8s.io")
    by_keda = [_scaled_object(o) if o["kind"] == "HorizontalPodAutoscaler" else o for o in rendered]
    assert missing(by_keda, cluster) == ["ScaledObject of keda.sh/v1alpha1: not there"]
    assert missing(by_keda, [*cluster, definition("keda.sh", "ScaledObject", "v1alpha1")]) == []


def _scaled_object(scaler: Mapping[str, Any]) -> dict[str, Any]:
    spec = scaler["spec"]
    counts = {"minReplicaCount": spec["minReplicas"], "maxReplicaCount": spec["maxReplicas"]}
    return {
        **scaler,
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "spec": {"scaleTargetRef": spec["scaleTargetRef"], **counts},
    }


def test_an_old_kubernetes_is_seen(rendered: Objects, cluster: Objects) -> None:
    assert missing(rendered, cluster, {"serverVersion": {"major": "1", "minor": "33"}}) == ["Kubernetes 1.35 or newer: 1.33"]


BREAKS: list[tuple[str, Callable[[Objects], Any], str]] = [
    ("no operator", lambda o: _drop(o, "CustomResourceDefinition", "tenants.minio.min.io"), "Tenant of minio.min.io/v2: not there"),
    (
        "an older operator",
        lambda o: _the(o, "CustomResourceDefinition", "clusters.postgresql.cnpg.io")["spec"]["versions"][0].update(name="v1beta1"),
        "Cluster of postgresql.cnpg.io/v1: v1beta1",
    ),
    ("no such class", lambda o: _drop(o, "StorageClass", "fast"), "StorageClass fast: not there"),
    (
        "no default class",
        lambda o: _the(o, "StorageClass", "standard")["metadata"]["annotations"].clear(),
        "a default StorageClass: not there",
    ),
    (
        "a class that cannot expand",
        lambda o: _the(o, "StorageClass", "fast").update(allowVolumeExpansion=False),
        "StorageClass fast that can expand: fast, which cannot expand volumes",
    ),
    (
        "a node that is not ready",
        lambda o: _the(o, "Node", "node-3")["status"]["conditions"][0].update(status="False"),
        "3 nodes that are ready, since no two of redis share one: 2",
    ),
    (
        "no node for calls",
        lambda o: [o_["metadata"]["labels"].clear() for o_ in o if o_["kind"] == "Node"],
        "1 nodes labelled matrix-platform/livekit=true for livekit: 0",
    ),
    (
        "a node elsewhere",
        lambda o: _the(o, "Node", "node-2")["status"]["addresses"][0].update(address="10.1.0.2"),
        "every node within cluster.node_cidrs: 10.1.0.2",
    ),
    (
        "small nodes",
        lambda o: [o_["status"]["allocatable"].update(memory="2Gi") for o_ in o if o_["kind"] == "Node"],
        "6.0 Gi, in use or not",
    ),
    ("no metrics", lambda o: _drop(o, "APIService", "v1beta1.metrics.k8s.io"), "by which autoscalers see the use of CPU: not there"),
    (
        "an API server on the internet",
        lambda o: _the(o, "EndpointSlice", "kubernetes").update(endpoints=[{"addresses": ["203.0.113.5"]}]),
        "the API server within cluster.api_server_cidrs: 203.0.113.5",
    ),
    (
        "an API server on another port",
        lambda o: _the(o, "EndpointSlice", "kubernetes").update(ports=[{"port": 16443}]),
        "the API server on port 443 or 6443: 16443",
    ),
    ("no ingress class", lambda o: _drop(o, "IngressClass", "traefik"), "IngressClass traefik: not there"),
    ("DNS elsewhere", lambda o: _drop(o, "Namespace", "kube-system"), "the namespace kube-system of cluster.dns.namespace: not there"),
]


def _the(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    (found,) = (o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)
    return found


def _drop(objects: Objects, kind: str, name: str) -> None:
    objects.remove(_the(objects, kind, name))


@pytest.mark.parametrize(("change", "seen"), [(change, seen) for _, change, seen in BREAKS], ids=[name for name, _, _ in BREAKS])
def test_what_is_missing_is_seen(change: Callable[[Objects], Any], seen: str, rendered: Objects, cluster: Objects) -> None:
    broken = deepcopy(cluster)
    change(broken)
    found = missing(rendered, broken)
    assert any(seen in line for line in found), found


def cilium(**data: str) -> Objects:
    return [definition("cilium.io", "CiliumEndpoint", "v2"), named("ConfigMap", "cilium-config", data=data)]


def test_cilium_that_matches_no_node_is_seen_with_the_policies_that_name_some(rendered: Objects, cluster: Objects) -> None:
    (said,) = missing(rendered, [*cluster, *cilium()])
    policies = said.partition("to them: ")[2].partition(": not set")[0].split(", ")
    # Who asks the API server, and whom LiveKit calls, which is in the network of its node.
    assert {"matrix/secret-generator", "matrix/postgresql-access", "matrix/redis-proxy"} <= set(policies)
    # Who goes to the internet, or to pods alone.
    assert not {"matrix/haproxy", "matrix/federation-sender", "matrix/element-web"} & set(policies)


def test_cilium_that_matches_nodes_is_right(rendered: Objects, cluster: Objects) -> None:
    assert missing(rendered, [*cluster, *cilium(**{"policy-cidr-match-mode": "nodes"})]) == []


def test_cilium_whose_configuration_one_may_not_read_is_said(rendered: Objects, cluster: Objects) -> None:
    (said,) = missing(rendered, [*cluster, *cilium()[:1]])
    assert said.endswith("the ConfigMap cilium-config cannot be read")


def test_without_policies_that_name_nodes_cilium_may_be_as_it_is(rendered: Objects, cluster: Objects) -> None:
    assert missing([o for o in rendered if o["kind"] != "NetworkPolicy"], [*cluster, *cilium()]) == []


def test_every_requirement_that_is_not_met_says_what_to_do(rendered: Objects) -> None:
    assert all(found.advice for found in findings(rendered, WANTED, ClusterState((1, 30), [])) if not found.met)


def test_the_command_only_reads_and_says_what_kubectl_says(tmp_path: Path, cluster: Objects) -> None:
    site, calls = tmp_path / "site.yaml", tmp_path / "calls"
    site.write_text(SITE)
    (tmp_path / "version.json").write_text(json.dumps(VERSION))
    (tmp_path / "objects.json").write_text(json.dumps({"items": [*cluster, *cilium(**{"policy-cidr-match-mode": "nodes"})[:1]]}))
    (tmp_path / "cilium.json").write_text(json.dumps({"items": cilium(**{"policy-cidr-match-mode": "nodes"})[1:]}))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\ncase $* in *version*) cat {tmp_path}/version.json ;;'
        f" *cilium-config*) cat {tmp_path}/cilium.json ;; *) cat {tmp_path}/objects.json ;; esac\n"
    )
    kubectl.chmod(0o755)
    command = [sys.executable, "-O", "-m", "app", "check", "--cluster", "--context", "test", "--site", str(site)]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "100-ccu: the cluster has what the site needs")
    asked = "--output json --request-timeout 20s"
    assert calls.read_text().splitlines() == [
        f"--context test version {asked}",
        f"--context test get {','.join(RESOURCES)} --namespace default {asked}",
        f"--context test get {' '.join(CILIUM_CONFIG)} {asked}",
    ]
    kubectl.write_text("#!/bin/sh\necho 'error: you must be logged in' >&2; exit 1\n")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert f"kubectl version {asked}: error: you must be logged in\n" in done.stderr
