"""Login and bridges as a site chooses them: identity providers and a directory outside the cluster, and a bridge in a namespace of its own.

Each is a real server, reached through the policies. Of Synapse there are the processes that they have to do with, and those that these need.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.compiler import compile_site
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import build, write
from tests.live.certificates import Authority, authority
from tests.live.cluster import INGRESS, Client, Cluster, Place, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.installation import PUBLIC, WORLD_CIDR, register
from tests.live.processes import wait_for
from tests.live.programs import installed
from tests.live.published import published, synadm
from tests.live.saml import SamlProvider, saml_provider

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

PROVIDER, DIRECTORY, SAML = "id.example.org", "ldap.example.org", "saml.example.org"
PROVIDER_PORT, DIRECTORY_PORT, SAML_PORT = 8443, 1636, 8444
CLIENT_SECRET, BIND_PASSWORD = "what-only-they-and-we-know", "what-the-directory-knows"
SITE = f"""
server_name: example.com
images: {{registry: registry.example.com/matrix}}
cluster: {{pod_cidrs: [{POD_CIDR}], service_cidrs: [{SERVICE_CIDR}], node_cidrs: [{NODE_CIDR}], api_server_cidrs: [{NODE_CIDR}]}}
ingress: {{admin_source_ranges: [{WORLD_CIDR}]}}
login:
  passwords: false
  ca_secret: corporate-ca
  providers:
    corporate:
      issuer: https://{PROVIDER}:{PROVIDER_PORT}
      client_id: matrix
      display_name: Example account
      required_claims: {{groups: [matrix-users, administrators]}}
      cidrs: [{WORLD_CIDR}]
  ldap:
    servers: ["ldaps://{DIRECTORY}:{DIRECTORY_PORT}"]
    cidrs: [{WORLD_CIDR}]
    base: ou=people,dc=example,dc=org
    bind_dn: cn=matrix,dc=example,dc=org
    filter: (employeeType=staff)
homeserver:
  extra:
    saml2_config:
      idp_name: Old account
      sp_config:
        metadata: {{inline: [METADATA]}}
        service: {{sp: {{optional_attributes: [displayName, email, eduPersonAffiliation]}}}}
      user_mapping_provider: {{config: {{mxid_source_attribute: uid}}}}
      attribute_requirements: [{{attribute: eduPersonAffiliation, value: staff}}]
application_services:
  echo:
    url: http://echo.bridges.svc:29330
    bot: echobot
    users: [echo_.*]
    pods: {{namespace: bridges, labels: {{app: echo}}}}
"""
BRIDGE = Place("bridges", {"app": "echo"}, names=("echo.bridges.svc.cluster.local",))
BRIDGES = "http://haproxy.matrix.svc.cluster.local:8010"
PEOPLE = {
    "1001": {"preferred_username": "alice", "groups": ["matrix-users"]},
    "1002": {"preferred_username": "mallory", "groups": ["guests"]},
}
ENTRIES = f"""
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: cn=matrix,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: matrix
userPassword: {BIND_PASSWORD}

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=bob,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob
cn: Bob Example
sn: Example
mail: bob@example.org
employeeType: staff
userPassword: bob-has-a-password

dn: uid=eve,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: eve
cn: Eve Example
sn: Example
employeeType: visitor
userPassword: eve-has-a-password
"""
PROCESSES = {
    *("synapse", "sso-login", "client-reader", "event-creator", "device-lists", "account-data", "event-persister", "encryption"),
    *("appservice", "haproxy", "redis", "redis-proxy"),
}

ASK = """
import json, sys
import requests
given = json.load(sys.stdin)
headers = {"X-Forwarded-For": "203.0.113.9"} | ({"Authorization": f"Bearer {given['token']}"} if given["token"] else {})
answer = requests.request(given["method"], given["url"], json=given["body"], headers=headers, timeout=60)
print(json.dumps([answer.status_code, answer.json()]))
"""


def ask(cluster: Cluster, method: str, path: str, body: object = None, token: str = "") -> tuple[int, Any]:
    given = {"method": method, "url": f"{PUBLIC}/_matrix/client/{path}", "body": body, "token": token}
    status, answer = cluster.run(["python", "-c", ASK], given=json.dumps(given)).check().json
    return status, answer


def secret(name: str, key: str, value: str) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "matrix"}, "data": data}


@pytest.fixture(scope="module")
def corporate() -> Authority:
    """The authority of the servers' certificates."""
    return authority("corporate")


