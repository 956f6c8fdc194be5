"""A platform on what an enterprise has already: a PostgreSQL and a Redis outside the cluster, and an S3 in it.

The first two are real ones that speak TLS alone, by a private authority. All are reached through the policies. Synapse and the stand-in of the
authentication service have a database each.
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
from tests.live.cluster import Client, Cluster, Place, running_cluster
from tests.live.cluster.client import NODE_CIDR, POD_CIDR, SERVICE_CIDR
from tests.live.cluster.substitutes import START_MOTO
from tests.live.installation import PUBLIC, WORLD_CIDR
from tests.live.processes import wait_for
from tests.live.programs import postgresql_programs, redis_program
from tests.live.test_authentication_platform import PROCESSES, ask, log_in, register

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

DATABASE, REDIS = "db.enterprise.example", "redis.enterprise.example"
STORAGE = "storage"
OWN, SERVICE = "external-postgresql", "external-postgresql-authentication-service"
PASSWORDS = {OWN: "of-synapse.1", SERVICE: "of_the~service", "external-redis": "of-redis.2"}
SITE = f"""
server_name: example.com
images: {{registry: registry.example.com/matrix}}
cluster: {{pod_cidrs: [{POD_CIDR}], service_cidrs: [{SERVICE_CIDR}], node_cidrs: [{NODE_CIDR}], api_server_cidrs: [{NODE_CIDR}]}}
features: {{authentication_service: true}}
postgresql:
  backend: external
  external: {{host: {DATABASE}, port: 6432, cidrs: [{WORLD_CIDR}], ca_secret: enterprise-ca, database: chat, user: chat}}
redis:
  backend: external
  external: {{servers: ["{REDIS}:6380"], cidrs: [{WORLD_CIDR}], ca_secret: enterprise-ca}}
object_storage:
  backend: external
  external:
    endpoint: http://s3.{STORAGE}.svc:80
    pods: {{namespace: {STORAGE}, labels: {{app: s3}}, port: 9000}}
"""
STORE = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STORAGE}},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s3", "namespace": STORAGE},
        "spec": {"selector": {"app": "s3"}, "ports": [{"port": 80, "targetPort": 9000}]},
    },
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "s3", "namespace": STORAGE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "s3"}},
            "template": {
                "metadata": {"labels": {"app": "s3"}},
                "spec": {
                    "containers": [
                        {
                            "name": "s3",
                            "image": "substitute/moto",
                            "command": ["/bin/bash", "-euc", START_MOTO, "start", "matrix-media"],
                            "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1},
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    },
]
"""What listens on another port than the Service before it."""
SQL = (
    f"CREATE ROLE chat LOGIN PASSWORD '{PASSWORDS[OWN]}'",
    f"CREATE ROLE authentication_service LOGIN PASSWORD '{PASSWORDS[SERVICE]}'",
    "CREATE DATABASE chat OWNER chat ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0",
    "CREATE DATABASE authentication_service OWNER authentication_service ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0",
)
"""What the deployment guide asks the database's administrator for."""


def secret(name: str, **values: str) -> dict[str, Any]:
    data = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "matrix"}, "data": data}


def runs(o: dict[str, Any]) -> bool:
    """Whether an object is of use to the processes of these tests."""
    if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
        return o["metadata"]["name"] in PROCESSES | {"external-redis-proxy", "media-repository"}
    kept = ("secret-generator", "external-postgresql-check")
    return not (o["kind"] == "Tenant" or (o["kind"] == "Job" and not o["metadata"]["name"].startswith(kept)))


@pytest.fixture(scope="module")
def enterprise() -> Authority:
    """The authority of the servers' certificates."""
    return authority("enterprise")


