"""Nothing may do more than it must, and nothing secret is rendered."""

from pathlib import Path
from typing import Any

import pytest

from app.inspection.secret_scan import find_secrets
from tests.manifests.rules import security
from tests.manifests.rules.mutation import Break, adding, assert_noticed, creating, deleting, setting, updating, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept, workloads

RULES = [
    security.namespace_problems,
    security.pod_security_problems,
    security.node_port_problems,
    security.hardening_problems,
    security.token_problems,
    security.resource_problems,
    security.literal_password_problems,
    security.secret_objects,
    security.image_problems,
    security.right_problems,
    security.publication_problems,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_pod_is_as_narrow_as_it_can_be(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


def test_every_exception_for_a_token_is_used(everything: Objects) -> None:
    with_token = {security.token_holder(w) for w in workloads(everything) if w.pod.get("automountServiceAccountToken")}
    assert with_token == set(security.TOKEN_HOLDERS)


def test_every_exception_for_the_network_of_nodes_is_used(everything: Objects) -> None:
    assert {w.name for w in workloads(everything) if w.pod.get("hostNetwork")} == set(security.NODE_NETWORK)


@pytest.mark.parametrize("tree", ["dist", "full_dist", "other_dist"])
def test_no_rendered_file_holds_a_secret(tree: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(tree)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(files) > 100
    assert [str(finding) for finding in find_secrets(files)] == []


def test_a_secret_in_a_rendered_file_is_noticed(dist: Path) -> None:
    path = "base/config/synapse/homeserver.yaml"
    text = (dist / path).read_text() + "registration_shared_secret: X7f2kQ9mZr4TbW1cVn8s\n"
    assert [finding.path for finding in find_secrets({path: text})] == [path]


MUTATIONS: list[tuple[Rule, Break, str]] = [
    (security.namespace_problems, without("Namespace/matrix", "metadata.labels"), "without a reason"),
    (security.namespace_problems, deleting("Namespace/matrix"), "matrix is not there"),
    (security.pod_security_problems, setting("StatefulSet/pusher", "pod.hostNetwork", True), "hostNetwork"),
    (
        security.pod_security_problems,
        adding("StatefulSet/pusher", "pod.volumes", {"name": "x", "hostPath": {"path": "/"}}),
        "hostPath",
    ),
    (security.pod_security_problems, without("Deployment/haproxy", "pod.securityContext"), "may run as root"),
    (security.pod_security_problems, setting("StatefulSet/redis", "container.securityContext", {}), "escalate"),
    (
        security.pod_security_problems,
        setting("StatefulSet/redis", "container.securityContext.capabilities.add", ["NET_ADMIN"]),
        "adds capabilities",
    ),
    (security.pod_security_problems, setting("StatefulSet/redis", "container.securityContext.runAsUser", 0), "as root"),
    (security.pod_security_problems, setting("StatefulSet/redis", "container.ports[0].hostPort", 6379), "port of the node"),
    (
        security.pod_security_problems,
        without("Tenant/minio-main", "spec.pools[0].containerSecurityContext"),
        "Tenant matrix/minio-main",
    ),
    (
        security.hardening_problems,
        setting("Deployment/haproxy", "container.securityContext.readOnlyRootFilesystem", False),
        "write to its root",
    ),
    (security.hardening_problems, without("Deployment/haproxy", "pod.securityContext.runAsUser"), "numeric user"),
    (security.token_problems, without("StatefulSet/pusher", "pod.automountServiceAccountToken"), "matrix/pusher mounts"),
    (security.token_problems, without("ServiceAccount/redis", "automountServiceAccountToken"), "hands out"),
    (security.resource_problems, without("StatefulSet/pusher", "container.resources.limits"), "matrix/pusher"),
    (security.resource_problems, without("Cluster/postgresql-main", "spec.resources.limits"), "postgresql-main"),
    (
        security.resource_problems,
        without("ObjectStore/postgresql-main", "spec.instanceSidecarConfiguration"),
        "ObjectStore",
    ),
    (
        security.literal_password_problems,
        adding("StatefulSet/pusher", "container.env", {"name": "DB_PASSWORD", "value": "hunter2"}),
        "DB_PASSWORD",
    ),
    (security.secret_objects, creating({"kind": "Secret", "metadata": {"name": "x"}}), "Secret x"),
    (security.image_problems, setting("StatefulSet/redis", "container.image", "docker.io/valkey/valkey:latest"), "latest"),
    (security.image_problems, setting("StatefulSet/redis", "container.image", "registry:5000/valkey"), "valkey"),
    (security.right_problems, deleting("ServiceAccount/secret-generator"), "no ServiceAccount"),
    (security.right_problems, deleting("Role/make-secrets-of-redis"), "no Role"),
    (security.right_problems, setting("Role/make-secrets-of-redis", "rules[0].verbs", ["*"]), "everything"),
    (security.right_problems, setting("Role/make-secrets-of-redis", "rules[0].verbs", ["list"]), "all Secrets"),
]


IN_CALLS: list[tuple[Rule, Break, str]] = [
    (security.pod_security_problems, setting("StatefulSet/lk-jwt-service", "pod.hostNetwork", True), "lk-jwt-service: uses"),
    (security.pod_security_problems, setting("DaemonSet/coturn", "pod.hostPID", True), "coturn: uses hostPID"),
    (
        security.pod_security_problems,
        setting("StatefulSet/livekit", "container.securityContext.privileged", True),
        "livekit is privileged",
    ),
    (security.node_port_problems, without("StatefulSet/livekit", "container.ports[0].hostPort"), "not said to be"),
    (
        security.node_port_problems,
        updating("StatefulSet/livekit", "container.ports[0]", containerPort=3478, hostPort=3478),
        "takes 3478",
    ),
    (security.node_port_problems, without("DaemonSet/coturn", "pod.dnsPolicy"), "names of Services"),
    (security.namespace_problems, without("Namespace/matrix-rtc", "metadata.annotations"), "without a reason"),
]


@pytest.mark.parametrize(("rule", "change", "mention"), IN_CALLS, ids=[f"{rule.__name__}-{mention[:20]}" for rule, _, mention in IN_CALLS])
def test_a_pod_of_calls_that_may_more_is_noticed(rule: Rule, change: Break, mention: str, everything: Objects) -> None:
    assert_noticed(rule, everything, change, mention)


@pytest.mark.parametrize(
    ("rule", "change", "mention"), MUTATIONS, ids=[f"{rule.__name__}-{mention[:20]}" for rule, _, mention in MUTATIONS]
)
def test_a_pod_that_may_more_is_noticed(rule: Rule, change: Break, mention: str, built: dict[str, Objects]) -> None:
    assert_noticed(rule, built["100-ccu"], change, mention)


def route_to(port: int) -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": "haproxy", "port": port}]}]
    return {"kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "matrix"}, "spec": {"rules": rules}}


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (setting("Ingress/admin", "metadata.annotations", {}), "/_synapse/admin is open to the world"),
        (deleting("Middleware/admin-sources"), "/_synapse/admin is open to the world"),
        (setting("Middleware/admin-sources", "spec.ipAllowList.sourceRange", ["0.0.0.0/0"]), "open to the world"),
        (setting("Ingress/admin", "spec.rules[0].http.paths[0].path", "/"), "leads past"),
        (setting("Ingress/admin", "spec.rules[0].http.paths[0].path", "/_synapse"), "leads past"),
        (setting("Ingress/matrix", "spec.rules[0].http.paths[0].path", "/_synapse/admin"), "open to the world"),
        (setting("Ingress/matrix", "spec.rules[0].http.paths[0].backend.service.port.number", 8009), "open to the world"),
        (setting("Ingress/admin-client", "metadata.annotations", {}), "closed in another"),
        (creating(route_to(8009)), "haproxy:8009 is open to the world"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_way_in_to_the_administration_is_noticed(change: Break, mention: str, everything: Objects) -> None:
    assert_noticed(security.publication_problems, everything, change, mention)
