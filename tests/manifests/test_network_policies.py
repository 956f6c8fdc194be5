"""The network policies, judged by an evaluator that knows nothing of how they were made: open where it must be, closed where it must be."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve
from cdk8s import App

from app.inspection.reach import Cluster, can_reach, read_cluster, resolve
from app.inspection.reach.pods import ContainerPort, Pod, Workload
from app.platform import assemble
from app.site import Site
from kit.facts import Dns
from kit.installation import Installation
from kit.network import Connection, Pods
from kit.rendering import Rendering
from overlays import profiles
from tests.manifests.reaching import closed_connections, every_pod_reaches, means, open_ports, some_pod_reaches, stranger

PROFILES = [profile.name for profile in profiles()]


OTHERS = [
    stranger("traefik", "traefik", {"app.kubernetes.io/name": "traefik"}),
    stranger("stranger", "default"),
    stranger("intruder", "matrix"),
    stranger("officer", "matrix-li"),
]


@pytest.fixture(scope="module", params=PROFILES)
def rendering(request: pytest.FixtureRequest, renderings: dict[str, Rendering]) -> Rendering:
    return renderings[request.param]


@pytest.fixture(scope="module")
def cluster(rendering: Rendering, site: Site) -> Cluster:
    return read_cluster([*map(dict, rendering.manifests()), *OTHERS], nodes=site.cluster.node_cidrs)


@pytest.fixture(scope="module")
def strict(rendering: Rendering, site: Site) -> Cluster:
    """The same, for what must be closed: with a network plugin for which an address range also means pods."""
    return read_cluster([*map(dict, rendering.manifests()), *OTHERS], nodes=site.cluster.node_cidrs, pod_network=["10.42.0.0/16"])


OPEN = [
    ("traefik/traefik", "matrix/haproxy", 8008),
    ("traefik/traefik", "matrix/element-web", 8080),
    ("matrix/haproxy", "matrix/synapse", 8008),
    ("matrix/haproxy", "matrix/receipts", 8008),
    ("matrix/haproxy", "matrix/pusher", 8080),
    ("matrix/client-reader", "matrix/event-persister", 9093),
    ("matrix/event-persister", "matrix/synapse", 9093),
    ("matrix/synchrotron", "matrix/redis-proxy", 6379),
    ("matrix/redis-proxy", "matrix/redis", 6379),
    ("matrix/redis-proxy", "matrix/redis", 26379),
    ("matrix/redis", "matrix/redis", 26379),
    ("matrix/synapse", "matrix/postgresql-main", 5432),
    ("matrix/postgresql-main", "matrix/postgresql-main", 5432),
    ("matrix/postgresql-main", "matrix/postgresql-main", 8000),
    ("cnpg-system/cnpg-controller-manager", "matrix/postgresql-main", 8000),
    ("matrix/postgresql-main", "matrix/minio-main-pool-0", 9000),
    ("matrix/media-repository", "matrix/minio-main-pool-0", 9000),
    ("matrix/minio-main-pool-0", "matrix/minio-main-pool-0", 9000),
    ("minio-operator/minio-operator", "matrix/minio-main-pool-0", 9000),
    ("minio-operator/minio-operator", "matrix-li/minio-li-pool-0", 9000),
]

CLOSED = [
    # Nothing that the ingress can reach leads to the administration, to metrics or past HAProxy.
    ("traefik/traefik", "matrix/haproxy", 8009),
    ("traefik/traefik", "matrix/haproxy", 8405),
    ("traefik/traefik", "matrix/synapse", 8008),
    ("traefik/traefik", "matrix/postgresql-main", 5432),
    ("traefik/traefik", "matrix/redis", 6379),
    ("traefik/traefik", "matrix/minio-main-pool-0", 9000),
    # Element Web hands out files, and asks nobody anything: its users' browsers do.
    ("matrix/element-web", "matrix/haproxy", 8008),
    ("matrix/element-web", "matrix/synapse", 8008),
    ("matrix/element-web", "matrix/postgresql-main", 5432),
    ("matrix/element-web", "matrix/minio-main-pool-0", 9000),
    # Data is for its clients alone.
    ("matrix/haproxy", "matrix/redis-proxy", 6379),
    ("matrix/haproxy", "matrix/redis", 6379),
    ("matrix/haproxy", "matrix/postgresql-main", 5432),
    ("matrix/haproxy", "matrix/synapse", 9093),
    ("matrix/haproxy", "matrix/synapse", 9001),
    ("matrix/synchrotron", "matrix/redis", 6379),
    ("matrix/synchrotron", "matrix/minio-main-pool-0", 9000),
    ("matrix/synapse", "matrix/postgresql-main", 8000),
    ("matrix/redis", "matrix/postgresql-main", 5432),
    ("matrix/postgresql-main", "matrix/redis-proxy", 6379),
    ("matrix/postgresql-main", "matrix/synapse", 8008),
    # The instances are apart.
    ("matrix-li/officer", "matrix/synapse", 8008),
    ("matrix-li/officer", "matrix/postgresql-main", 5432),
    ("matrix-li/officer", "matrix/minio-main-pool-0", 9000),
    ("matrix-li/minio-li-pool-0", "matrix/minio-main-pool-0", 9000),
    ("matrix/media-repository", "matrix-li/minio-li-pool-0", 9000),
    ("matrix/postgresql-main", "matrix-li/minio-li-pool-0", 9000),
]


@pytest.mark.parametrize(("source", "target", "port"), OPEN, ids=lambda value: str(value))
def test_what_has_to_talk_can(cluster: Cluster, source: str, target: str, port: int) -> None:
    assert every_pod_reaches(cluster, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), CLOSED, ids=lambda value: str(value))
def test_what_has_no_business_is_shut_out(strict: Cluster, source: str, target: str, port: int) -> None:
    assert not some_pod_reaches(strict, source, target, port)


@pytest.mark.parametrize("outsider", ["default/stranger", "matrix/intruder", "matrix-li/officer"])
def test_nobody_else_in_the_cluster_reaches_any_pod_of_the_platform(strict: Cluster, outsider: str) -> None:
    # No policy binds pods in the network of their nodes: that is for the nodes' firewall.
    ours = [pod for pod in strict.pods if pod.namespace.startswith("matrix") and not pod.host_network and pod.workload != outsider]
    assert len(ours) > 30
    reached = {str(pod): open_ports(strict, source, pod) for source in strict.workloads[outsider].pods for pod in ours}
    assert {pod: ports for pod, ports in reached.items() if ports} == {}


def test_every_namespace_of_the_platform_is_closed_by_default(rendering: Rendering) -> None:
    objects = list(rendering.manifests())
    namespaces = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"}
    closed = {o["metadata"]["namespace"] for o in objects if o["kind"] == "NetworkPolicy" and _closes_all(o["spec"])}
    assert closed == namespaces


def _closes_all(policy: Mapping[str, Any]) -> bool:
    """Whether a policy denies all pods of its namespace everything, both ways."""
    everybody = not policy["podSelector"].get("matchLabels")
    return everybody and set(policy["policyTypes"]) == {"Ingress", "Egress"} and not (policy.get("ingress") or policy.get("egress"))


def test_every_declared_connection_is_open_at_both_ends(site: Site, cluster: Cluster) -> None:
    declared = assemble(App(), site, profiles()[0]).declared.connections
    assert list(closed_connections(cluster, declared)) == []


@pytest.fixture(scope="module")
def full(full_site: Site) -> Installation:
    """The full site, in the smallest size."""
    return assemble(App(), full_site, profiles()[0])


def test_nothing_is_open_that_nobody_has_declared(full: Installation, full_site: Site) -> None:
    objects = list(map(dict, full.rendering().manifests()))
    asked, found = undeclared(full, objects, full_site)
    assert asked > 1000
    assert found == []


def test_a_policy_that_opens_more_is_noticed(full: Installation, full_site: Site) -> None:
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
    metadata = {"name": "everything", "namespace": "matrix"}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
    _, found = undeclared(full, [*map(dict, full.rendering().manifests()), policy], full_site)
    assert "matrix/element-web reaches matrix/redis-0 on 6379" in [re.sub(r"web-\d", "web", line) for line in found]


def undeclared(installation: Installation, objects: list[dict[str, Any]], site: Site) -> tuple[int, list[str]]:
    """How many undeclared connections there could be, from any workload to any port, and those that are open.

    Judged as by a network plugin for which an address range also means pods.
    """
    ours = {o["metadata"]["name"] for o in objects if o["kind"] == "Namespace"}
    cluster = read_cluster([*objects, *OTHERS], pod_network=["10.42.0.0/16"], nodes=site.cluster.node_cidrs)
    ingress = Pods("ingress", site.ingress.controller_namespace, ())
    connections = list(installation.declared.connections)
    connections += [Connection(ingress, exposure.endpoint.pods, exposure.endpoint.target) for exposure in installation.declared.exposures]
    pods = [w.pods[0] for w in cluster.workloads.values() if not w.pods[0].host_network]
    listening = [(target, port) for target in pods if target.namespace in ours for port in target.ports]
    questions = [
        (source, target, port)
        for target, port, callers in ((target, port, _callers(connections, target, port)) for target, port in listening)
        for source in pods
        if source is not target and not any(means(group, source) for group in callers)
    ]
    reached = [(a, b, port.number) for a, b, port in questions if can_reach(cluster, a, b, port.number, port.protocol)]
    return len(questions), [f"{source} reaches {target} on {number}" for source, target, number in reached]


def _callers(connections: Sequence[Connection], target: Pod, port: ContainerPort) -> list[Pods]:
    """Who has declared to call a port of a pod."""
    asked = (port.number, port.protocol)
    return [c.source for c in connections if (c.port.number, c.port.protocol) == asked and means(c.target, target)]


@pytest.mark.parametrize(("namespace", "port"), [("kube-system", 53), ("dns", 53), ("openshift-dns", 5353)])
def test_who_may_go_out_may_ask_the_dns_of_the_site(site: Site, namespace: str, port: int) -> None:
    at = evolve(site, cluster=evolve(site.cluster, dns=Dns(namespace=namespace, cidrs=())))
    objects = list(map(dict, assemble(App(), at, profiles()[0]).rendering().manifests()))
    cluster = read_cluster(objects, dns_namespace=namespace)
    pusher, dns = cluster.workloads["matrix/pusher"].pods[0], cluster.workloads[f"{namespace}/coredns"].pods[0]
    assert can_reach(cluster, pusher, dns, port, "UDP")
    assert can_reach(cluster, pusher, dns, port, "TCP")
    elsewhere = read_cluster(objects, dns_namespace="elsewhere")
    pusher, dns = elsewhere.workloads["matrix/pusher"].pods[0], elsewhere.workloads["elsewhere/coredns"].pods[0]
    assert not can_reach(elsewhere, pusher, dns, 53, "UDP")


NAMED = {
    ("matrix", "postgresql-access"): {"cnpg.io/cluster": "postgresql-main"},
    # All pods of the instance: whatever is not declared is denied to them, and so every pod of the main instance.
    ("matrix-li", "li-instance-isolation"): {},
}


@pytest.mark.parametrize("name", NAMED, ids="/".join)
def test_the_policies_that_people_look_for_have_their_names(name: tuple[str, str], rendering: Rendering) -> None:
    (policy,) = [o for key, o in rendering.objects.items() if (key.kind, key.namespace, key.name) == ("NetworkPolicy", *name)]
    assert (policy.manifest["spec"]["podSelector"].get("matchLabels") or {}) == NAMED[name]


def test_every_host_that_a_configuration_names_is_open_to_the_pods_that_read_it(rendering: Rendering, cluster: Cluster) -> None:
    checked = 0
    for workload in cluster.workloads.values():
        for text in _configuration(rendering, workload):
            for host, port in _named(text, workload.namespace):
                answer = resolve(cluster, host, workload.namespace)
                for target in getattr(answer, "pods", (answer,)):
                    if isinstance(target, Pod):
                        assert can_reach(cluster, workload.pods[0], target, port, "TCP"), f"{workload} reads of {host}:{port}"
                        checked += 1
    assert checked > 100


def _configuration(rendering: Rendering, workload: Workload) -> list[str]:
    """The texts of the ConfigMaps that a rendered workload mounts."""
    texts: list[str] = []
    for volume in _volumes(rendering, workload):
        if "configMap" in volume:
            files = rendering.config_maps[workload.namespace, volume["configMap"]["name"]]
            texts += [rendering.files[path] for path in files.values()]
    if workload.pods[0].labels.get("app.kubernetes.io/name") == "synapse":
        # A worker takes main's list of writers.
        texts.append(rendering.files["config/synapse/shards.yaml"])
    return texts


def _volumes(rendering: Rendering, workload: Workload) -> list[dict[str, Any]]:
    """The volumes of the pods of a rendered workload; none of what an operator makes."""
    found: list[dict[str, Any]] = []
    for key, placed in rendering.objects.items():
        if (key.namespace, key.name) == (workload.namespace, workload.name) and "template" in placed.manifest.get("spec", {}):
            found += placed.manifest["spec"]["template"]["spec"].get("volumes", [])
    return found


# How configuration files of the platform name a host and its port.
_FORMS = (
    r"server \S+ (?P<host>[a-z0-9.-]+\.cluster\.local)\.?:(?P<port>\d+)",
    r"host: (?P<host>[a-z0-9.-]+\.cluster\.local)\n\s+port: (?P<port>\d+)",
    r"https?://(?P<host>[a-z0-9.-]+\.cluster\.local)(?::(?P<port>\d+))?",
    r"\S+ (?P<host>[a-z0-9.-]+\.cluster\.local) (?P<port>\d+)",
)


def _named(text: str, namespace: str) -> set[tuple[str, int]]:
    found = set()
    for form in _FORMS:
        for match in re.finditer(form, text):
            if f".{namespace}." in match["host"]:
                found.add((match["host"].rstrip("."), int(match["port"] or 80)))
    return found
