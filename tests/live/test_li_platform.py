"""The lawful-intercept instance as it is rendered, beside the main instance that it follows: its pods, databases, secrets and policies.

Of main's Synapse there are the processes that a message needs, and the one that brings its database up to date, before which nothing is replicated.
"""

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.compiler import compile_site
from app.settings import read_site
from li_instance.access_proxy.alerts import ALERTS as PROXY_ALERTS
from li_instance.access_proxy.component import METRICS as PROXY
from li_instance.options import SyncOptions
from li_instance.sync_system.alerts import alerts as sync_alerts
from li_instance.sync_system.component import FOLLOW, STATUS
from li_instance.sync_system.configuration import intervals
from main_instance.key_vault.alerts import ALERTS as VAULT_ALERTS
from main_instance.key_vault.component import METRICS as VAULT
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.live.cluster import INGRESS, NODE, Cluster, Place, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.expressions import needs
from tests.live.installation import PUBLIC, SERVER_NAME, launch, register
from tests.live.measuring import Measured, measuring

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

HOMESERVER = "http://li-proxy.matrix-li.svc.cluster.local:8008"
CASES = "http://li-proxy.matrix-li.svc.cluster.local:8009"
ANNA, CLARA = "anna@authority.example", "clara@authority.example"
OFFICER = "li-anna"
MAIN = {
    *(
        "synapse",
        "background",
        "client-reader",
        "device-lists",
        "account-data",
        "event-creator",
        "event-persister",
        "receipts",
        "push-rules",
    ),
    *("haproxy", "redis", "redis-proxy"),
}
LI = {"synapse-li", "valkey-li", "li-sync", "li-sync-beat", "li-sync-broker", "li-proxy", "element-web-li", "synapse-admin-li", "key-vault"}
SETTINGS, HOMESERVER_FILE = "/etc/li-sync/settings.yaml", "/etc/synapse/homeserver/homeserver.yaml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    shipped = read_site(ROOT / "tests" / "site.yaml")
    chosen = evolve(
        shipped,
        features=evolve(shipped.features, calls=False, push=False),
        li=evolve(shipped.li, key_deposit=True, notice_url="https://example.com/who-can-read-my-messages"),
        ingress=evolve(shipped.ingress, li_source_ranges=("192.0.2.0/24",)),
        cluster=evolve(
            shipped.cluster, pod_cidrs=(POD_CIDR,), service_cidrs=(SERVICE_CIDR,), node_cidrs=(NODE_CIDR,), api_server_cidrs=(NODE_CIDR,)
        ),
    )
    folder: Path = tmp_path_factory.mktemp("li")
    write(folder, compile_site(chosen, profiles()[:1]))
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    given = [secret("matrix", "key-vault-authority", "authority.pem", pem), secret("matrix-li", "officers-authority", "ca.crt", pem)]
    node_folder = tmp_path_factory.mktemp("node")
    with running_cluster([*(o for o in build(folder / "base") if runs(o)), *given], folder=node_folder) as node:
        try:
            print(f"all pods ready after {node.wait_ready(540):.0f} s")
            yield node
        finally:
            node.save_logs(node_folder / "logs")


