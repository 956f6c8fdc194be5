"""MinIO without its operator, as it is rendered, and as its own program runs it: each server in a pod of its own, behind the policies.

A server is lost while 200 objects are put at once, another comes back with empty drives, a pool is added, and a site that began with the
operator goes on with the same volumes.
"""

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from app.compiler import compile_site
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import build, write
from tests.live.cluster import NODE, Cluster, Place, running_cluster
from tests.live.cluster.client import NODE_CIDR
from tests.live.minio_server import minio_program
from tests.live.processes import wait_for

# MinIO is built by `make minio`.
pytestmark = [pytest.mark.live, pytest.mark.optional, pytest.mark.timeout(900)]

SILO, TENANT = "object_storage: {backend: silo}\n", "object_storage: {backend: minio}\n"
GROWN = f"{SILO}storage_sizes: {{pools: {{main: [{{servers: 4, drive: 20Gi}}, {{servers: 4, drive: 20Gi}}]}}}}\n"
MEDIA = Place("matrix", {"app.kubernetes.io/name": "synapse", "app.kubernetes.io/component": "media-repository"})
STRANGER = Place("matrix", {"app.kubernetes.io/name": "synapse", "app.kubernetes.io/component": "synchrotron"})
ENDPOINT, BUCKET, POOL = "http://minio.matrix.svc.cluster.local", "matrix-media", "minio-main-pool-0"
JOBS = ("secret-generator", "minio-main-buckets")


def objects(choice: str, folder: Path) -> list[dict[str, Any]]:
    """What belongs to object storage, of a site with a choice."""
    site = f"server_name: example.com\nimages: {{registry: registry.example.com/matrix}}\ncluster: {{api_server_cidrs: [{NODE_CIDR}]}}\n{choice}"
    write(folder, compile_site(parse_site(site), profiles()[:1]))
    return [o for o in build(folder / "base") if _runs(o)]


def _runs(o: Mapping[str, Any]) -> bool:
    name = o["metadata"]["name"]
    if o["kind"] == "StatefulSet":
        return str(name).startswith("minio-")
    if o["kind"] == "Job":
        return str(name).startswith(JOBS)
    return o["kind"] not in ("Deployment", "DaemonSet", "CronJob", "Cluster", "HorizontalPodAutoscaler")


@frozen
class Store:
    """The servers, and who puts media into them."""

    cluster: Cluster
    folder: Path

    def ask(self, what: str, prefix: str, count: int, parallel: int = 20, seconds: float | None = None) -> dict[str, Any]:
        client = self.launch(what, prefix, count, parallel, seconds)
        return dict(client.wait(240).check().json)

    def launch(self, what: str, prefix: str, count: int, parallel: int = 20, seconds: float | None = None) -> Any:
        keys = self.cluster.secret("minio-main-user-media")
        command = ["python", "-m", "tests.live.clients.objects", what, ENDPOINT, BUCKET, prefix, str(count), str(parallel)]
        given = f"{keys['access-key'].decode()}:{keys['secret-key'].decode()}"
        return self.cluster.launch([*command, *([str(seconds)] if seconds else [])], MEDIA, given=given)

    def settled(self, seconds: float) -> None:
        """Wait until writes are taken again by whichever server."""
        started, number = time.monotonic(), 0
        while self.ask("put", f"settled-{time.monotonic()}", 16, 4)["refused"]:
            number += 1
            assert time.monotonic() - started < seconds, number


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    minio_program()
    folder = tmp_path_factory.mktemp("silo")
    with running_cluster(objects(SILO, folder), folder=tmp_path_factory.mktemp("node")) as cluster:
        cluster.wait_ready(240)
        found = Store(cluster, folder)
        found.settled(120)
        yield found


def drives(store: Store, server: int, pool: str = POOL) -> list[int]:
    """How many objects are on each drive of a server."""
    count = "for drive in /export*; do find $drive -path '*/matrix-media/*' -name xl.meta | wc -l; done"
    return [int(line) for line in store.cluster.exec(f"{pool}-{server}", ["sh", "-c", count]).check().output.split()]


def missing(store: Store, put: Mapping[str, Any]) -> set[str]:
    """What was acknowledged and cannot be read."""
    return set(put["done"]) - set(store.ask("get", "while-one-is-lost", 600, 50)["done"])


def said(capsys: pytest.CaptureFixture[str], what: str) -> None:
    with capsys.disabled():
        print(f"\nMinIO without its operator: {what}", end="")


