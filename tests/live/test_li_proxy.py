"""What the proxy of the lawful-intercept instance lets through, and to whom."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from li_instance.access_proxy.configuration import CASES, HOMESERVER, OPERATIONS, AccessProxySpec, configuration
from tests.live.key_vault_site import ANNA, CLARA, DORA
from tests.live.li_doors import MALLORY, READ_USER, Doors, endpoint, on_this_machine, open_doors
from tests.live.processes import LOOPBACK, free_ports, running, wait_for
from tests.live.programs import haproxy_program

ROOM = "!room:example.org"


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with open_doors(tmp_path_factory.mktemp("proxy")) as found:
        yield found


def test_a_read_is_let_through_under_an_open_case_and_refused_without(doors: Doors) -> None:
    assert doors.ask(ANNA, "GET", READ_USER).status == 403
    doors.vault.open_case()
    answer = doors.ask(ANNA, "GET", READ_USER)
    assert (answer.status, answer.json()["asked"]) == (200, f"GET {READ_USER}")
    assert doors.ask(DORA, "GET", READ_USER).status == 403
    assert doors.ask(ANNA, "GET", f"/_synapse/admin/v2/users/{quote('@somebody:example.org')}").status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/_matrix/client/v3/rooms/{quote(ROOM)}/send/m.room.message/1"),
        ("POST", f"/_synapse/admin/v1/users/{quote(MALLORY)}/login"),
        ("DELETE", f"/_synapse/admin/v2/rooms/{quote(ROOM)}"),
        ("POST", f"/_synapse/admin/v1/reset_password/{quote(MALLORY)}"),
        ("PUT", READ_USER),
        ("POST", "/_matrix/client/v3/register"),
        ("GET", "/_synapse/admin/v2/users"),
        ("GET", "/_synapse/admin/v1/rooms"),
        ("GET", "/_matrix/client/v3/publicRooms"),
        ("GET", f"/_synapse/admin/v2/users/{quote(MALLORY)}/../{quote(MALLORY)}"),
        ("GET", "//_matrix/client/versions"),
        ("GET", "/_matrix/client/versions/"),
    ],
)
def test_what_changes_something_or_lists_everybody_is_refused_whatever_is_open(doors: Doors, method: str, path: str) -> None:
    doors.vault.open_case()
    assert doors.ask(ANNA, method, path).status == 403


@pytest.mark.parametrize(
    "header",
    [
        *(None, "anna", 'Subject="CN=anna",Issuer="CN=x"', 'Subject="O=x,CN=anna"', 'Subject="CN="', 'CN=anna"'),
        # Names that could be read as others.
        *('Subject="CN=an na"', 'Subject="CN=anna,"', 'Subject="CN=x"y"', ',Subject="CN=anna"', 'Subject="CN=anna",Subject="CN=x"'),
    ],
)
def test_whoever_shows_no_certificate_of_the_usual_form_is_nobody(doors: Doors, header: str | None) -> None:
    shown = {} if header is None else {"X-Forwarded-Tls-Client-Cert-Info": quote_plus(header)}
    for port in (HOMESERVER, CASES):
        assert doors.ask(None, "GET", "/_matrix/client/versions", port, shown).status == 403


def test_two_certificates_in_one_request_are_nobodys(doors: Doors) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, doors.ports[HOMESERVER], timeout=20)
    connection.putrequest("GET", "/_matrix/client/versions")
    for officer in (ANNA, CLARA):
        connection.putheader("X-Forwarded-Tls-Client-Cert-Info", quote(f'Subject="CN={officer}"', safe=""))
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()


def test_an_officer_is_who_the_certificate_names_and_not_who_a_header_says(doors: Doors) -> None:
    doors.vault.open_case()
    assert doors.ask("eve@authority.example", "GET", READ_USER, headers={"X-Auth-Request-User": ANNA}).status == 403
    pages = doors.ask("eve@authority.example", "GET", "/", port=CASES, headers={"X-Auth-Request-User": ANNA})
    assert pages.status == 403
    assert doors.ask(ANNA, "GET", "/", port=CASES, headers={"Accept": "text/html"}).status == 200


def test_what_the_proxy_knows_reaches_nobody_but_the_vault(doors: Doors) -> None:
    status = doors.ask(ANNA, "GET", "/synchronisation", port=CASES).json()
    session = doors.ask(ANNA, "GET", "/_matrix/client/v3/sync").json()
    assert status["asked"] == "GET /"
    for headers in (status["headers"], session["headers"]):
        assert not [name for name in headers if name.startswith(("x-key-vault", "x-forwarded-tls", "x-original"))]
    assert doors.ask(ANNA, "POST", "/synchronisation", port=CASES).status == 405


def test_a_vault_that_does_not_answer_is_no_yes(doors: Doors, tmp_path: Path) -> None:
    (unused, *others) = free_ports(5)
    ports = dict(zip((HOMESERVER, CASES, OPERATIONS, 8010), others, strict=True))
    nowhere = endpoint(unused)
    for name, text in configuration(AccessProxySpec(nowhere, nowhere, nowhere, nowhere, nowhere)).items():
        (tmp_path / name).write_text(on_this_machine(text, ports, doors.vault.site.folder))
    with running([haproxy_program(), "-db", "-f", str(tmp_path / "haproxy.cfg")], name="haproxy", folder=tmp_path):
        alone = Doors(doors.vault, ports)
        wait_for(lambda: alone.ask(None, "GET", "/live", port=OPERATIONS).status == 200, 20, "the proxy")
        assert alone.ask(ANNA, "GET", READ_USER).status == 503
