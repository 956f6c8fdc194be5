"""Traefik lets officers alone in to the lawful-intercept instance: by a certificate of their authority, from where they sit.

A real API server has what is rendered. Behind the instance's Services stand the rendered proxy with a real key vault, and programs that say which
Service they stand for.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from app.compiler import render
from app.objects import objects
from app.settings import parse_site
from li_instance.access_proxy.component import CLIENT_AUTHORITY
from li_instance.access_proxy.configuration import CASES, HOMESERVER
from overlays import profiles
from tests.live.certificates import Authority, authority
from tests.live.control_plane import ControlPlane, control_plane
from tests.live.key_vault_site import ANNA, DORA, PUBLIC_HOST, SERVER_NAME
from tests.live.li_doors import READ_USER, Doors, open_doors
from tests.live.processes import LOOPBACK, wait_for
from tests.live.traefik import Answer, Backend, ask, define, own_address, running_traefik, slices, traefik
from tests.manifests.rules.objects import Object, Objects, namespace_of, of_kind

pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(600)]

OFFICE, BALANCER = "127.0.0.17", "127.0.0.33"
"""Where officers sit, and a load balancer in front of Traefik."""
BALANCERS = "127.0.0.32/28"
SITE = f"""
server_name: {SERVER_NAME}
images: {{registry: registry.example.com}}
features: {{li: true}}
hosts: {{cases_li: {PUBLIC_HOST}}}
li:
  country_code: DE
  owner: example-operator
  officers: {{anna@authority.example: Anna Adler (investigator), clara@authority.example: Clara Cohn (approver)}}
"""
OFFICES = "127.0.0.16/28"
OF_LI, MAIN = "matrix-li", f"matrix.{SERVER_NAME}"
LI_HOSTS = (f"matrix-li.{SERVER_NAME}", f"element-li.{SERVER_NAME}", f"admin-li.{SERVER_NAME}", PUBLIC_HOST)
HOMESERVER_LI, VERSIONS = LI_HOSTS[0], "/_matrix/client/versions"
INGRESS_CLASS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IngressClass",
    "metadata": {"name": "traefik"},
    "spec": {"controller": "traefik.io/ingress-controller"},
}
REFUSED = "TLSV1_ALERT_|TLSV13_ALERT_|SSLV3_ALERT_"
"""How OpenSSL tells that the other side has ended the connection for what was shown, or for what was not."""


@frozen
class Published:
    """A platform behind Traefik, and those who sign officers' certificates. `http`, `https`: its ports."""

    cluster: ControlPlane
    doors: Doors
    folder: Path
    routes: Objects
    ca: Authority
    officers: Authority
    http: int
    https: int

    def ask(
        self,
        host: str,
        path: str = "/",
        shown: str | None = None,
        *,
        source: str = OFFICE,
        headers: Mapping[str, str] | None = None,
        said: str | None = "",
    ) -> Answer:
        """Ask by TLS. `shown`: a certificate with its key. `said`: another name in TLS than in the request, or none."""
        context = ssl.create_default_context(cadata=self.ca.certificate)
        if said != "":
            # One certificate is not for what has no name.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if shown:
            (self.folder / "shown.pem").write_text(shown)
            context.load_cert_chain(self.folder / "shown.pem")
        with (
            socket.create_connection((LOOPBACK, self.https), timeout=20, source_address=(source, 0)) as plain,
            context.wrap_socket(plain, server_hostname=host if said == "" else said) as stream,
        ):
            return ask(stream, host, path, headers)

    def anna(self) -> str:
        """A certificate of an officer."""
        return self.officers.person(ANNA)

    def trust(self, *authorities: Authority) -> None:
        """Say who signs officers' certificates, as the operations guide says it."""
        text = "".join(one.certificate for one in authorities)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CLIENT_AUTHORITY, "namespace": OF_LI}, "type": "Opaque"}
        self.cluster.apply([{**secret, "stringData": {"ca.crt": text}}], self.folder)


def compiled(options: str) -> list[Object]:
    return [dict(o) for o in objects(render(parse_site(f"{SITE}\ningress: {{{options}}}\n"), profiles()[0]))]


