"""The platform on a real cluster: accepted, converged, used, and left alone by a second apply."""

import time

import pytest

from tests.cluster import Cluster, Overlay
from tests.cluster.kubernetes import Kubernetes, wait_until
from tests.cluster.people import PUBLIC, scenarios
from tests.cluster.policies import RunningPod, arrivals, meant, running_pods
from tests.cluster.report import Report
from tests.cluster.sandbox import NODES
from tests.live.traffic import Traffic
from tests.live.traffic_log import lost, twice

# The sum of what is waited for; every single wait is bounded by itself.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(2400)]


def test_three_nodes_are_ready_with_dns_storage_and_operators(api: Kubernetes) -> None:
    for node in api.objects("nodes"):
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
    assert len(api.objects("nodes")) == len(NODES)
    assert {"mcluster.cnpg.io", "vcluster.cnpg.io"} <= {
        hook["name"] for kind in ("mutating", "validating") for o in api.objects(f"{kind}webhookconfigurations") for hook in o["webhooks"]
    }


def test_every_object_is_accepted_without_a_warning_and_everything_becomes_ready(applied: tuple[str, ...]) -> None:
    assert applied == ()


@pytest.mark.usefixtures("applied")
def test_a_second_apply_changes_nothing(overlay: Overlay, api: Kubernetes, report: Report) -> None:
    before = {
        o["metadata"]["uid"]: o["metadata"].get("generation") for o in api.objects("statefulsets,deployments,clusters.postgresql.cnpg.io")
    }
    overlay.apply(api)
    after = {
        o["metadata"]["uid"]: o["metadata"].get("generation") for o in api.objects("statefulsets,deployments,clusters.postgresql.cnpg.io")
    }
    assert before == after
    # A controller may write an object between the two looks of one diff.
    wait_until(
        lambda: overlay.difference(api) == "", 60, lambda: f"a GitOps tool would apply it for ever: {overlay.difference(api)[:3000]}"
    )
    report.add("second apply", "changes nothing; kubectl diff is empty")


@pytest.mark.usefixtures("applied")
def test_every_certificate_is_issued(api: Kubernetes, report: Report) -> None:
    certificates = [o for o in api.objects("certificates") if o["metadata"]["namespace"].startswith("matrix")]
    for o in certificates:
        secret = api.get("secret", o["spec"]["secretName"], o["metadata"]["namespace"])
        assert secret
        assert {"tls.crt", "tls.key"} <= secret["data"].keys()
    assert certificates
    report.add("certificates", f"{len(certificates)} issued")


def test_messages_go_from_people_to_people_through_haproxy(people: Traffic, report: Report) -> None:
    started = time.monotonic()
    wait_until(lambda: people.flows(started), 120, "everybody has sent and read")
    report.add("messages through HAProxy", f"{len(people.people)} people send and read")


@pytest.mark.usefixtures("people")
def test_packets_between_nodes_go_where_the_policies_let_them_and_nowhere_else(overlay: Overlay, cluster: Cluster, report: Report) -> None:
    pods = running_pods(cluster)
    asked, expected = meant(overlay.objects, pods)
    assert len(expected) > 50
    arrived = arrivals(pods, sorted(expected), 2)
    # What a busy machine was too slow for is asked again.
    arrived |= arrivals(pods, sorted(expected - arrived), 10)
    assert expected - arrived == set(), "these should be open"
    closed = _some(asked - expected, pods)
    assert arrivals(pods, closed, 1) == set(), "these are open and should not be"
    report.add("policies, by packets between nodes", f"{len(expected)} connections open, {len(closed)} closed, as meant")


def _some(connections: set[tuple[str, str, int]], pods: dict[str, RunningPod]) -> list[tuple[str, str, int]]:
    """One connection for each pair of workloads and port: their pods are alike."""
    chosen = {(pods[source].owner, pods[target].owner, port): (source, target, port) for source, target, port in sorted(connections)}
    return sorted(chosen.values())


@pytest.mark.usefixtures("applied")
def test_strangers_do_not_reach_what_is_published(api: Kubernetes, cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": "default"},
        "spec": {"containers": [{"name": "stranger", "image": "docker.io/tests/client:1", "command": ["sleep", "600"]}]},
    }
    api.apply([pod])
    api.kubectl("wait", "--for=condition=Ready", "pod/stranger", "--timeout=120s", seconds=150)
    ask = "import sys, urllib.request as r\ntry:\n print(r.urlopen(sys.argv[1], timeout=5).status)\nexcept OSError as error:\n print(error)"
    try:
        wait_until(lambda: "stranger" in {key.partition("/")[2] for key in running_pods(cluster)}, 30, "the stranger runs")
        assert api.exec("default", "stranger", ["python", "-c", ask, f"{PUBLIC}/_matrix/client/versions"], seconds=60).strip() != "200"
    finally:
        api.kubectl("delete", "pod", "stranger", "--wait=false")


@pytest.mark.usefixtures("people")
def test_people_use_rooms_media_and_search(api: Kubernetes, cluster: Cluster, report: Report) -> None:
    facts = scenarios(api, cluster.place.folder / "people", "messages", "media", "search", "sliding_sync")
    failed = {name: result["failed"] for name, result in facts.items() if "failed" in result}
    assert failed == {}
    report.add("scenarios of clients", ", ".join(facts))


@pytest.mark.usefixtures("applied")
def test_the_autoscalers_have_measurements(api: Kubernetes, report: Report) -> None:
    def measured() -> list[str]:
        scalers = api.objects("horizontalpodautoscalers")
        active = [
            o["metadata"]["name"]
            for o in scalers
            if any(c["type"] == "ScalingActive" and c["status"] == "True" for c in o["status"].get("conditions", ()))
        ]
        return active if len(active) == len(scalers) else []

    report.add("autoscalers", f"{len(wait_until(measured, 180, 'every autoscaler has measurements', pause=5))} have measurements")


def test_nothing_that_was_accepted_is_missing(people: Traffic) -> None:
    people.check()
    assert lost(people.lines()) == set()
    assert twice(people.lines()) == set()
