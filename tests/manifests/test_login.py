"""Who gets out to whom for a login and for application services: exactly who has to, where the site names somebody, and nobody else."""

from functools import cache
from ipaddress import ip_address

import pytest

from app.compiler import render
from app.inspection.reach import WORLD, Address, Cluster, can_reach, read_cluster
from app.settings import parse_site
from main_instance.synapse.workers import AUTHENTICATING, CALLING_APPLICATION_SERVICES
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.reaching import every_pod_reaches, some_pod_reaches, stranger
from tests.manifests.rules.objects import Object

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
PROVIDER = "login: {providers: {corporate: {issuer: 'https://id.example.com:8443', client_id: matrix}}}"
NEAR = "login: {providers: {corporate: {issuer: 'https://id.example.com:8443', client_id: matrix, cidrs: [192.0.2.0/24]}}}"
DIRECTORY = "login: {ldap: {servers: ['ldaps://ldap.example.com'], cidrs: [192.0.2.0/24], base: 'dc=example,dc=com'}}"
SERVICE = "features: {authentication_service: true}"
BRIDGE = (
    "application_services: {telegram: {url: 'http://telegram.bridges.svc:80', bot: telegrambot,"
    " pods: {namespace: bridges, labels: {app: telegram}}}}"
)
FAR = "application_services: {far: {url: 'https://far.example.com', bot: far, cidrs: [192.0.2.0/24]}}"
THERE = Address("there", (ip_address("192.0.2.7"),))
ELSEWHERE = Address("elsewhere", (ip_address("10.0.0.9"),))
BRIDGES = [stranger("telegram", "bridges"), stranger("intruder", "bridges")]


@cache
def objects(site: str) -> list[Object]:
    return [dict(o) for o in expected(render(parse_site(f"{BASE}{site}\n"), profiles()[0])).values()]


@cache
def cluster(site: str) -> Cluster:
    return read_cluster([*objects(site), *BRIDGES], pod_network=["10.42.0.0/16"])


def who(site: str, address: Address, port: int) -> set[str]:
    """The processes of Synapse, and of the service that logs people in, that reach an address."""
    found = cluster(site)
    ours = [pod for pod in found.pods if pod.labels.get("app.kubernetes.io/name") in ("synapse", "matrix-authentication-service")]
    return {pod.labels["app.kubernetes.io/component"] for pod in ours if can_reach(found, pod, address, port, "TCP")} - {"media-repository"}


@pytest.mark.parametrize(
    ("site", "address", "port", "callers"),
    [
        ("", WORLD, 8443, set()),
        (PROVIDER, WORLD, 8443, AUTHENTICATING),
        (PROVIDER, WORLD, 443, set()),
        (PROVIDER, ELSEWHERE, 8443, set()),
        (NEAR, THERE, 8443, AUTHENTICATING),
        (NEAR, WORLD, 8443, set()),
        (DIRECTORY, THERE, 636, AUTHENTICATING),
        (DIRECTORY, THERE, 389, set()),
        (f"{SERVICE}\n{PROVIDER}", WORLD, 8443, {"matrix-authentication-service"}),
        (SERVICE, WORLD, 8443, set()),
        (FAR, THERE, 443, CALLING_APPLICATION_SERVICES),
        (BRIDGE, THERE, 80, set()),
    ],
)
def test_an_option_opens_one_way_to_those_who_need_it(site: str, address: Address, port: int, callers: set[str]) -> None:
    assert who(site, address, port) == callers


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
