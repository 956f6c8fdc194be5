"""A site with the Matrix Authentication Service, run as it is rendered: its pods, its database, its secrets, its policies.

The service itself is a stand-in (tests/live/stand_ins/mas_cli.py), which needs everything that the rendered configuration names. Of Synapse
there are the processes that a login and a message need.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from app.compiler import compile_site
from app.settings import read_site
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.cluster import INGRESS, Cluster, Place, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.installation import AUTHORITY, INTERNAL, PUBLIC, WORLD_CIDR
from tests.live.processes import wait_for
from tests.live.published import published, synadm

pytestmark = pytest.mark.live

NAME = "matrix-authentication-service"
SERVICE = f"http://{NAME}.matrix.svc.cluster.local"
PROCESSES = {
    *("synapse", "mas-helper", "client-reader", "device-lists", "account-data", "event-creator", "event-persister"),
    *("haproxy", "redis", "redis-proxy", "synapse-admin", "synchrotron", "initial-synchrotron", NAME),
}
PAGE = "http://synapse-admin.matrix.svc.cluster.local:8080"
STRANGER = Place("matrix", {"app": "stranger"})
CLIENT_ADDRESS = "203.0.113.9"

# One request, given as JSON; the answer as JSON.
ASK = """
import json, sys, urllib.error, urllib.request
given = json.load(sys.stdin)
body = None if given["body"] is None else json.dumps(given["body"]).encode()
request = urllib.request.Request(given["url"], body, given["headers"], method=given["method"])
try:
    with urllib.request.urlopen(request, timeout=given["seconds"]) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


@frozen
class Answer:
    """`status` is 0 where nobody answered."""

    status: int
    body: Any


def ask(
    cluster: Cluster, method: str, url: str, body: object = None, token: str = "", *, at: Place = INGRESS, seconds: float = 30
) -> Answer:
    """A request from a place. The ingress controller says which client it comes from."""
    headers = {"Content-Type": "application/json", "X-Forwarded-For": CLIENT_ADDRESS}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    given = {"method": method, "url": url, "body": body, "headers": headers, "seconds": seconds}
    status, text = cluster.run(["python", "-c", ASK], at, given=json.dumps(given)).check().json
    return Answer(status, json.loads(text) if text.startswith("{") else text)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What is applied."""
    shipped = read_site(ROOT / "tests" / "site.yaml")
    chosen = evolve(
        shipped,
        features=evolve(shipped.features, li=False, calls=False, push=False, authentication_service=True),
        ingress=evolve(shipped.ingress, admin_source_ranges=(WORLD_CIDR,)),
        cluster=evolve(
            shipped.cluster, pod_cidrs=(POD_CIDR,), service_cidrs=(SERVICE_CIDR,), node_cidrs=(NODE_CIDR,), api_server_cidrs=(NODE_CIDR,)
        ),
    )
    folder: Path = tmp_path_factory.mktemp("authentication")
    smallest = profiles()[0]
    # Of what serves a person, two: so it can be seen which.
    workers = evolve(smallest.synapse.workers, synchrotron=2)
    write(folder, compile_site(chosen, [evolve(smallest, synapse=evolve(smallest.synapse, workers=workers))]))
    return [dict(o) for o in build(folder / "base") if runs(o)]


@pytest.fixture(scope="module")
def site(rendered: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(rendered, folder=tmp_path_factory.mktemp("node")) as node:
        node.wait_ready(240)
        yield node


def runs(o: dict[str, Any]) -> bool:
    """Whether an object is of use to the processes of these tests."""
    if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        return o["metadata"]["name"] in PROCESSES
    return not (o["kind"] == "Tenant" or (o["kind"] == "Job" and not o["metadata"]["name"].startswith("secret-generator")))


def pods(cluster: Cluster) -> list[str]:
    return [pod.name for pod in cluster.pods(NAME)]


def register(cluster: Cluster, name: str) -> None:
    """As the deployment guide says, in one of the service's pods."""
    command = ["mas-cli", "manage", "register-user", "--yes", "--username", name, "--password", f"{name}-has-a-password"]
    cluster.exec(pods(cluster)[0], command).check()


