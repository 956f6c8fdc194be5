"""A bridge in the cluster: who calls it, whom it may call, and what it is known by."""

from functools import cache

from app.compiler import render
from app.inspection.reach import Cluster, read_cluster
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.reaching import every_pod_reaches, some_pod_reaches, stranger
from tests.manifests.rules.objects import Object

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
BRIDGE = (
    "application_services: {telegram: {url: 'http://telegram.bridges.svc:80', bot: telegrambot,"
    " pods: {namespace: bridges, labels: {app: telegram}}}}"
)
FAR = "application_services: {far: {url: 'https://far.example.com', bot: far, cidrs: [192.0.2.0/24]}}"
BRIDGES = [stranger("telegram", "bridges"), stranger("intruder", "bridges")]


@cache
def objects(site: str) -> list[Object]:
    return [dict(o) for o in expected(render(parse_site(f"{BASE}{site}\n"), profiles()[0])).values()]


@cache
def cluster(site: str) -> Cluster:
    return read_cluster([*objects(site), *BRIDGES], pod_network=["10.42.0.0/16"])


def test_a_bridge_in_the_cluster_is_called_and_calls_back_at_its_own_door() -> None:
    found = cluster(BRIDGE)
    for caller in ("synapse", "appservice", "client-reader", "event-creator"):
        assert every_pod_reaches(found, f"matrix/{caller}", "bridges/telegram", 80), caller
    assert not some_pod_reaches(found, "matrix/receipts", "bridges/telegram", 80)
    assert not some_pod_reaches(found, "matrix/appservice", "bridges/intruder", 80)
    assert every_pod_reaches(found, "bridges/telegram", "matrix/haproxy", 8010)
    for port in (8008, 8009, 8405):
        assert not some_pod_reaches(found, "bridges/telegram", "matrix/haproxy", port)
    assert not some_pod_reaches(found, "bridges/intruder", "matrix/haproxy", 8010)


def test_without_a_bridge_the_proxy_has_no_door_for_one() -> None:
    for site in ("", FAR):
        (proxy,) = [o for o in objects(site) if (o["kind"], o["metadata"]["name"]) == ("Deployment", "haproxy")]
        ports = [port["containerPort"] for port in proxy["spec"]["template"]["spec"]["containers"][0]["ports"]]
        assert 8010 not in ports


def test_no_token_of_an_application_service_is_in_what_is_rendered() -> None:
    requests = [o["data"]["request.json"] for o in objects(BRIDGE) if o["kind"] == "ConfigMap" and "request.json" in o.get("data", {})]
    (text,) = [request for request in requests if "random-text" in request]
    assert "as_token" in text
    assert not any("as_token:" in str(o) for o in objects(BRIDGE) if "request.json" not in o.get("data", {}))
