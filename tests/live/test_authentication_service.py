"""A real Synapse and its mas-helper, with the options that we render, beside a stand-in for the Matrix Authentication Service.

No package registry has the service itself. The stand-in says what Synapse asks it (synapse/api/auth/mas.py), and the tests ask what the
service asks Synapse (crates/matrix-synapse/src/modern.rs of its release 1.22.0).
"""

import http.client
import http.server
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from attrs import define, evolve, field, frozen

from kit.network import Port
from main_instance.synapse.configuration import homeserver_config, main_config, worker_config
from main_instance.synapse.workers import MAS_HELPER
from tests.live import synapse_site
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, Program, free_ports, running, wait_for
from tests.live.programs import redis_program
from tests.live.servers import HttpHandler, serving
from tests.live.synapse_site import homeserver_spec, synapse_python, write_files
from tests.routing import DELEGATED

pytestmark = pytest.mark.live

SCOPE = "urn:matrix:client:api:*"
DEVICE = "urn:matrix:client:device:"
ADMINISTRATION = "urn:synapse:admin:*"
ISSUER = "https://auth.example.org/"


@define
class Service:
    """The stand-in. `tokens`: access token to whose it is and what it may do."""

    secret: str
    tokens: dict[str, tuple[str, str]] = field(factory=dict)
    asked: list[str] = field(factory=list)
    refused: int = 0
    port: int = 0

    def grant(self, token: str, localpart: str, device: str, *scopes: str) -> None:
        self.tokens[token] = (localpart, " ".join([SCOPE, f"{DEVICE}{device}", *scopes]))

    def introspect(self, authorization: str | None, token: str) -> tuple[int, dict[str, Any]]:
        if authorization != f"Bearer {self.secret}":
            self.refused += 1
            return 401, {"error": "invalid_client"}
        self.asked.append(token)
        if token not in self.tokens:
            return 200, {"active": False}
        localpart, scope = self.tokens[token]
        return 200, {"active": True, "username": localpart, "scope": scope, "expires_in": 300}

    @contextmanager
    def listening(self) -> Iterator[None]:
        service = self

        class Handler(HttpHandler):
            def do_GET(self) -> None:
                known = self.path == "/.well-known/openid-configuration"
                metadata = {"issuer": ISSUER, "account_management_uri": f"{ISSUER}account/", "token_endpoint": f"{ISSUER}oauth2/token"}
                self.answer_json(200 if known else 404, metadata if known else {})

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                if self.path == "/oauth2/introspect":
                    self.answer_json(*service.introspect(self.headers["Authorization"], form["token"][0]))
                else:
                    self.answer_json(404, {})

        with serving(Handler, port=self.port) as self.port:
            yield


@frozen
class Answer:
    status: int
    body: Any

    @property
    def error(self) -> str:
        return str(self.body.get("errcode", "")) if isinstance(self.body, dict) else ""


def ask(port: int, method: str, path: str, body: object = None, token: str = "") -> Answer:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=30)) as connection:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        text = response.read()
        return Answer(response.status, json.loads(text) if text.startswith((b"{", b"[")) else text.decode())


@frozen
class Homeserver:
    """Main and one mas-helper, by the ports of their public listeners."""

    service: Service
    main: int
    helper: int

    def provision(self, localpart: str, device: str) -> None:
        """What the service does when somebody has signed up and logs in."""
        assert self.mas("POST", "provision_user", {"localpart": localpart, "set_displayname": localpart.title()}).status in (200, 201)
        assert self.mas("POST", "upsert_device", {"localpart": localpart, "device_id": device}).status in (200, 201)

    def mas(self, method: str, name: str, body: object = None, secret: str | None = None) -> Answer:
        """A question of the service, answered by mas-helper."""
        return ask(self.helper, method, f"/_synapse/mas/{name}", body, self.service.secret if secret is None else secret)

    def client(self, method: str, path: str, token: str, body: object = None) -> Answer:
        return ask(self.main, method, f"/_matrix/client/v3/{path}", body, token)


