"""The cluster itself keeps a cluster's promises, and the real API server, webhooks and quotas accept what is rendered.

Nothing of the platform runs here: it is applied while no node takes pods. `make test-nodes` runs these alone, as `.ci/run` does.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overlays import profiles
from tests.cluster import CLIENT, Cluster, Overlay
from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.platform import NAMESPACES
from tests.cluster.report import Report
from tests.cluster.sandbox import NODES, name

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

SPACE = "tests-of-nodes"
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8080)"
ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).status)"


def pod(app: str, node: int, program: str, claim: str = "") -> dict[str, Any]:
    """A pod on a node, which may have a volume."""
    container: dict[str, Any] = {"name": "program", "image": CLIENT, "command": ["python", "-c", program], "workingDir": "/tmp"}
    spec: dict[str, Any] = {
        "nodeSelector": {"kubernetes.io/hostname": name(node)},
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": app, "namespace": SPACE, "labels": {"app": app}}, "spec": spec}


@pytest.fixture(scope="module")
def pods(api: Kubernetes) -> Iterator[None]:
    """A server on the second node behind a Service, and clients on the others, one with a volume."""
    sleep = "import time; time.sleep(3600)"
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    service = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
    api.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": SPACE}, "spec": claim},
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server", "namespace": SPACE}, "spec": service},
            pod("friend", 1, sleep),
            pod("server", 2, SERVE),
            pod("stranger", 3, sleep, claim="data"),
        ]
    )
    names = ("pod/friend", "pod/server", "pod/stranger")
    api.kubectl("wait", "--for=condition=Ready", "--namespace", SPACE, "--timeout=300s", *names, seconds=330)
    yield
    api.kubectl("delete", "namespace", SPACE, "--wait=false")


def reaches(api: Kubernetes, who: str) -> bool:
    """Whether a pod gets an answer of the server by the name of its Service."""
    words = ["exec", "--namespace", SPACE, who, "--", "python", "-c", ASK, f"http://server.{SPACE}.svc.cluster.local"]
    return api.kubectl(*words, codes=(0, 1), seconds=60).output.strip() == "200"


def test_three_nodes_are_ready(api: Kubernetes) -> None:
    conditions = [{c["type"]: c["status"] for c in node["status"]["conditions"]} for node in api.objects("nodes")]
    assert [c["Ready"] for c in conditions] == ["True"] * len(NODES)


@pytest.mark.usefixtures("pods")
def test_a_claim_gets_a_volume_that_a_pod_can_write_to(api: Kubernetes, cluster: Cluster) -> None:
    api.exec(SPACE, "stranger", ["sh", "-c", "echo hello > /data/greeting"])
    (greeting,) = (cluster.place.folder / "volumes").rglob("greeting")
    assert greeting.read_text() == "hello\n"
    assert name(3) in greeting.parts


@pytest.mark.usefixtures("pods")
def test_pods_of_different_nodes_reach_each_other_by_the_names_of_services_unless_a_policy_says_no(api: Kubernetes, report: Report) -> None:
    for who in ("friend", "stranger"):
        wait_until(lambda who=who: reaches(api, who), 60, f"{who} reaches the server")  # type: ignore[misc]
    allowed = [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": 8080}]}]
    spec = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": allowed}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "friends", "namespace": SPACE},
        "spec": spec,
    }
    api.apply([policy])
    wait_until(lambda: not reaches(api, "stranger"), 60, "the stranger is kept out")
    wait_until(lambda: reaches(api, "friend"), 60, "the friend is let in")
    report.add("a policy, by packets between nodes", "kept the stranger out and let the friend in")


def test_every_object_is_accepted_by_the_real_webhooks_and_a_second_apply_changes_nothing(
    overlay: Overlay, api: Kubernetes, report: Report
) -> None:
    nodes = [name(node) for node in NODES]
    api.kubectl("cordon", *nodes)
    try:
        assert overlay.apply(api) == ()
        assert overlay.apply(api) == ()
        # A controller may write an object between the two looks of one diff.
        wait_until(
            lambda: overlay.difference(api) == "", 120, lambda: f"a GitOps tool would apply it for ever: {overlay.difference(api)[:3000]}"
        )
        certificates = wait_until(lambda: _issued(api), 180, "every certificate is issued", pause=2)
        refused = [event["message"] for space in NAMESPACES for event in api.objects("events", space) if event["reason"] == "FailedCreate"]
        assert refused == [], "quotas, Pod Security, limits"
        found = api.get("clusters.postgresql.cnpg.io", "postgresql-main", "matrix")
        assert found, "the webhook has accepted it"
    finally:
        api.kubectl("uncordon", *nodes)
    report.add("objects accepted by the API server and webhooks", f"{len(overlay.objects)}, without a warning; kubectl diff is empty")
    report.add("certificates", f"{certificates} issued")


def test_every_larger_size_is_accepted_over_the_smallest(rendered: Path, api: Kubernetes, cluster: Cluster, report: Report) -> None:
    """By the API server and the webhooks, which are asked and keep nothing: no node here has room for the pods."""
    assert api.get("clusters.postgresql.cnpg.io", "postgresql-main", "matrix"), "the smallest is there"
    larger = [profile.name for profile in profiles() if profile.name != rendered.name]
    for size in larger:
        assert Overlay(rendered.parent / size, cluster.place.folder / size, runs=False).apply(api, "--dry-run=server") == ()
    report.add("larger sizes over the smallest", f"{', '.join(larger)} are accepted without a warning (asked, not applied)")


def _issued(api: Kubernetes) -> int:
    """How many certificates there are, if all are issued; else 0."""
    certificates = [o for o in api.objects("certificates") if o["metadata"]["namespace"].startswith("matrix")]
    ready = [any(c["type"] == "Ready" and c["status"] == "True" for c in o.get("status", {}).get("conditions", ())) for o in certificates]
    return len(ready) if all(ready) else 0