def test_the_policies_let_in_who_puts_media_and_nobody_else(store: Store) -> None:
    assert store.ask("put", "first", 20)["done"] == [f"first/{number:05}" for number in range(20)]
    refused = store.cluster.run(
        ["python", "-c", "import socket; socket.create_connection(('minio.matrix.svc.cluster.local', 80), 3)"], STRANGER
    )
    assert "TimeoutError" in refused.errors
    store.cluster.forget_denied()


UPDATE = """
import sys, urllib.error, urllib.request
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
user, password = sys.stdin.read().split(":")
url = "http://minio.matrix.svc.cluster.local/minio/admin/v3/update?updateURL=http%3A%2F%2F127.0.0.1%2Fminio&type=2"
request = AWSRequest("POST", url, data=b"")
S3SigV4Auth(Credentials(user, password), "s3", "us-east-1").add_auth(request)
try:
    urllib.request.urlopen(urllib.request.Request(url, b"", dict(request.headers), method="POST"), timeout=20)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


def test_no_server_takes_another_program_from_the_operator(store: Store) -> None:
    root = store.cluster.secret("minio-main-root")
    given = f"{root['access-key'].decode()}:{root['secret-key'].decode()}"
    said = store.cluster.run(["python", "-c", UPDATE], NODE, given=given).check().output
    # By its settings, and not since it cannot tell how old it is.
    assert "MethodNotAllowed" in said
    assert "release time" not in said


def test_nothing_that_was_acknowledged_is_lost_with_a_server(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = drives(store, 0)[0]
    putting = store.launch("put", "while-one-is-lost", 600, 200)
    wait_for(lambda: drives(store, 0)[0] > before + 20, 60, "the first of them")
    store.cluster.power_off(f"{POOL}-2")
    found = putting.wait(300).check().json
    assert len(found["done"]) + len(found["refused"]) == 600
    said(
        capsys,
        f"a server lost in 200 parallel puts: {len(found['done'])} of 600 acknowledged, longest pause {found['gap']:.1f} s, "
        f"longest put {found['longest']:.1f} s",
    )
    assert len(found["done"]) > 200, "writing goes on without it"
    assert missing(store, found) == set()
    store.cluster.start(f"{POOL}-2")
    store.cluster.wait_ready(120)
    started = time.monotonic()
    wait_for(lambda: missing(store, found) == set(), 120, "all of it, when the server is back")
    said(capsys, f"every read finds its object {time.monotonic() - started:.0f} s after the server is ready again, at the latest")
    store.settled(120)


def test_a_server_whose_drives_are_empty_is_filled_by_the_others(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    put = store.ask("put", "before-a-wipe", 100)
    assert put["refused"] == {}
    before = drives(store, 0)
    assert all(before)
    store.cluster.exec(f"{POOL}-1", ["sh", "-c", "rm -rf /export*/* /export*/.minio.sys"])
    store.cluster.delete(f"{POOL}-1", wait=60)
    store.cluster.wait_ready(120)
    started = time.monotonic()
    wait_for(lambda: drives(store, 1) == drives(store, 0), 180, "the objects on the new drives")
    said(capsys, f"{before[0]} objects are on two empty drives again after {time.monotonic() - started:.0f} s")
    assert store.ask("get", "before-a-wipe", 100)["refused"] == {}


def test_a_pool_is_added_and_what_was_there_stays(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = store.ask("put", "before-growth", 60)["done"]
    putting = store.launch("put", "during-growth", 100_000, 1, 150)
    started = time.monotonic()
    store.cluster.apply(objects(GROWN, store.folder / "grown"))
    # As the guide says: all servers have to know of it before any takes writes.
    for server in range(4):
        store.cluster.delete(f"{POOL}-{server}")
    store.cluster.wait_ready(240)
    wait_for(lambda: len(store.cluster.pods("minio-main-pool-1")) == 4, 60, "the second pool")
    store.settled(120)
    took = time.monotonic() - started
    during = putting.wait(240).check().json
    read = store.ask("get", "before-growth", 60)
    assert read["done"] == before
    again = store.ask("get", "during-growth", len(during["done"]) + len(during["refused"]))
    assert set(during["done"]) <= set(again["done"])
    wait_for(lambda: _put_there(store), 120, "an object in the second pool")
    said(capsys, f"a second pool takes writes {took:.0f} s after the apply, and writing paused for {during['gap']:.0f} s")


def _put_there(store: Store) -> bool:
    store.ask("put", f"spread-{time.monotonic()}", 40)
    return any(drives(store, 0, "minio-main-pool-1"))


# --- from the operator to no operator


def as_the_operator_makes_it(tenant: Mapping[str, Any]) -> dict[str, Any]:
    """The StatefulSet of a Tenant's pool: names, claims, paths and arguments (minio/operator 7.1, pkg/resources/statefulsets, pkg/apis)."""
    spec, name, namespace = tenant["spec"], tenant["metadata"]["name"], tenant["metadata"]["namespace"]
    (pool,) = spec["pools"]
    labels = {"v1.min.io/tenant": name, "v1.min.io/pool": pool["name"]}
    hosts = f"http://{name}-{pool['name']}-{{0...{pool['servers'] - 1}}}.{name}-hl.{namespace}.svc.cluster.local"
    volumes = [(f"data{number}", f"{spec['mountPath']}{number}") for number in range(pool["volumesPerServer"])]
    container = {
        "name": "minio",
        "image": spec["image"],
        "args": ["server", "--certs-dir", "/tmp/certs", "--console-address", ":9090", "--address", ":9000"],
        "env": [
            *spec["env"],
            {"name": "MINIO_CONFIG_ENV_FILE", "value": "/tmp/minio/config.env"},
            {"name": "MINIO_VOLUMES", "value": f"{hosts}{spec['mountPath']}{{0...{pool['volumesPerServer'] - 1}}}"},
        ],
        "ports": [{"name": "minio-port", "containerPort": 9000}],
        "securityContext": pool["containerSecurityContext"],
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "configuration", "mountPath": "/tmp/minio"},
            *({"name": volume, "mountPath": path} for volume, path in volumes),
        ],
    }
    pod = {
        "containers": [container],
        "securityContext": pool["securityContext"],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "configuration", "secret": {"secretName": spec["configuration"]["name"]}},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": f"{name}-{pool['name']}", "namespace": namespace},
        "spec": {
            "replicas": pool["servers"],
            "serviceName": f"{name}-hl",
            "podManagementPolicy": spec["podManagementPolicy"],
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "volumeClaimTemplates": [{"metadata": {"name": volume}} for volume, _ in volumes],
        },
    }