@pytest.fixture(scope="module")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    python, redis = synapse_python(), redis_program()
    folder = tmp_path_factory.mktemp("synapse")
    main, replication, helper, database, cache = free_ports(5)
    service = Service("not-so-secret-authentication")
    with ExitStack() as stack:
        stack.enter_context(service.listening())
        spec = evolve(homeserver_spec(folder), authentication=synapse_site.service(LOOPBACK, Port("http", service.port)))
        write_files(folder, spec, {worker.name: 1 for worker in DELEGATED})
        # The addresses of this machine, and main does what the other workers would; what concerns login stays as it is rendered.
        connection = {"host": LOOPBACK, "port": database, "user": "synapse", "dbname": "postgres", "cp_min": 1, "cp_max": 5}
        here = {
            "database": {"name": "psycopg2", "args": connection},
            "redis": {"enabled": True, "host": LOOPBACK, "port": cache},
            "instance_map": {"main": {"host": LOOPBACK, "port": replication}},
            "enable_metrics": False,
        }
        mains = {"listeners": [listener(main, "client"), listener(replication, "replication")], "pid_file": f"{folder}/pid"}
        own = {"worker_name": "mas-helper-0", "worker_listeners": [listener(helper, "client")]}
        files = {
            "one-main.yaml": homeserver_config(spec) | main_config(spec) | here | mains,
            "one-helper.yaml": homeserver_config(spec) | worker_config(MAS_HELPER, spec) | here | own,
        }
        for name, config in files.items():
            (folder / name).write_text(yaml.safe_dump(config))
        stack.enter_context(running_postgresql(database, "synapse"))
        stack.enter_context(running([redis, "--port", str(cache), "--bind", LOOPBACK, "--save", ""], name="redis"))
        for module, file, port in (("homeserver", "one-main.yaml", main), ("generic_worker", "one-helper.yaml", helper)):
            command = [python, "-m", f"synapse.app.{module}", "--no-secrets-in-config", "-c", str(folder / file)]
            program: Program = stack.enter_context(running(command, name=module, folder=folder))
            program.ready(lambda port=port: ask(port, "GET", "/_matrix/client/versions").status == 200, 90)  # type: ignore[misc]
        yield Homeserver(service, main, helper)


def listener(port: int, resource: str) -> dict[str, Any]:
    return {"type": "http", "port": port, "bind_addresses": [LOOPBACK], "x_forwarded": True, "resources": [{"names": [resource]}]}


def test_an_account_that_the_service_makes_can_be_used_with_a_token_of_the_service(homeserver: Homeserver) -> None:
    assert homeserver.mas("GET", "is_localpart_available?localpart=alice").status == 200
    homeserver.provision("alice", "PHONE")
    taken = homeserver.mas("GET", "is_localpart_available?localpart=alice")
    assert (taken.status, taken.error) == (400, "M_USER_IN_USE")
    assert homeserver.mas("GET", "query_user?localpart=alice").body["display_name"] == "Alice"

    homeserver.service.grant("mat_alice", "alice", "PHONE")
    who = homeserver.client("GET", "account/whoami", "mat_alice").body
    assert (who["user_id"], who["device_id"]) == ("@alice:example.org", "PHONE")
    room = homeserver.client("POST", "createRoom", "mat_alice", {"name": "Hall"})
    assert room.status == 200
    sent = homeserver.client("PUT", f"rooms/{room.body['room_id']}/send/m.room.message/1", "mat_alice", {"msgtype": "m.text", "body": "hi"})
    assert (sent.status, list(sent.body)) == (200, ["event_id"])
    assert homeserver.service.refused == 0, "Synapse shows the secret that the two share"


def test_a_worker_understands_the_same_token(homeserver: Homeserver) -> None:
    homeserver.provision("wanda", "W")
    homeserver.service.grant("mat_wanda", "wanda", "W")
    assert ask(homeserver.helper, "GET", "/_matrix/client/v3/account/whoami", token="mat_wanda").body["user_id"] == "@wanda:example.org"


def test_a_token_that_the_service_does_not_know_is_refused(homeserver: Homeserver) -> None:
    refused = homeserver.client("GET", "account/whoami", "mat_nobody")
    assert (refused.status, refused.error) == (401, "M_UNKNOWN_TOKEN")