def log_in(cluster: Cluster, name: str) -> Answer:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": f"{name}-has-a-password"}
    return ask(cluster, "POST", f"{PUBLIC}/_matrix/client/v3/login", body)


def test_whoever_is_registered_at_the_service_logs_in_and_sends_a_message(site: Cluster) -> None:
    register(site, "alice")
    session = log_in(site, "alice")
    assert (session.status, session.body["user_id"]) == (200, "@alice:example.com"), session
    token = session.body["access_token"]
    who = ask(site, "GET", f"{PUBLIC}/_matrix/client/v3/account/whoami", token=token)
    assert (who.status, who.body["device_id"]) == (200, session.body["device_id"])
    room = ask(site, "POST", f"{PUBLIC}/_matrix/client/v3/createRoom", {"name": "Hall"}, token)
    assert room.status == 200, room
    message = {"msgtype": "m.text", "body": "hello"}
    sent = ask(site, "PUT", f"{PUBLIC}/_matrix/client/v3/rooms/{room.body['room_id']}/send/m.room.message/1", message, token)
    assert sent.status == 200, sent


def test_haproxy_finds_out_whose_tokens_are_and_sends_the_devices_of_a_person_to_one_process(site: Cluster) -> None:
    sync, devices = f"{PUBLIC}/_matrix/client/v3/sync?timeout=0&set_presence=offline", list[tuple[str, str]]()
    for name in ("dora", "emil", "frida", "georg"):
        register(site, name)
        for _ in range(3):
            token = log_in(site, name).body["access_token"]
            devices.append((token, ask(site, "GET", sync, token=token).body["next_batch"]))

    def met() -> bool:
        """Whether every person's devices are served by one process each; by token, chance does that once in 256 times."""
        before = len(served(site))
        for token, position in devices:
            assert ask(site, "GET", f"{sync}&since={position}", token=token).status == 200
        wait_for(lambda: len(served(site)) == before + len(devices), 5, "HAProxy to log them")
        now = served(site)[before:]
        return all(len(set(now[start : start + 3])) == 1 for start in range(0, 12, 3))

    # Where Synapse takes longer than HAProxy waits, HAProxy asks again later.
    wait_for(met, 60, "HAProxy to know whose the tokens are")


def served(cluster: Cluster) -> list[str]:
    """Who answered the syncs, one after the other."""
    lines = [json.loads(line) for pod in cluster.pods("haproxy") for line in cluster.logs(pod.name).splitlines() if line.startswith("{")]
    return [line["server"] for line in sorted(lines, key=lambda line: str(line["time"])) if line["pool"] == "synchrotron"]


def test_administrators_find_a_page_that_speaks_to_its_own_host_alone(site: Cluster) -> None:
    page, settings = (ask(site, "GET", f"{PAGE}/{path}") for path in ("", "config.json"))
    assert (page.status, settings.status) == (200, 200)
    assert settings.body == {"restrictBaseUrl": "https://admin.example.com", "wellKnownDiscovery": False}
    assert ask(site, "GET", f"{PAGE}/", at=STRANGER, seconds=3).status == 0


