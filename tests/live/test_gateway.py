"""Traefik, asked as a Gateway: each host is reached by TLS and by nothing else, as the rendered HTTPRoutes and the deployment guide's Gateway say.

A real API server has the definitions of the Gateway API. Behind each Service stands a program that answers with the Service's name, at an
address that a pod may have; people come to Traefik's own ports.
"""

import json
import re
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from attrs import frozen

from app.compiler import render
from app.objects import objects
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import ROOT
from tests.live.certificates import Authority, authority
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.processes import LOOPBACK, wait_for
from tests.live.traefik import Answer, Backend, ask, define, own_address, running_traefik, slices, traefik
from tests.manifests.rules.objects import Object, Objects, of_kind

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(600)]

GUIDE = (ROOT / "docs" / "01-DEPLOYMENT-GUIDE.md").read_text().partition("## A Gateway in place")[2].partition("\n## ")[0]
SITE, GATEWAY = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
(OWN_LISTENER,) = re.findall(r"^#    listeners: .*$", SITE, re.MULTILINE)
NAMESPACE = "gateways"
CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "traefik"},
    "spec": {"controllerName": "traefik.io/gateway-controller"},
}
HSTS = "max-age=31536000"


@frozen
class Published:
    """A platform behind Traefik. `http`, `https`: its ports."""

    cluster: ControlPlane
    routes: Objects
    ca: Authority
    http: int
    https: int

    def ask(self, host: str, path: str, *, tls: bool) -> Answer:
        """Ask for a page as a browser does."""
        with socket.create_connection((LOOPBACK, self.https if tls else self.http), timeout=20) as plain:
            context = ssl.create_default_context(cadata=self.ca.certificate)
            with context.wrap_socket(plain, server_hostname=host) if tls else plain as stream:
                return ask(stream, host, path)

    def route(self, name: str, namespace: str) -> Object:
        """An HTTPRoute as the API server has it."""
        got = self.cluster.kubectl("get", "httproute", name, "--namespace", namespace, "--output", "json")
        found: Object = json.loads("\n".join(got.lines))
        return found


def backends(routes: Objects) -> set[Backend]:
    """Each port of a Service that a route names."""
    return {
        (o["metadata"]["namespace"], b["name"], b["port"])
        for o in routes
        for rule in o["spec"]["rules"]
        for b in rule.get("backendRefs", [])
    }


def certificates(gateway: Object, routes: Objects, ca: Authority) -> Iterator[Object]:
    """The Secrets that the Gateway names. One certificate is for all hosts, so that whichever a host gets is right."""
    certificate, key = ca.issue(*sorted({host for o in routes for host in o["spec"]["hostnames"]}))
    for listener in gateway["spec"]["listeners"]:
        for reference in listener.get("tls", {}).get("certificateRefs", []):
            metadata = {"name": reference["name"], "namespace": NAMESPACE}
            data = {"tls.crt": certificate, "tls.key": key}
            yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    program = traefik()
    folder: Path = tmp_path_factory.mktemp("gateway")
    address, ca = own_address(), authority("The organisation")
    # With the host that has a listener of its own, which the guide shows; and with calls, whose host is in another namespace.
    choices = SITE.replace(OWN_LISTENER, OWN_LISTENER.removeprefix("#")) + "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\n"
    site = parse_site(f"server_name: example.com\nimages: {{registry: registry.example.com}}\n{choices}")
    assert site.ingress.gateway
    rendered = [dict(o) for o in objects(render(site, profiles()[0]))]
    routes, services = of_kind(rendered, "HTTPRoute"), of_kind(rendered, "Service")
    gateway = yaml.safe_load(GATEWAY)
    (shared,) = (listener for listener in gateway["spec"]["listeners"] if listener["protocol"] == "HTTPS")
    gateway["spec"]["listeners"] += [{**shared, "name": name, "hostname": host} for host, name in site.ingress.gateway.listeners]
    namespaces = {o["metadata"]["namespace"] for o in [*routes, *services]} | {NAMESPACE}
    with ExitStack() as held:
        plane = held.enter_context(control_plane(folder))
        define(plane, folder)
        plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(namespaces)], folder)
        plane.apply([*services, *slices(backends(routes), services, address, held)], folder)
        providers = {"kubernetesGateway": {"statusAddress": {"ip": LOOPBACK}}}
        started, http_port, https_port = held.enter_context(running_traefik(program, plane, folder, providers))
        for listener in gateway["spec"]["listeners"]:
            listener["port"] = {8000: http_port, 8443: https_port}[listener["port"]]
        plane.apply([CLASS, gateway, *certificates(gateway, routes, ca), *routes], folder)
        here = Published(plane, routes, ca, http_port, https_port)
        started.ready(lambda: all(map(accepted, plane.objects("httproutes"))), 60)
        yield here