def operated(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects of a site with a Tenant, with what its operator would make of it."""
    (tenant,) = (o for o in found if o["kind"] == "Tenant")
    name, namespace = tenant["metadata"]["name"], tenant["metadata"]["namespace"]

    def service(called: str, port: int, **more: Any) -> dict[str, Any]:
        ports = [{"name": "http-minio", "port": port, "targetPort": 9000}]
        spec = {"selector": {"v1.min.io/tenant": name}, "ports": ports, **more}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": called, "namespace": namespace}, "spec": spec}

    made = [service("minio", 80), service(f"{name}-hl", 9000, clusterIP="None", publishNotReadyAddresses=True)]
    return [*(o for o in found if o["kind"] != "Tenant"), as_the_operator_makes_it(tenant), *made]


def test_a_site_leaves_the_operator_and_its_data_stays_where_it_is(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    minio_program()
    folder = tmp_path_factory.mktemp("going-over")
    before = operated(objects(TENANT, folder / "tenant"))
    with running_cluster(copy.deepcopy(before), folder=tmp_path_factory.mktemp("node-going-over")) as cluster:
        store = Store(cluster, folder)
        cluster.wait_ready(240)
        store.settled(120)
        put = store.ask("put", "by-the-operator", 200)
        assert put["refused"] == {}
        on_drives = drives(store, 0)
        # kubectl delete tenant: what the operator has made goes with it, and claims stay.
        started = time.monotonic()
        cluster.apply([o for o in before if o["kind"] != "StatefulSet"])
        wait_for(lambda: cluster.pods(POOL) == [], 90, "the operator's pods to go")
        cluster.apply(objects(SILO, folder / "silo"))
        cluster.wait_ready(240)
        store.settled(120)
        took = time.monotonic() - started
        assert store.ask("get", "by-the-operator", 200)["done"] == put["done"]
        assert drives(store, 0)[0] >= on_drives[0], "with the keys that it had, on the drives that it had"
        said(capsys, f"over from the operator, with 200 objects where they were, in {took:.0f} s")
