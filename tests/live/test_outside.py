"""What the platform does with others outside, each a real program in an address of the internet, through the policies as they are enforced."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.live.cluster import INGRESS, NODE, Client, Cluster
from tests.live.installation import INTERNAL, PUBLIC, SERVER_NAME, launch, register
from tests.live.outside import (
    PARTNER,
    PARTNER_URL,
    Session,
    ingress_controller,
    lines,
    log_in,
    mail_server,
    partner,
    register_partner,
    request,
    web_server,
)
from tests.live.processes import wait_for
from tests.live.report import Report

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

BETWEEN_SERVERS = (
    "messages",
    "encrypted_messages",
    "ephemeral",
    "to_device",
    "devices",
    "cross_signing",
    "verification",
    "media",
    "profiles",
    "nothing_is_lost",
)
HERE = {"base": PUBLIC, "host": f"matrix.{SERVER_NAME}", "server_name": SERVER_NAME}
V3 = "/_matrix/client/v3"
MAILBOX = "fred@mail.example"
THERE = {"base": PARTNER_URL, "host": PARTNER, "server_name": PARTNER}


@pytest.fixture(scope="module")
def other_server(cluster: Cluster) -> Iterator[Client]:
    """Both can find each other, and nobody is refused on the way."""
    with ingress_controller(cluster), partner(cluster) as server:
        cluster.forget_denied()
        yield server


@pytest.fixture(scope="module", params=["our room", "their room"])
def together(request: pytest.FixtureRequest, cluster: Cluster, other_server: Client, report: Report) -> Mapping[str, Any]:
    """What people of both servers have done with each other: alice makes the rooms, here or there, and bob is at the other server."""
    assert other_server.running()
    ours = request.param == "our room"
    here, there = (("anna", "carl"), ("bert",)) if ours else (("bert",), ("anna", "carl"))
    passwords = register(cluster, *here) | {name: register_partner(cluster, name) for name in there}
    given = {
        **HERE,
        "place": {"server_name": SERVER_NAME if ours else PARTNER, "federation": True},
        "people": {name: passwords[name] for name in ("anna", "bert", "carl")},
        "elsewhere": dict.fromkeys(there, THERE),
        "only": BETWEEN_SERVERS,
        "network": "203.0.114" if ours else "203.0.115",
    }
    answers: Mapping[str, Any] = launch(cluster, "use", given).wait(300).check().json["scenarios"]
    report.scenarios += [
        (f"{name.replace('_', ' ')}, two servers, {request.param}", f"{result['seconds']} s" if "facts" in result else "FAILED")
        for name, result in answers.items()
    ]
    return answers


@pytest.mark.parametrize("scenario", ["rooms", *BETWEEN_SERVERS])
def test_people_of_two_servers_do_with_each_other_what_people_of_one_do(together: Mapping[str, Any], scenario: str) -> None:
    assert "failed" not in together[scenario], together[scenario]["failed"]


@pytest.mark.usefixtures("together")
def test_only_senders_of_federation_call_the_other_server(cluster: Cluster, other_server: Client) -> None:
    served = [line for line in other_server.output().splitlines() if "- 8448 -" in line and "Processed request" in line]
    callers = {address for line in served for address in re.findall(r"\d+\.\d+\.\d+\.\d+", line.split("Processed request")[0])[:1]}
    assert len(served) > 20
    assert callers == {pod.address for pod in cluster.pods("federation-sender")}
    own = {pod.name for pod in cluster.pods()}
    assert [refused for refused in cluster.denied() if refused.source in own] == []


@pytest.mark.usefixtures("other_server")
@pytest.mark.parametrize("port", [443, 8448])
def test_a_process_that_is_no_sender_reaches_no_other_server(cluster: Cluster, port: int) -> None:
    attempt = f"import socket; socket.create_connection(('{PARTNER}', {port}), 3)"
    # Media workers fetch the pages that links lead to, on port 443 too.
    others = ["synapse-0", "client-reader-0", "federation-reader-0", *(["media-repository-0"] if port == 8448 else [])]
    outcomes = {pod: cluster.exec(pod, ["python", "-c", attempt]) for pod in others}
    assert {pod: "TimeoutError" in outcome.errors for pod, outcome in outcomes.items()} == dict.fromkeys(outcomes, True)
    outcome = cluster.exec("federation-sender-0", ["python", "-c", attempt])
    assert outcome.code == 0 or "ConnectionRefusedError" in outcome.errors
    cluster.forget_denied()


# --- push, mail and previews


@pytest.fixture(scope="module")
def fred(cluster: Cluster) -> Session:
    return log_in(cluster, "fred", register(cluster, "fred")["fred"])


@pytest.fixture(scope="module")
def gwen(cluster: Cluster) -> Session:
    return log_in(cluster, "gwen", register(cluster, "gwen")["gwen"])


def call(person: Session, other: Session) -> str:
    """Somebody writes to another in a room of the two. The event's id."""
    room = person.ask("POST", f"{V3}/createRoom", {"invite": [other.id], "preset": "trusted_private_chat"})["room_id"]
    other.ask("POST", f"{V3}/join/{room}", {})
    message = {"msgtype": "m.text", "body": f"{other.name}, are you there?", "m.mentions": {"user_ids": [other.id]}}
    return str(person.ask("PUT", f"{V3}/rooms/{room}/send/m.room.message/1", message)["event_id"])