def test_an_administrators_tool_works_with_a_token_of_the_service(site: Cluster, rendered: list[dict[str, Any]]) -> None:
    register(site, "abby")
    command = ["mas-cli", "manage", "issue-compatibility-token"]

    def token(*more: str) -> str:
        said = site.exec(pods(site)[0], [*command, *more, "abby"]).check().errors
        return str(re.findall(r"Compatibility token issued: (\S+)", said)[0])

    with published(site, rendered, "admin.example.com", AUTHORITY):
        administrator, nobody = token("--yes-i-want-to-grant-synapse-admin-privileges"), token()
        users, version, own = synadm(site, administrator, AUTHORITY, "user list --no-guests", "version", "user details abby")
        assert "@abby:example.com" in {user["name"] for user in users["users"]}
        assert version["server_version"]
        assert own["name"] == "@abby:example.com"
        (refused,) = synadm(site, nobody, AUTHORITY, "user list --no-guests")
        assert refused["errcode"] == "M_FORBIDDEN"
        # The host is open to the addresses of the site's option alone.
        inside = [
            "curl",
            "--silent",
            "--insecure",
            "--write-out",
            "%{http_code}",
            "https://admin.example.com/_synapse/admin/v1/server_version",
        ]
        assert site.run(inside, INGRESS).output.endswith("403")


def test_the_service_sees_the_address_of_the_client_behind_both_proxies(site: Cluster) -> None:
    log_in(site, "nobody")
    lines = [line for pod in pods(site) for line in site.logs(pod).splitlines() if '"login": "nobody"' in line]
    assert [json.loads(line)["address"] for line in lines] == [CLIENT_ADDRESS]


def test_a_logout_at_the_service_ends_the_session_at_synapse(site: Cluster) -> None:
    register(site, "bob")
    token = log_in(site, "bob").body["access_token"]
    assert ask(site, "GET", f"{PUBLIC}/_matrix/client/v3/account/whoami", token=token).status == 200
    assert ask(site, "POST", f"{PUBLIC}/_matrix/client/v3/logout", {}, token).status == 200
    whoami = f"{PUBLIC}/_matrix/client/v3/account/whoami"
    wait_for(lambda: ask(site, "GET", whoami, token=token).status == 401, 10, "Synapse to forget the session")


def test_clients_learn_from_mas_helper_where_to_log_in(site: Cluster) -> None:
    metadata = ask(site, "GET", f"{PUBLIC}/_matrix/client/v1/auth_metadata")
    assert (metadata.status, metadata.body["issuer"]) == (200, "https://auth.example.com/")
    lines = [line for pod in site.pods("haproxy") for line in site.logs(pod.name).splitlines() if "auth_metadata" in line]
    assert {json.loads(line)["pool"] for line in lines} == {"mas-helper"}


def test_the_login_goes_on_when_one_of_its_pods_is_gone(site: Cluster) -> None:
    register(site, "carol")
    site.delete(pods(site)[0], wait=90)
    assert log_in(site, "carol").status == 200
    site.wait_ready(90, NAME)


@pytest.mark.parametrize(
    ("place", "url", "status"),
    [
        (INGRESS, f"{SERVICE}:8080/.well-known/openid-configuration", 200),
        (INGRESS, f"{SERVICE}:8081/metrics", 0),
        (INGRESS, f"{PUBLIC}/_synapse/mas/query_user?localpart=alice", 403),
        # The ingress controller may ask that port for the administration, of which it publishes one path.
        (STRANGER, f"{INTERNAL}/_synapse/mas/query_user?localpart=alice", 0),
        (STRANGER, f"{SERVICE}:8080/.well-known/openid-configuration", 0),
        (INGRESS, f"{SERVICE}:8082/api/admin/v1/version", 401),
        (INGRESS, f"{SERVICE}:8080/api/admin/v1/version", 404),
        (STRANGER, f"{SERVICE}:8082/api/admin/v1/version", 0),
    ],
    ids=["public", "metrics", "refused", "internal", "stranger", "administration", "not public", "administration of a stranger"],
)
def test_the_service_is_open_to_whom_it_is_for(site: Cluster, place: Place, url: str, status: int) -> None:
    assert ask(site, "GET", url, at=place, seconds=3).status == status


def test_the_policies_refuse_no_connection_that_the_platform_itself_makes(site: Cluster) -> None:
    # What a test tries from a place of its own is called client-1, client-2 and so on.
    assert [refused for refused in site.denied() if not refused.source.startswith("client-")] == []