def secret(namespace: str, name: str, key: str, value: bytes) -> dict[str, Any]:
    """A Secret that only the operator of a site can give."""
    metadata, data = {"namespace": namespace, "name": name}, {key: base64.b64encode(value).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def runs(o: Mapping[str, Any]) -> bool:
    """Whether an object is of use to the processes of these tests."""
    if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        return o["metadata"]["name"] in MAIN | LI
    return True


def pod(cluster: Cluster, workload: str) -> str:
    return cluster.pods(workload)[0].name


def li_sync(cluster: Cluster, *words: str, given: str = "") -> str:
    """A command of li_sync's, as an operator runs it in the pod of its workers."""
    command = f"printf '%s\\n' '{given}' | python -m services.li_sync {' '.join(words)} --settings {SETTINGS}"
    return cluster.exec(pod(cluster, "li-sync"), ["sh", "-c", command], container="worker", seconds=300).check().output


@pytest.fixture(scope="module")
def officer(site: Cluster) -> tuple[str, str]:
    """An account on LI alone, made as docs/07-LI-OPERATIONS.md says."""
    password = secrets.token_hex(12)
    hashed = site.exec(pod(site, "synapse-li"), ["hash_password", "-c", HOMESERVER_FILE, "-p", password]).check().output.strip()
    assert f"@{OFFICER}:{SERVER_NAME}" in li_sync(site, "add-officer", OFFICER, given=hashed)
    return OFFICER, password


@pytest.fixture(scope="module")
def facts(site: Cluster, officer: tuple[str, str]) -> dict[str, Any]:
    """One case, from before it is requested until after it is closed."""
    given = {
        "people": register(site, "alice", "mallory"),
        "officer": officer,
        "main": PUBLIC,
        "homeserver": HOMESERVER,
        "cases": CASES,
        "host": f"cases-li.{SERVER_NAME}",
        "server_name": SERVER_NAME,
        "investigator": ANNA,
        "approver": CLARA,
    }
    found: dict[str, Any] = launch(site, "officers", given).wait(240).check().json
    print(json.dumps(found, indent=1))
    return found


def test_no_connection_that_the_instance_needs_is_refused(site: Cluster) -> None:
    own = {pod.name for pod in site.pods()}
    assert [denied for denied in site.denied() if denied.source in own] == []


def test_a_message_on_main_is_shown_to_an_officer_under_an_open_case_and_to_nobody_without(facts: dict[str, Any]) -> None:
    assert [facts["without a case"], facts["approved and not open"], facts["after it is closed"], facts["somebody else"]] == [403] * 4
    assert facts["approved by who requested it"] == 403
    # The replication, the feeder's interval and the look of the officer, on a machine with little to spare.
    assert sorted(facts["seconds"])[2] < 2, facts["seconds"]


def test_nobody_writes_or_logs_in_as_somebody_else_through_the_proxy(facts: dict[str, Any]) -> None:
    assert (facts["writing"], facts["logging in as somebody"], facts["main's password"]) == (403, 403, 403)


TRY = """
import sys, psycopg2
for statement in sys.argv[1:]:
    where = {"host": "postgresql-li-rw", "dbname": "synapse", "user": "synapse_li", "passfile": "/run/synapse/pgpass"}
    connection = psycopg2.connect(**where, sslmode="verify-full", sslrootcert="/secrets/database-ca/ca.crt")
    try:
        connection.cursor().execute(statement)
        print("done")
    except psycopg2.errors.InsufficientPrivilege:
        print("refused")
"""


def test_the_database_refuses_what_gets_past_the_proxy_and_the_replication_goes_on(site: Cluster, facts: dict[str, Any]) -> None:
    statements = ("UPDATE events SET sender = sender", "DELETE FROM users", "INSERT INTO room_memberships DEFAULT VALUES")
    answers = site.exec(pod(site, "synapse-li"), ["python", "-c", TRY, *statements]).check().output.split()
    assert answers == ["refused"] * len(statements)
    state = facts["synchronisation"]["replication"]
    assert (state["enabled"], state["working"], state["conflicts"], state["apply_errors"]) == (True, True, 0, 0)


def test_a_name_that_begins_like_an_officers_is_nobodys_on_main(site: Cluster) -> None:
    command = 'register_new_matrix_user -u li-eve -p a-password --no-admin -k "$(cat /secrets/synapse/registration_shared_secret)" '
    refused = site.exec("synapse-0", ["sh", "-c", f"{command} http://localhost:8008"])
    assert refused.code != 0
    assert "429" in refused.output + refused.errors


def test_the_log_of_the_vault_is_whole_and_its_heads_are_printed(site: Cluster, facts: dict[str, Any]) -> None:
    assert facts["after it is closed"] == 403
    vault = pod(site, "key-vault")
    heads = "\n".join(line for each in site.pods("key-vault") for line in site.logs(each.name).splitlines() if "audit-head" in line)
    assert heads
    command = f"printf '%s\\n' '{heads}' | python -m services.key_vault verify-audit --heads -"
    assert site.exec(vault, ["sh", "-c", command]).check().code == 0


def test_both_sides_are_the_same(site: Cluster, facts: dict[str, Any]) -> None:
    assert facts["seconds"]
    report = json.loads(li_sync(site, "run", "verify"))
    assert report


SCRAPED = (
    ("li-sync", "li-sync", STATUS, sync_alerts(intervals(SyncOptions()))),
    ("li-sync-follow", "li-sync", FOLLOW, ()),
    ("key-vault", "key-vault", VAULT, VAULT_ALERTS),
    ("li-proxy", "li-proxy", PROXY, PROXY_ALERTS),
)
"""A job, the workload that it asks, at which port, and the alerts that are made of it."""


def test_what_the_instance_tells_has_all_that_its_alerts_need_and_none_is_on(site: Cluster, facts: dict[str, Any], tmp_path: Path) -> None:
    assert facts["seconds"]
    pods = [
        Measured({"namespace": pod.namespace, "job": job, "pod": pod.name, "instance": pod.name}, told(site, pod.address, port.number))
        for job, workload, port, _ in SCRAPED
        for pod in site.pods(workload)
    ]
    with measuring(pods, tmp_path, growing=False) as prometheus:
        for alert in (alert for *_, alerts in SCRAPED for alert in alerts):
            for metric, labels in needs(alert.expression).items():
                found = prometheus.query(metric)
                assert found, f"{alert.name}: nobody tells {metric}"
                assert labels <= {label for series in found for label in series["metric"]}, f"{alert.name}: {metric}"
            assert prometheus.query(alert.expression) == [], alert.name


def told(site: Cluster, address: str, port: int) -> str:
    """What a pod tells Prometheus."""
    return site.run(["curl", "--silent", "--fail", "--max-time", "20", f"http://{address}:{port}/metrics"], at=NODE).check().output


STRANGER = Place("matrix-li", {"app": "stranger"})


@pytest.mark.parametrize(
    ("place", "service", "namespace", "port", "reached"),
    [
        (INGRESS, "li-proxy", "matrix-li", 8008, True),
        (INGRESS, "synapse-li", "matrix-li", 8008, False),
        (INGRESS, "key-vault", "matrix", 8001, False),
        (INGRESS, "li-sync", "matrix-li", 8080, False),
        (STRANGER, "postgresql-main-rw", "matrix", 5432, False),
        (STRANGER, "postgresql-li-rw", "matrix-li", 5432, False),
        (STRANGER, "key-vault", "matrix", 8000, False),
        (STRANGER, "haproxy", "matrix", 8008, False),
        (Place("matrix", {"app": "stranger"}), "synapse-li", "matrix-li", 8008, False),
    ],
)
def test_the_instance_is_reached_by_whom_it_is_for(
    site: Cluster, place: Place, service: str, namespace: str, port: int, reached: bool
) -> None:
    (address, *_) = site.resolve(service, namespace)
    script = f"import socket; socket.create_connection(('{address}', {port}), 2).close()"
    assert (site.run(["python", "-c", script], at=place, seconds=30).code == 0) == reached
    site.forget_denied()