def pages(routes: Objects) -> Iterator[tuple[str, str, Backend]]:
    """Each host and path that is published, with what answers there."""
    for o in routes:
        for rule in o["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                yield rule["host"], path["path"], (namespace_of(o), service["name"], service["port"]["number"])


def certificates(routes: Objects, ca: Authority) -> Iterator[Object]:
    """The Secrets that the Ingresses name."""
    certificate, key = ca.issue(*sorted({host for host, *_ in pages(routes)}))
    for namespace, name in sorted({(namespace_of(o), tls["secretName"]) for o in routes for tls in o["spec"]["tls"]}):
        data = {"tls.crt": certificate, "tls.key": key}
        metadata = {"name": name, "namespace": namespace}
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": data}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    program = traefik()
    folder: Path = tmp_path_factory.mktemp("officers")
    address, ca, officers = own_address(), authority("The organisation"), authority("The authority")
    rendered = compiled(f"li_source_ranges: [{OFFICES}]")
    routes, services = of_kind(rendered, "Ingress"), of_kind(rendered, "Service")
    with ExitStack() as held:
        doors = held.enter_context(open_doors(folder, address))
        plane = held.enter_context(control_plane(folder))
        define(plane, folder)
        namespaces = sorted({namespace_of(o) for o in [*routes, *services]})
        plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces], folder)
        real = {(OF_LI, "li-proxy", number): doors.ports[number] for number in (HOMESERVER, CASES)}
        backends = {backend for *_, backend in pages(routes)}
        plane.apply([*services, *slices(backends, services, address, held, real)], folder)
        plane.apply([INGRESS_CLASS, *certificates(routes, ca), *of_kind(rendered, "Middleware", "TLSOption"), *routes], folder)
        providers: dict[str, Any] = {"kubernetesIngress": {}, "kubernetesCRD": {}}
        started, http_port, https_port = held.enter_context(running_traefik(program, plane, folder, providers, [BALANCERS]))
        here = Published(plane, doors, folder, routes, ca, officers, http_port, https_port)
        here.trust(officers)
        started.ready(lambda: reached(here), 60)
        yield here


def reached(published: Published) -> bool:
    """Whether an officer is let in."""
    try:
        return published.ask(HOMESERVER_LI, VERSIONS, published.anna()).code == 200
    except ssl.SSLError:
        return False


def test_an_officer_with_a_certificate_is_answered_by_the_service_of_each_host(published: Published) -> None:
    of_li = [page for page in pages(published.routes) if page[2][0] == OF_LI]
    assert {host for host, *_ in of_li} == {*LI_HOSTS}
    shown = published.anna()
    for host, path, (namespace, service, number) in of_li:
        if service != "li-proxy":
            assert published.ask(host, path, shown).service == f"{namespace}/{service}:{number}"
        elif number == HOMESERVER:
            answer = published.ask(host, VERSIONS, shown)
            assert (answer.code, f"GET {VERSIONS}" in answer.text) == (200, True)
        else:
            answer = published.ask(host, path, shown, headers={"Accept": "text/html"})
            assert (answer.code, "Anna Adler" in answer.text) == (200, True)
        assert published.ask(host, VERSIONS, shown).headers["Strict-Transport-Security"]


def test_an_officer_reads_under_an_open_case_and_another_does_not(published: Published) -> None:
    published.doors.vault.open_case()
    for host in LI_HOSTS[::2]:
        assert published.ask(host, READ_USER, published.anna()).code == 200
        assert published.ask(host, READ_USER, published.officers.person(DORA)).code == 403
        assert published.ask(host, READ_USER, published.officers.person("eve@authority.example")).code == 403


@pytest.mark.parametrize("host", LI_HOSTS)
def test_who_shows_no_certificate_or_one_of_somebody_else_is_not_even_asked_what_for(published: Published, host: str) -> None:
    for shown in (None, authority("The authority").person(ANNA), published.ca.person(ANNA)):
        with pytest.raises(ssl.SSLError, match=REFUSED):
            published.ask(host, VERSIONS, shown)


@pytest.mark.parametrize("host", LI_HOSTS)
def test_who_asks_from_elsewhere_is_refused_with_the_right_certificate_too(published: Published, host: str) -> None:
    for forwarded in ({}, {"X-Forwarded-For": OFFICE}, {"X-Real-Ip": OFFICE}, {"Forwarded": f"for={OFFICE}"}):
        answer = published.ask(host, VERSIONS, published.anna(), source=LOOPBACK, headers=forwarded)
        assert (answer.code, answer.service, answer.text) == (403, "", "Forbidden")


@pytest.mark.parametrize("host", LI_HOSTS)
def test_a_connection_that_was_made_for_another_host_is_of_no_use(published: Published, host: str) -> None:
    assert published.ask(MAIN, VERSIONS).code == 200
    for said in (MAIN, "unknown.example.org", None):
        for shown in (None, published.anna()):
            answer = published.ask(host, VERSIONS, shown, said=said)
            assert (answer.code, answer.service, answer.text.strip()) == (421, "", "Misdirected Request")


@pytest.mark.parametrize("host", LI_HOSTS)
def test_nothing_is_answered_in_the_clear(published: Published, host: str) -> None:
    with socket.create_connection((LOOPBACK, published.http), timeout=20, source_address=(OFFICE, 0)) as plain:
        answer = ask(plain, host, VERSIONS)
    assert (answer.code, answer.service) == (404, "")