def addresses(cluster: Cluster, workload: str) -> set[str]:
    return {pod.address for pod in cluster.pods(workload)}


def test_the_push_gateway_of_an_apps_publisher_is_told_of_a_message(cluster: Cluster, fred: Session, gwen: Session) -> None:
    host, path = "push.vendor.example", "/_matrix/push/v1/notify"
    with web_server(cluster, host, {path: ("application/json", '{"rejected": []}')}) as gateway:
        pusher = {
            "kind": "http",
            "app_id": "com.vendor.app",
            "pushkey": "fred-phone",
            "app_display_name": "App",
            "device_display_name": "Phone",
        }
        fred.ask("POST", f"{V3}/pushers/set", {**pusher, "lang": "en", "data": {"url": f"https://{host}{path}", "format": "event_id_only"}})
        event_id = call(gwen, fred)

        def pushed() -> list[dict[str, Any]]:
            return [line for line in lines(gateway) if event_id in line["body"]]

        wait_for(pushed, 30, "the notification")
        (line,) = pushed()
        assert (line["method"], line["path"]) == ("POST", path)
        assert line["from"] in addresses(cluster, "pusher")
        attempt = f"import socket; socket.create_connection(('{host}', 8443), 3)"
        assert "TimeoutError" in cluster.exec("pusher-0", ["python", "-c", attempt]).errors
        cluster.forget_denied()


def test_who_has_forgotten_the_password_gets_a_link_by_mail_and_sets_another(cluster: Cluster, fred: Session, gwen: Session) -> None:
    administrator = log_in(cluster, "abby", register(cluster, "abby", administrators=True)["abby"])
    address = {"threepids": [{"medium": "email", "address": MAILBOX}]}
    administrator.ask("PUT", f"/_synapse/admin/v2/users/{fred.id}", address, base=INTERNAL, at=NODE)
    with mail_server(cluster) as server:
        wanted = {"client_secret": "of-the-test", "email": MAILBOX, "send_attempt": 1}
        sid = request(cluster, "POST", f"{PUBLIC}{V3}/account/password/email/requestToken", wanted)["sid"]
        wait_for(lambda: lines(server), 30, "the mail")
        (mail,) = lines(server)
        assert (mail["from"], mail["to"]) == (f"matrix@{SERVER_NAME}", [MAILBOX])
        assert {mail["peer"]} == addresses(cluster, "synapse")
        (link,) = re.findall(rf"https://matrix\.{SERVER_NAME}(/_synapse/client/password_reset/email/submit_token\S+)", mail["text"])
        assert "<form" in request(cluster, "GET", f"{PUBLIC}{link}")
        confirmed = request(cluster, "POST", f"{PUBLIC}{link}")
        assert "has now been validated" in confirmed
        url, new = f"{PUBLIC}{V3}/account/password", {"new_password": "remember-me-now", "logout_devices": True}
        session = request(cluster, "POST", url, new)["session"]
        proof = {"type": "m.login.email.identity", "session": session, "threepid_creds": {"sid": sid, "client_secret": "of-the-test"}}
        assert request(cluster, "POST", url, {**new, "auth": proof}) == {}
        again = log_in(cluster, "fred", "remember-me-now")

        pusher = {"kind": "email", "app_id": "m.email", "pushkey": MAILBOX, "app_display_name": "Mail", "device_display_name": MAILBOX}
        again.ask("POST", f"{V3}/pushers/set", {**pusher, "lang": "en", "data": {}})
        call(gwen, again)
        wait_for(lambda: len(lines(server)) > 1, 60, "the mail about a message")
        told = lines(server)[1]
        assert told["to"] == [MAILBOX]
        assert gwen.name in told["text"]
        assert told["peer"] in addresses(cluster, "pusher")


def test_what_is_behind_a_link_is_shown_unless_it_is_at_a_private_address(cluster: Cluster, gwen: Session) -> None:
    page = '<html><head><title>A story</title><meta property="og:title" content="A story"></head><body>Once upon a time</body></html>'
    with web_server(cluster, "news.example", {"/story": ("text/html", page)}, 80) as server:
        seen = gwen.ask("GET", "/_matrix/client/v1/media/preview_url?url=http%3A%2F%2Fnews.example%2Fstory")
        assert seen["og:title"] == "A story"
        assert {line["from"] for line in lines(server)} <= addresses(cluster, "media-repository")
    with web_server(cluster, "inside.example", {"/": ("text/html", page)}, 80, INGRESS) as server:
        refused = gwen.ask("GET", "/_matrix/client/v1/media/preview_url?url=http%3A%2F%2Finside.example%2F")
        assert "errcode" in refused
        assert lines(server) == []
