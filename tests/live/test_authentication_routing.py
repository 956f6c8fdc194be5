"""HAProxy as rendered for a site with the Matrix Authentication Service, in front of stand-ins: who gets logins, and who may ask what."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import evolve, frozen

from main_instance.authentication_service.component import LOGIN_ROUTES, NAME
from main_instance.haproxy.configuration import HAProxySpec, Pool, Upstream, Whose, configuration
from tests.live.processes import LOOPBACK, Program, running, wait_for
from tests.live.stubs import Pods
from tests.live.test_routing import DOMAIN, INGRESS, LOGINS_PER_MINUTE, Client, Proxy, haproxy, specification
from tests.routing import DELEGATED

pytestmark = pytest.mark.live
__all__ = ["haproxy"]

SERVICES = "matrix.svc.cluster.local."
SERVICE = f"{NAME}-0"


@frozen
class Site:
    """A running HAProxy, Synapse's processes, and the service, which listens on ports of its own."""

    proxy: Proxy
    synapse: Pods
    service: Pods

    def settle(self) -> None:
        """Wait until HAProxy sees who lives."""
        alive = self.synapse.listening() | self.service.listening()
        wait_for(lambda: self.proxy.alive() == alive, 20, "HAProxy to see which servers live")


def described(synapse: Pods, service: Pods) -> HAProxySpec:
    upstream = Upstream(NAME, LOGIN_ROUTES, f"{SERVICE}.{SERVICES}", service.port, service.health_port)
    pools = tuple(Pool(worker, 1, DOMAIN) for worker in DELEGATED)
    return evolve(specification(synapse), pools=pools, upstreams=(upstream,), federation=False, whose=Whose())


def start(haproxy: str, folder: Path, synapse: Pods, service: Pods, stack: ExitStack) -> Proxy:
    spec = evolve(described(synapse, service), nameservers=(f"{LOOPBACK}:{synapse.dns()}",))
    for name, text in configuration(spec).items():
        (folder / name).write_text(text, newline="")
    program: Program = stack.enter_context(running([haproxy, "-W", "-db", "-f", folder / "haproxy.cfg"], name="haproxy"))
    proxy = Proxy(program, spec.ports)
    program.ready(lambda: proxy.alive() == synapse.listening() | service.listening(), 20)
    return proxy


@pytest.fixture
def site(haproxy: str, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        synapse, service = (stack.enter_context(Pods.running(domain)) for domain in (DOMAIN, SERVICES))
        service.start(SERVICE)
        routed = [worker for worker in DELEGATED if worker.routes and worker.name not in ("federation-inbound", "federation-reader")]
        synapse.start("main-0", *(f"{worker.name}-0" for worker in routed))
        synapse.names.update(service.names)
        yield Site(start(haproxy, tmp_path, synapse, service, stack), synapse, service)


LOGINS = [
    ("GET", "/_matrix/client/v3/login"),
    ("POST", "/_matrix/client/r0/login"),
    ("GET", "/_matrix/client/v3/login/sso/redirect?redirectUrl=https%3A%2F%2Fapp.example.com"),
    ("GET", "/_matrix/client/v3/login/sso/redirect/01HFVBY12TMNTYTBV8W921M5FA?redirectUrl=x"),
    ("POST", "/_matrix/client/v3/logout"),
    ("POST", "/_matrix/client/v3/logout/all"),
    ("POST", "/_matrix/client/v3/refresh"),
    ("POST", "/_matrix/client/unstable/refresh"),
]
OTHERS = [
    ("GET", "/_matrix/client/v1/auth_metadata", "mas-helper"),
    ("GET", "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata", "mas-helper"),
    ("GET", "/_matrix/client/v3/account/whoami", "client-reader"),
    ("POST", "/_matrix/client/v3/register", "client-reader"),
    ("GET", "/_matrix/client/v3/devices", "device-lists"),
    ("GET", "/_matrix/client/v3/sync?since=s1", "synchrotron"),
    ("PUT", "/_matrix/client/v3/user/@login:example.com/account_data/login", "account-data"),
    ("POST", "/_matrix/client/unstable/org.matrix.msc4108/rendezvous", "main"),
    ("GET", "/_synapse/client/rendezvous/01HFVBY12T", "main"),
]


def test_every_login_reaches_the_service_and_everything_else_synapse(site: Site) -> None:
    for method, target in LOGINS:
        assert site.proxy.public.request(method, target).pool == NAME, target
    for method, target, pool in OTHERS:
        assert site.proxy.public.request(method, target).pool == pool, target


def test_what_the_service_asks_of_synapse_is_answered_within_the_platform_alone(site: Site) -> None:
    for path in ("/_synapse/mas/query_user?localpart=a", "/_synapse/mas/provision_user"):
        refused = site.proxy.public.request("POST", path)
        assert (refused.status, refused.server) == (403, None)
        assert site.proxy.internal.request("POST", path).pool == "mas-helper"
    site.synapse.kill("mas-helper-0")
    site.settle()
    assert site.proxy.internal.request("POST", "/_synapse/mas/provision_user").pool == "main"
    assert site.proxy.public.get("/_matrix/client/v1/auth_metadata").pool == "main"


def test_the_service_sees_the_one_address_that_the_ingress_saw(site: Site) -> None:
    client = Client(site.proxy.ports.public, INGRESS)
    answer = client.request("POST", "/_matrix/client/v3/login", [("X-Forwarded-For", "198.51.100.9, 203.0.113.7")])
    assert answer.received["x-forwarded-for"] == ["203.0.113.7"]


def test_while_the_service_is_away_those_who_are_logged_in_go_on(site: Site) -> None:
    site.service.kill(SERVICE)
    site.settle()
    refused = site.proxy.public.request("POST", "/_matrix/client/v3/login")
    assert (refused.status, refused.json["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert site.proxy.public.get("/_matrix/client/v3/sync?since=s1").pool == "synchrotron"
    assert site.proxy.probe("/ready").status == 200
    site.service.restart(SERVICE)
    site.settle()
    assert site.proxy.public.request("POST", "/_matrix/client/v3/login").pool == NAME


def test_logins_are_limited_whatever_version_of_the_path_is_asked(site: Site) -> None:
    client = Client(site.proxy.ports.public, INGRESS)
    versions = ["v3", "r0", "unstable", "v1", "made-up"] * LOGINS_PER_MINUTE
    paths = [f"/_matrix/client/{version}/login" for version in versions[: LOGINS_PER_MINUTE + 1]]
    statuses = [client.request("POST", path, [("X-Forwarded-For", "203.0.113.7")]).status for path in paths]
    assert statuses == [200] * LOGINS_PER_MINUTE + [429]


def test_haproxy_accepts_the_configuration_without_a_warning(haproxy: str, tmp_path: Path) -> None:
    with Pods.running(DOMAIN) as pods:
        spec = described(pods, pods)
    for name, text in configuration(spec).items():
        (tmp_path / name).write_text(text, newline="")
    command = [haproxy, "-c", "-dW", "-f", str(tmp_path / "haproxy.cfg")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert checked.returncode == 0, checked.stderr