def test_whoever_has_not_the_shared_secret_makes_no_accounts(homeserver: Homeserver) -> None:
    homeserver.provision("mallory", "M")
    homeserver.service.grant("mat_mallory", "mallory", "M", ADMINISTRATION)
    for secret in ("mat_mallory", "wrong", ""):
        assert homeserver.mas("POST", "provision_user", {"localpart": "eve"}, secret=secret).status in (401, 403)
    assert homeserver.mas("GET", "query_user?localpart=eve").status == 404


def test_a_session_that_the_service_ends_is_over_at_once(homeserver: Homeserver) -> None:
    homeserver.provision("bob", "OLD")
    homeserver.service.grant("mat_bob", "bob", "OLD")
    assert homeserver.client("GET", "account/whoami", "mat_bob").status == 200
    assert homeserver.mas("POST", "delete_device", {"localpart": "bob", "device_id": "OLD"}).status == 204
    # The answer about the token is remembered for two minutes, but the device is gone; main hears of it from mas-helper.
    wait_for(lambda: homeserver.client("GET", "account/whoami", "mat_bob").status == 401, 10, "main to hear that the device is gone")


def test_while_the_service_answers_nothing_known_tokens_are_good_and_new_ones_wait(homeserver: Homeserver) -> None:
    homeserver.provision("carol", "C")
    for token in ("mat_carol", "mat_carol_new"):
        homeserver.service.grant(token, "carol", "C")
    homeserver.client("GET", "account/whoami", "mat_carol")
    asked = len(homeserver.service.asked)
    secret, homeserver.service.secret = homeserver.service.secret, "somebody else's"
    try:
        assert homeserver.client("GET", "account/whoami", "mat_carol").status == 200
        assert homeserver.client("GET", "account/whoami", "mat_carol_new").status == 503
    finally:
        homeserver.service.secret = secret
    assert len(homeserver.service.asked) == asked
    assert homeserver.client("GET", "account/whoami", "mat_carol_new").status == 200


def test_clients_learn_where_to_log_in_and_synapse_offers_nothing_else(homeserver: Homeserver) -> None:
    for port in (homeserver.main, homeserver.helper):
        assert ask(port, "GET", "/_matrix/client/v1/auth_metadata").body["issuer"] == ISSUER
        for method, path in (("GET", "login"), ("POST", "login"), ("POST", "logout"), ("POST", "refresh")):
            answer = ask(port, method, f"/_matrix/client/v3/{path}", {} if method == "POST" else None)
            assert (answer.status, answer.error) == (404, "M_UNRECOGNIZED"), path
    account = {"username": "eve", "password": "a-password-of-some-length", "auth": {"type": "m.login.dummy"}}
    assert homeserver.client("POST", "register", "", account).status in (400, 403)
    assert homeserver.mas("GET", "query_user?localpart=eve").status == 404


def test_administration_hangs_on_what_the_token_may_do(homeserver: Homeserver) -> None:
    homeserver.provision("dave", "D")
    homeserver.service.grant("mat_plain", "dave", "D")
    homeserver.service.grant("mat_admin", "dave", "D", ADMINISTRATION)
    assert ask(homeserver.main, "GET", "/_synapse/admin/v2/users?guests=false", token="mat_plain").status == 403
    assert ask(homeserver.main, "GET", "/_synapse/admin/v2/users?guests=false", token="mat_admin").status == 200


def test_a_sign_in_by_qr_code_can_begin(homeserver: Homeserver) -> None:
    with closing(http.client.HTTPConnection(LOOPBACK, homeserver.main, timeout=20)) as connection:
        connection.request("POST", "/_matrix/client/unstable/org.matrix.msc4108/rendezvous", b"hello", {"Content-Type": "text/plain"})
        response = connection.getresponse()
        url = json.loads(response.read())["url"]
    assert response.status == 201
    assert url.startswith("https://matrix.example.org/_synapse/client/rendezvous/"), "a path that the ingress publishes"
