"""What the platform does with others outside, each a real program in an address of the internet, through the policies as they are enforced."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.live.cluster import Client, Cluster
from tests.live.installation import PUBLIC, SERVER_NAME, launch, register
from tests.live.outside import PARTNER, PARTNER_URL, ingress_controller, partner, register_partner
from tests.live.report import Report

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

BETWEEN_SERVERS = (
    "messages",
    "encrypted_messages",
    "ephemeral",
    "to_device",
    "devices",
    "cross_signing",
    "media",
    "profiles",
    "nothing_is_lost",
)
HERE = {"base": PUBLIC, "host": f"matrix.{SERVER_NAME}", "server_name": SERVER_NAME}
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
    lines = [line for line in other_server.output().splitlines() if "- 8448 -" in line and "Processed request" in line]
    callers = {address for line in lines for address in re.findall(r"\d+\.\d+\.\d+\.\d+", line.split("Processed request")[0])[:1]}
    assert len(lines) > 20
    assert callers == {pod.address for pod in cluster.pods("federation-sender")}
    own = {pod.name for pod in cluster.pods()}
    assert [refused for refused in cluster.denied() if refused.source in own] == []


@pytest.mark.usefixtures("other_server")
@pytest.mark.parametrize("port", [443, 8448])
def test_a_process_that_is_no_sender_reaches_no_other_server(cluster: Cluster, port: int) -> None:
    attempt = f"import socket; socket.create_connection(('{PARTNER}', {port}), 3)"
    outcomes = {pod: cluster.exec(pod, ["python", "-c", attempt]) for pod in ("synapse-0", "media-repository-0", "client-reader-0")}
    assert {pod: "TimeoutError" in outcome.errors for pod, outcome in outcomes.items()} == dict.fromkeys(outcomes, True)
    outcome = cluster.exec("federation-sender-0", ["python", "-c", attempt])
    assert outcome.code == 0 or "ConnectionRefusedError" in outcome.errors
    cluster.forget_denied()