@pytest.fixture(scope="module")
def saml() -> SamlProvider:
    """The provider that speaks SAML, whose metadata the site has."""
    return saml_provider(f"https://{SAML}/idp", f"https://{SAML}:{SAML_PORT}/sso")


@pytest.fixture(scope="module")
def rendered(corporate: Authority, saml: SamlProvider, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What is applied, with what only the site's operator can give."""
    installed("slapd")
    folder: Path = tmp_path_factory.mktemp("login")
    site = SITE.replace("METADATA", json.dumps(saml.metadata))
    write(folder, compile_site(parse_site(site), profiles()[:1]))
    objects = [o for o in build(folder / "base") if runs(o)]
    objects += [secret("login-corporate", "client_secret", CLIENT_SECRET), secret("login-ldap", "password", BIND_PASSWORD)]
    return [*objects, secret("corporate-ca", "ca.crt", corporate.certificate)]


@pytest.fixture(scope="module")
def site(rendered: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(rendered, folder=tmp_path_factory.mktemp("node")) as node:
        node.wait_ready(300)
        yield node


def runs(o: dict[str, Any]) -> bool:
    """Whether an object is of use to the processes of these tests."""
    if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        return o["metadata"]["name"] in PROCESSES
    return not (o["kind"] == "Tenant" or (o["kind"] == "Job" and not o["metadata"]["name"].startswith("secret-generator")))


def started(cluster: Cluster, host: str, program: str, corporate: Authority, **given: Any) -> Client:
    """A server outside the cluster that DNS knows by `host`."""
    own, key = corporate.issue(host)
    server = cluster.launch(
        ["python", "-m", f"tests.live.counterparts.{program}"],
        Place(kind="world", names=(host,)),
        given=json.dumps({"certificate": own, "key": key, **given}),
    )
    wait_for(lambda: "ready" in server.output() or not server.running(), 60, f"{host} to listen")
    return server


@pytest.fixture(scope="module")
def provider(site: Cluster, corporate: Authority) -> Iterator[Client]:
    server = started(
        site, PROVIDER, "identity_provider", corporate, port=PROVIDER_PORT, client="matrix", secret=CLIENT_SECRET, people=PEOPLE
    )
    yield server
    server.signal(15)
    server.wait(20)


@pytest.fixture(scope="module")
def directory(site: Cluster, corporate: Authority) -> Iterator[Client]:
    schemas = {name: Path(f"/etc/ldap/schema/{name}.schema").read_text() for name in ("core", "cosine", "inetorgperson")}
    server = started(site, DIRECTORY, "directory", corporate, port=DIRECTORY_PORT, schemas=schemas, entries=ENTRIES)
    yield server
    server.signal(15)
    server.wait(20)


def log_in(cluster: Cluster, name: str, password: str) -> tuple[int, Any]:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    return ask(cluster, "POST", "v3/login", body)


def test_clients_are_offered_the_provider_and_the_directory(site: Cluster) -> None:
    status, answer = ask(site, "GET", "v3/login")
    flows = {flow["type"]: flow for flow in answer["flows"]}
    assert status == 200
    assert {provider["name"] for provider in flows["m.login.sso"]["identity_providers"]} == {"Example account", "Old account"}
    assert "m.login.password" in flows


def browse(cluster: Cluster, provider: str, person: str, by: Authority) -> Any:
    """A person comes by the ingress controller here, and to the provider as anybody does."""
    given = {"base": PUBLIC, "host": "matrix.example.com", "provider": provider, "authority": by.certificate, "sub": person}
    return cluster.run(["python", "-m", "tests.live.clients.browser"], INGRESS, given=json.dumps(given)).check().json


def test_a_person_of_the_provider_logs_in_through_the_platform_and_sends_a_message(
    site: Cluster, provider: Client, corporate: Authority
) -> None:
    let_in, refused = (browse(site, "oidc-corporate", sub, corporate) for sub in ("1001", "1002"))
    assert (let_in["status"], let_in["session"]["user_id"]) == (200, "@alice:example.com"), let_in
    assert (refused["status"], refused["session"]) == (400, None)
    assert "token request of matrix: known" in provider.output()
    token = let_in["session"]["access_token"]
    status, room = ask(site, "POST", "v3/createRoom", {"name": "Hall"}, token)
    assert status == 200, room
    message = {"msgtype": "m.text", "body": "hello"}
    assert ask(site, "PUT", f"v3/rooms/{room['room_id']}/send/m.room.message/1", message, token)[0] == 200


def test_a_person_logs_in_by_saml_without_any_call_of_the_homeserver(site: Cluster, saml: SamlProvider, corporate: Authority) -> None:
    partner = site.run(["curl", "--silent", "--fail", f"{PUBLIC}/_synapse/client/saml2/metadata.xml"], INGRESS).check().output
    people = {
        "erin": {"uid": "erin", "displayName": "Erin Example", "eduPersonAffiliation": "staff"},
        "trudy": {"uid": "trudy", "eduPersonAffiliation": "guests"},
    }
    given = {"entity": saml.entity, "url": saml.url, "signing_certificate": saml.certificate, "signing_key": saml.key}
    server = started(site, SAML, "saml_provider", corporate, port=SAML_PORT, partner=partner, people=people, **given)
    try:
        let_in, refused = (browse(site, "saml", name, corporate) for name in people)
        assert let_in["session"], let_in["page"]
        assert let_in["session"]["user_id"] == "@erin:example.com"
        assert (refused["status"], refused["session"]) == (400, None)
        answer = ask(site, "GET", "v3/profile/@erin:example.com", token=let_in["session"]["access_token"])[1]
        assert answer["displayname"] == "Erin Example"
        assert "https://matrix.example.com/_synapse/client/saml2/metadata.xml asks who erin is" in server.output()
        connect = f"import socket; socket.create_connection(({SAML!r}, {SAML_PORT}), 3)"
        assert "TimeoutError" in site.exec("sso-login-0", ["python", "-c", connect]).errors
        site.forget_denied()
    finally:
        server.signal(15)
        server.wait(20)


@pytest.mark.usefixtures("directory")
def test_a_person_of_the_directory_logs_in_and_is_asked_again_for_the_password(site: Cluster) -> None:
    status, session = log_in(site, "bob", "bob-has-a-password")
    assert (status, session["user_id"]) == (200, "@bob:example.com"), session
    token = session["access_token"]
    assert ask(site, "GET", "v3/profile/@bob:example.com", token=token)[1]["displayname"] == "Bob Example"
    _, second = log_in(site, "bob", "bob-has-a-password")
    # Served by device-lists, which asks the directory too.
    status, asked = ask(site, "POST", "v3/delete_devices", {"devices": [second["device_id"]]}, token)
    assert status == 401
    for password, expected in (("wrong", 401), ("bob-has-a-password", 200)):
        proof = {"type": "m.login.password", "session": asked["session"], "password": password}
        proof["identifier"] = {"type": "m.id.user", "user": "bob"}
        assert ask(site, "POST", "v3/delete_devices", {"devices": [second["device_id"]], "auth": proof}, token)[0] == expected


@pytest.mark.usefixtures("directory")
def test_who_was_made_an_administrator_uses_a_tool_of_administrators(
    site: Cluster, rendered: list[dict[str, Any]], corporate: Authority
) -> None:
    token = log_in(site, "bob", "bob-has-a-password")[1]["access_token"]
    # As the deployment guide says for a site without passwords.
    made = "UPDATE users SET admin = 1 WHERE name = '@bob:example.com'"
    site.exec("postgresql-main-1", ["psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "synapse", "-c", made]).check()
    with published(site, rendered, "admin.example.com", corporate):
        version, own = synadm(site, token, corporate, "version", "user details bob")
    assert version["server_version"]
    assert (own["name"], own["displayname"]) == ("@bob:example.com", "Bob Example")


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("name", "password"),
    [("bob", "wrong"), ("bob", ""), ("eve", "eve-has-a-password"), ("nobody", "x"), ("b*", "bob-has-a-password")],
    ids=["wrong-password", "no-password", "filtered", "unknown", "wildcard"],
)
def test_whom_the_directory_does_not_vouch_for_is_refused(site: Cluster, name: str, password: str) -> None:
    status, answer = log_in(site, name, password)
    assert status in (400, 403), answer
    assert "access_token" not in answer


@pytest.mark.usefixtures("directory")
def test_an_account_of_the_homeserver_has_no_password_of_its_own(site: Cluster) -> None:
    password = register(site, "carol")["carol"]
    assert log_in(site, "carol", password)[0] == 403


@pytest.fixture(scope="module")
def bridge(site: Cluster) -> Iterator[Client]:
    """The bridge, with the tokens that the generator has made."""
    tokens = {key: value.decode() for key, value in site.secret("application-service-echo").items() if key.endswith("_token")}
    given = {"server": BRIDGES, "domain": "example.com", "id": "echo", "bot": "echobot", "ghost": "echo", "port": 29330, **tokens}
    program = site.launch(["python", "-m", "tests.live.counterparts.bridge"], BRIDGE, given=json.dumps(given))
    wait_for(lambda: "ready" in program.output() or not program.running(), 60, "the bridge to listen")
    yield program
    program.signal(15)
    program.wait(20)


@pytest.mark.usefixtures("directory")
def test_what_is_said_in_a_room_of_the_bridge_is_said_there_again_by_a_user_of_the_bridge(site: Cluster, bridge: Client) -> None:
    token = log_in(site, "bob", "bob-has-a-password")[1]["access_token"]
    status, room = ask(site, "POST", "v3/createRoom", {"invite": ["@echobot:example.com"], "preset": "public_chat"}, token)
    assert status == 200, room
    wait_for(lambda: f"joined {room['room_id']}" in bridge.output(), 60, "the bridge to join")
    path = f"v3/rooms/{room['room_id']}/send/m.room.message/1"
    assert ask(site, "PUT", path, {"msgtype": "m.text", "body": "hello"}, token)[0] == 200

    def heard() -> list[tuple[str, str]]:
        _, found = ask(site, "GET", f"v3/rooms/{room['room_id']}/messages?dir=b&limit=20", token=token)
        return [(event["sender"], event["content"]["body"]) for event in found["chunk"] if event["type"] == "m.room.message"]

    wait_for(lambda: ("@echo_bob:example.com", "hello, hello") in heard(), 60, "the echo")


def test_a_bridge_has_its_own_door_and_no_other(site: Cluster) -> None:
    connect = "import socket; socket.create_connection(('haproxy.matrix.svc.cluster.local', {}), 3)"
    reached = {port: site.run(["python", "-c", connect.format(port)], BRIDGE).code == 0 for port in (8008, 8009, 8010)}
    assert reached == {8008: False, 8009: False, 8010: True}
    stranger = Place("bridges", {"app": "other"})
    assert site.run(["python", "-c", connect.format(8010)], stranger).code != 0
    administration = "import requests; print(requests.get({!r}, timeout=20).status_code)".format(
        f"{BRIDGES}/_synapse/admin/v1/server_version"
    )
    assert site.run(["python", "-c", administration], BRIDGE).check().output.strip() == "404"


def test_only_who_asks_who_people_are_gets_out(site: Cluster, provider: Client, directory: Client) -> None:
    assert provider.running()
    assert directory.running()
    connect = "import socket; socket.create_connection(({!r}, {}), 3)"
    for pod, opened in (("client-reader-0", True), ("sso-login-0", True), ("account-data-0", False), ("event-persister-0", False)):
        for host, port in ((PROVIDER, PROVIDER_PORT), (DIRECTORY, DIRECTORY_PORT)):
            assert (site.exec(pod, ["python", "-c", connect.format(host, port)]).code == 0) is opened, (pod, host)


def test_the_policies_refuse_nothing_else(site: Cluster) -> None:
    tried = {"account-data-0", "event-persister-0"}
    refused = [one for one in site.denied() if one.source not in tried and not one.source.startswith("client-")]
    assert refused == []