def test_an_officer_is_who_the_certificate_names_and_not_who_a_header_says(published: Published) -> None:
    published.doors.vault.open_case()
    name = "X-Forwarded-Tls-Client-Cert-Info"
    for header in (name, name.replace("-", "_"), "X-Auth-Request-User"):
        forged = {header: f"Subject%3D%22CN%3D{ANNA}%22" if header != "X-Auth-Request-User" else ANNA}
        assert published.ask(HOMESERVER_LI, READ_USER, published.officers.person(DORA), headers=forged).code == 403
        assert published.ask(HOMESERVER_LI, READ_USER, published.anna(), headers=forged).code == 200


def test_an_authority_below_another_one_is_trusted_by_its_own_certificate_and_officers_send_theirs_alone(published: Published) -> None:
    between = published.officers.below("The authority, year 1")
    shown = between.person(ANNA)
    assert published.ask(HOMESERVER_LI, VERSIONS, shown + between.certificate).code == 403
    published.trust(published.officers, between)
    try:
        wait_for(lambda: not refused(published, shown), 20, "the authority below")
        assert published.ask(HOMESERVER_LI, VERSIONS, shown).code == 200
        assert published.ask(HOMESERVER_LI, VERSIONS, shown + between.certificate).code == 403
    finally:
        published.trust(published.officers)
        wait_for(lambda: refused(published, shown) and reached(published), 20, "the authority")


def refused(published: Published, shown: str) -> bool:
    """Whether no connection is made with this certificate."""
    try:
        published.ask(HOMESERVER_LI, VERSIONS, shown)
    except ssl.SSLError:
        return True
    return False


@pytest.mark.parametrize(
    "name", ["anna @authority.example", 'x",Subject="CN=anna@authority.example', "anna@authority.example,CN=x", "ännä"]
)
def test_a_certificate_whose_name_could_be_read_as_another_is_nobodys(published: Published, name: str) -> None:
    assert published.ask(HOMESERVER_LI, VERSIONS, published.officers.person(name)).code == 403


def test_without_an_authority_nobody_is_let_in_and_a_new_one_is_read_at_once(published: Published) -> None:
    old, later = published.anna(), authority("The next authority")
    new = later.person(ANNA)
    try:
        published.trust(later)
        wait_for(lambda: refused(published, old), 20, "the old authority to be of no use")
        wait_for(lambda: published.ask(HOMESERVER_LI, VERSIONS, new).code == 200, 20, "the new authority")
        published.trust(published.officers, later)
        wait_for(lambda: not refused(published, old) and not refused(published, new), 20, "both authorities")
        published.cluster.kubectl("delete", "secret", CLIENT_AUTHORITY, "--namespace", OF_LI)
        wait_for(lambda: refused(published, old) and refused(published, new), 20, "nobody to be let in")
        for host in LI_HOSTS:
            for shown in (None, old, new):
                with pytest.raises(ssl.SSLError, match="EOF"):
                    published.ask(host, VERSIONS, shown)
        assert published.ask(MAIN, VERSIONS).code == 200
    finally:
        published.trust(published.officers)
        wait_for(lambda: reached(published), 20, "the authority")


@contextmanager
def behind_balancers(published: Published) -> Iterator[None]:
    """Officers come by a load balancer, as the site says."""
    plain, balanced = (
        of_kind(compiled(f"li_source_ranges: [{OFFICES}]{more}"), "Middleware") for more in ("", f", trusted_proxies: [{BALANCERS}]")
    )
    published.cluster.apply(balanced, published.folder)
    try:
        yield
    finally:
        published.cluster.apply(plain, published.folder)
        wait_for(lambda: reached(published), 20, "the sources")


def test_behind_a_load_balancer_an_officer_is_where_it_says_and_nobody_else_can_say_it(published: Published) -> None:
    def code(source: str, forwarded: str | None) -> int:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        return published.ask(HOMESERVER_LI, VERSIONS, published.anna(), source=source, headers=headers).code

    with behind_balancers(published):
        wait_for(lambda: code(BALANCER, OFFICE) == 200, 20, "the load balancer to be believed")
        assert code(BALANCER, f"192.0.2.1, {OFFICE}") == 200
        assert code(BALANCER, f"{OFFICE}, 192.0.2.1") == 403
        assert code(BALANCER, f"{OFFICE}, 192.0.2.1, {BALANCER}") == 403
        assert code(BALANCER, None) == 403
        # Who comes past it is nowhere, from the offices too.
        assert code(OFFICE, None) == 403
        assert code(LOOPBACK, OFFICE) == 403