def accepted(route: Object) -> bool:
    """Whether every listener that it names has taken it, and its Services are there."""
    parents = route.get("status", {}).get("parents", [])
    conditions = [{c["type"]: c["status"] for c in parent["conditions"]} for parent in parents]
    return bool(parents) and all(c.get("Accepted") == c.get("ResolvedRefs") == "True" for c in conditions)


def pages(routes: Objects) -> Iterator[tuple[str, str, str]]:
    """Each host and path that is published, with the Service that answers there."""
    for o in routes:
        for rule in o["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                for match in rule["matches"]:
                    service = f"{o['metadata']['namespace']}/{backend['name']}:{backend['port']}"
                    yield from ((host, match["path"]["value"], service) for host in o["spec"]["hostnames"])


def test_each_host_is_answered_by_its_own_service_over_tls_and_told_to_stay_there(published: Published) -> None:
    wanted = list(pages(published.routes))
    assert {host for host, *_ in wanted} == {"example.com", "matrix.example.com", "element.example.com", "rtc.example.com"}
    for host, path, service in wanted:
        answer = wait_for(lambda: published.ask(host, path, tls=True), 20, host)  # noqa: B023
        assert (answer.code, answer.service) == (200, service), (host, path)
        assert answer.headers["Strict-Transport-Security"] == HSTS
        assert answer.heard["headers"]["Host"] == host
        assert answer.heard["headers"]["X-Forwarded-Proto"] == "https"


def test_who_comes_by_http_is_sent_to_https_and_answered_by_no_service(published: Published) -> None:
    for host, path, _ in pages(published.routes):
        answer = published.ask(host, f"{path.rstrip('/')}/a?b=c", tls=False)
        assert (answer.code, answer.service) == (301, ""), (host, path)
        assert answer.headers["Location"] == f"https://{host}{path.rstrip('/')}/a?b=c"


def test_a_route_is_attached_to_the_listener_that_it_names_alone(published: Published) -> None:
    there = [
        o for o in published.cluster.objects("httproutes") if o["metadata"]["name"] in {r["metadata"]["name"] for r in published.routes}
    ]
    listeners = Counter(parent["parentRef"]["sectionName"] for o in there for parent in o["status"]["parents"])
    (gateway,) = published.cluster.objects("gateways", NAMESPACE)
    assert {listener["name"]: listener["attachedRoutes"] for listener in gateway["status"]["listeners"]} == dict(listeners)
    assert sum(listeners.values()) == len(published.routes)
    assert listeners["https-element"] == 1
    assert listeners["http"] == sum(o["metadata"]["name"] == "to-https" for o in published.routes)


def test_no_other_host_is_answered(published: Published) -> None:
    answer = published.ask("other.example.com", "/", tls=False)
    assert (answer.code, answer.service) == (404, "")


def test_identifiers_that_hold_encoded_characters_arrive_as_they_were_sent(published: Published) -> None:
    path = "/_matrix/client/v3/directory/room/%23a%2Fb%3B%3F%25%5C:example.com"
    answer = published.ask("matrix.example.com", path, tls=True)
    assert (answer.code, answer.heard.get("path")) == (200, path)


def changed(published: Published, name: str, host: str, section: str | None) -> Object:
    """Another host, published as the homeserver is, by another listener or by no one in particular."""
    route = next(o for o in published.routes if "matrix.example.com" in o["spec"]["hostnames"] and o["metadata"]["name"] != "to-https")
    parent = {key: value for key, value in route["spec"]["parentRefs"][0].items() if key != "sectionName"}
    spec = {**route["spec"], "hostnames": [host], "parentRefs": [parent | ({"sectionName": section} if section else {})]}
    return {**route, "metadata": {"name": name, "namespace": route["metadata"]["namespace"]}, "spec": spec}


@contextmanager
def applied(published: Published, folder: Path, o: Object) -> Iterator[None]:
    """Beside what is rendered, until the end of the block."""
    published.cluster.apply([o], folder)
    try:
        yield
    finally:
        of = (o["metadata"]["name"], "--namespace", o["metadata"]["namespace"])
        published.cluster.kubectl("delete", "httproute", *of, "--wait")


def test_a_route_that_names_no_listener_would_be_answered_in_the_clear(published: Published, tmp_path: Path) -> None:
    host = "clear.example.com"
    with applied(published, tmp_path, changed(published, "clear", host, None)):
        wait_for(lambda: published.ask(host, "/_matrix/client/versions", tls=False).service, 30, "an answer by a Service")


def test_a_route_to_a_listener_that_is_not_there_says_so_as_the_guide_does(published: Published, tmp_path: Path) -> None:
    route = changed(published, "lost", "lost.example.com", "imaginary")
    with applied(published, tmp_path, route):
        name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]

        def reasons() -> set[str]:
            parents = published.route(name, namespace).get("status", {}).get("parents", [])
            return {c["reason"] for parent in parents for c in parent["conditions"] if c["type"] == "Accepted"}

        assert wait_for(reasons, 30, "a word about it") == {"NoMatchingParent"}
        assert "`NoMatchingParent`" in GUIDE