@pytest.fixture(scope="module")
def site(enterprise: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    programs, redis = str(postgresql_programs()), redis_program()
    folder: Path = tmp_path_factory.mktemp("enterprise")
    write(folder, compile_site(parse_site(SITE), profiles()[:1]))
    objects = [o for o in build(folder / "base") if runs(o)]
    objects += [secret(name, password=value) for name, value in PASSWORDS.items()]
    objects += [secret("enterprise-ca", **{"ca.crt": enterprise.certificate}), *STORE]
    objects += [secret(f"object-storage-user-{user}", access_key="any", secret_key="any") for user in ("media", "media-sweep")]
    with running_cluster(objects, folder=tmp_path_factory.mktemp("node")) as node:
        given = {"programs": programs, "port": 6432, "connections": 200, "sql": SQL}
        database = started(node, DATABASE, "postgresql", enterprise, **given)
        memory = started(node, REDIS, "redis", enterprise, program=redis, port=6380, password=PASSWORDS["external-redis"])
        node.wait_ready(300)
        yield node
        for server in (database, memory):
            server.signal(15)
            server.wait(20)


def started(cluster: Cluster, host: str, counterpart: str, by: Authority, **given: Any) -> Client:
    """A server outside the cluster that DNS knows by `host`."""
    certificate, key = by.issue(host)
    command = ["python", "-m", f"tests.live.counterparts.{counterpart}"]
    server = cluster.launch(
        command, Place(kind="world", names=(host,)), given=json.dumps({"certificate": certificate, "key": key, **given})
    )
    said = "ready" if counterpart == "postgresql" else "Ready to accept connections"
    wait_for(lambda: said in server.output() or not server.running(), 60, f"{host} to listen")
    assert server.running(), server.wait(10).errors
    return server


def test_nothing_of_the_platforms_own_runs_in_their_place(site: Cluster) -> None:
    assert {pod.workload for pod in site.pods()} & {"redis", "redis-proxy", "postgresql-main"} == set()


def test_the_job_says_that_the_database_has_all_that_it_needs(site: Cluster) -> None:
    (check,) = [pod for pod in site.pods() if pod.name.startswith("external-postgresql-check")]
    assert "has all that it needs" in site.logs(check.name)


def test_people_send_messages_and_read_each_others(site: Cluster) -> None:
    tokens = {}
    for name in ("alice", "bob"):
        register(site, name)
        tokens[name] = log_in(site, name).body["access_token"]

    def call(name: str, method: str, path: str, body: object = None) -> Any:
        answer = ask(site, method, f"{PUBLIC}/_matrix/client/v3/{path}", body, tokens[name])
        assert answer.status == 200, answer
        return answer.body

    room = call("alice", "POST", "createRoom", {"preset": "private_chat", "invite": ["@bob:example.com"]})["room_id"]
    call("bob", "POST", f"join/{room}", {})
    sent = call("alice", "PUT", f"rooms/{room}/send/m.room.message/1", {"msgtype": "m.text", "body": "on your own"})["event_id"]
    # Another process answers, which heard of it by Redis.
    wait_for(lambda: call("bob", "GET", f"rooms/{room}/event/{sent}")["content"]["body"] == "on your own", 10, "the message")


def test_media_are_kept_in_the_s3_of_the_cluster_by_the_port_of_its_pods(site: Cluster) -> None:
    register(site, "carol")
    token = log_in(site, "carol").body["access_token"]
    answer = ask(site, "POST", f"{PUBLIC}/_matrix/media/v3/upload?filename=x", {"kept": "there"}, token)
    assert answer.status == 200, answer
    media = answer.body["content_uri"].removeprefix("mxc://")
    assert ask(site, "GET", f"{PUBLIC}/_matrix/client/v1/media/download/{media}", None, token).body == {"kept": "there"}
    look = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9000/matrix-media').read().decode())"
    assert "<Key>local_content/" in site.exec(f"{STORAGE}/{site.pods('s3')[0].name}", ["python", "-c", look]).check().output


def test_nobody_but_who_has_to_do_with_them_reaches_them(site: Cluster) -> None:
    def attempt(pod: str, host: str, port: int) -> str:
        return site.exec(pod, ["python", "-c", f"import socket; socket.create_connection(('{host}', {port}), 3)"]).errors

    assert attempt("synapse-0", DATABASE, 6432) == ""
    assert "TimeoutError" in attempt("synapse-0", REDIS, 6380)
    assert "TimeoutError" in attempt("synapse-0", DATABASE, 5432)
    assert attempt("media-repository-0", f"s3.{STORAGE}.svc.cluster.local", 80) == ""
    assert "TimeoutError" in attempt("synapse-0", f"s3.{STORAGE}.svc.cluster.local", 80)
    site.forget_denied()
