"""`/.well-known/matrix/` as HAProxy answers it: to clients, browsers and other servers, with no Synapse behind it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from kit.quantities import mib
from main_instance.haproxy.configuration import HAProxySpec, configuration
from main_instance.haproxy.options import Contact, Support
from main_instance.haproxy.well_known import WellKnown
from tests.live.processes import LOOPBACK, accepts_connections, running
from tests.live.test_routing import (
    haproxy,  # noqa: F401 - a fixture
    own_ports,
)

pytestmark = pytest.mark.live

WELL_KNOWN = WellKnown(
    homeserver="https://matrix.example.com",
    delegated_to="matrix.example.com:443",
    livekit_service_url="https://rtc.example.com/livekit/jwt",
    support=Support(security=Contact(email="security@example.com")),
    content_scanner="https://matrix.example.com",
)


@pytest.fixture(scope="module")
def port(haproxy: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:  # noqa: F811
    """The public port of a HAProxy whose Synapse is not there."""
    folder, ports = tmp_path_factory.mktemp("haproxy"), own_ports()
    spec = HAProxySpec(
        pools=(), main="main-0.absent.", max_upload=mib(1), trusted_proxies=(), ports=ports, listen_address=LOOPBACK, well_known=WELL_KNOWN
    )
    for name, text in configuration(spec).items():
        (folder / name).write_text(text, newline="")
    with running([haproxy, "-W", "-db", "-f", folder / "haproxy.cfg"], name="haproxy") as program:
        program.ready(lambda: accepts_connections(ports.public), 10)
        yield ports.public


def ask(port: int, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=10)) as connection:
        connection.request(method, path, headers={"Host": "example.com", "Origin": "https://client.example.org"})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


@pytest.mark.parametrize("path", WELL_KNOWN.documents)
def test_every_document_is_json_that_any_website_may_read_and_keep_for_an_hour(port: int, path: str) -> None:
    status, headers, body = ask(port, "GET", f"/.well-known/{path}")
    assert (status, json.loads(body)) == (200, WELL_KNOWN.documents[path])
    assert headers["content-type"] == "application/json"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cache-control"] == "public, max-age=3600"


def test_a_query_does_not_matter(port: int) -> None:
    assert ask(port, "GET", "/.well-known/matrix/client?x=1")[0] == 200


def test_the_head_of_a_document_is_to_be_had_alone(port: int) -> None:
    status, headers, body = ask(port, "HEAD", "/.well-known/matrix/client")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(WELL_KNOWN.files["well-known-client.json"])))


def test_a_browser_that_asks_first_may_ask(port: int) -> None:
    status, headers, _ = ask(port, "OPTIONS", "/.well-known/matrix/client")
    assert (status, headers["access-control-allow-origin"]) == (204, "*")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/.well-known/matrix/client"), ("POST", "/.well-known/matrix/server"), ("DELETE", "/.well-known/matrix/support")]
    + [
        ("GET", f"/.well-known/{path}")
        for path in (
            "matrix/other",
            "matrix/client/",
            "matrix/",
            "matrix/../client",
            "element/",
            "element/config.json",
            "openid-configuration",
        )
    ],
)
def test_nothing_else_is_well_known(port: int, method: str, path: str) -> None:
    status, headers, body = ask(port, method, path)
    assert (status, json.loads(body)["errcode"], headers["access-control-allow-origin"]) == (404, "M_UNRECOGNIZED", "*")
