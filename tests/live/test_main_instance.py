"""The main instance as it is rendered, booted with the real programs: every process comes up, and reaches whom it may and nobody else."""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.inspection.reach import Pod, can_reach, read_cluster
from tests.live.cluster import INGRESS, NODE, WORLD, Cluster, Place
from tests.live.installation import INTERNAL, PUBLIC, objects

pytestmark = pytest.mark.live

PLAIN = Place("matrix", {"app": "somebody"})
"""A pod of the platform's namespace that no policy names."""


@pytest.fixture(scope="module")
def rendered(live_dist: Path) -> Sequence[dict[str, Any]]:
    return objects(live_dist, "100-ccu")


def test_every_process_came_up_at_the_first_attempt(cluster: Cluster) -> None:
    # What calls are made of ends while Redis does not answer yet, and is started again.
    restarted = {pod.name: pod.restarts for pod in cluster.pods() if pod.restarts and pod.namespace != "matrix-rtc"}
    assert restarted == {}
    assert {event.pod for event in cluster.events() if event.reason in ("Killing", "Failed")} == set()


def test_no_connection_of_a_starting_platform_was_refused(cluster: Cluster) -> None:
    own = {pod.name for pod in cluster.pods()}
    assert [denied for denied in cluster.denied() if denied.source in own] == []


def test_every_process_is_the_one_that_its_files_make_it(cluster: Cluster, rendered: Sequence[dict[str, Any]]) -> None:
    shards = next(yaml.safe_load(o["data"]["shards.yaml"]) for o in rendered if "shards.yaml" in (o.get("data") or {}))
    workers = {pod.name for pod in cluster.pods() if pod.labels.get("app.kubernetes.io/name") == "synapse"} - {"synapse-0"}
    written = {"master", *(name for names in shards["stream_writers"].values() for name in names)}
    assert written - {"master"} <= workers
    # All 22 but sso-login and appservice: the site has no identity provider and no bridge.
    assert len({re.sub(r"-\d+$", "", name) for name in workers}) == 20
    for name in sorted(workers):
        assert cluster.exec(name, ["cat", "/run/synapse/name.yaml"]).check().output == f"worker_name: {name}\n"


def test_configuration_is_mounted_byte_for_byte(cluster: Cluster, rendered: Sequence[dict[str, Any]]) -> None:
    texts = {o["metadata"]["name"]: o["data"] for o in rendered if o["kind"] == "ConfigMap"}
    for workload, pod in (("synapse", "synapse-0"), ("redis", "redis-0"), ("receipts", "receipts-0")):
        spec = next(o for o in rendered if o["kind"] == "StatefulSet" and o["metadata"]["name"] == workload)["spec"]["template"]["spec"]
        paths = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        for volume in spec["volumes"]:
            if "configMap" in volume:
                for key, text in texts[volume["configMap"]["name"]].items():
                    assert cluster.exec(pod, ["cat", f"{paths[volume['name']]}/{key}"]).check().output == text


def test_processes_have_no_rights_but_their_own(cluster: Cluster) -> None:
    for pod in ("synapse-0", "receipts-0", "haproxy-0", "redis-0", "redis-proxy-0"):
        lines = cluster.exec(pod, ["cat", "/proc/1/status"]).check().output.splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert int(status["Uid"].split()[0]) > 0, pod
        assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1"), pod
        assert cluster.exec(pod, ["touch", "/of-the-test"]).code != 0, pod


def test_the_secrets_are_those_that_the_generator_made(cluster: Cluster) -> None:
    made = cluster.secret("synapse")
    for key in ("signing_key", "registration_shared_secret"):
        assert cluster.exec("synapse-0", ["cat", f"/secrets/synapse/{key}"]).check().output.encode() == made[key]
    assert cluster.exec("receipts-0", ["ls", "/secrets/synapse/registration_shared_secret"]).code != 0, "workers have no use for it"
    listed = cluster.exec("receipts-0", ["cat", "/proc/1/cmdline", "/proc/1/environ"]).check().output
    assert not [key for key, value in made.items() if value.decode() in listed]


def test_packets_go_where_the_policies_let_them_and_nowhere_else(cluster: Cluster, rendered: Sequence[dict[str, Any]]) -> None:
    """Every pair of running pods, on every port that the second declares and one that it does not: packets against the evaluator."""
    known = read_cluster(rendered)
    running = {pod.name: pod for pod in cluster.pods() if pod.phase == "Running" and pod.address}
    meant: dict[str, Pod] = {}
    for name, pod in running.items():
        own = [
            p for p in known.pods if p.namespace == pod.namespace and (p.name == name or p.workload == f"{pod.namespace}/{pod.workload}")
        ]
        if own and not own[0].host_network:
            meant[name] = next((p for p in own if p.name == name), own[0])
    assert len(meant) > 30
    asked = [
        (source, target, port)
        for source, target in product(meant, meant)
        if source != target
        for port in sorted({known_port.number for known_port in meant[target].ports if known_port.protocol == "TCP"} | {1})
    ]
    expected = {one for one in asked if can_reach(known, meant[one[0]], meant[one[1]], one[2])}
    arrived = cluster.arrivals(asked, 0.5)
    # What a busy machine was too slow for is asked again.
    arrived |= cluster.arrivals(sorted(expected - arrived), 5)
    cluster.forget_denied()
    assert arrived - expected == set(), "these are open and should not be"
    assert expected - arrived == set(), "these should be open"


@pytest.mark.parametrize(
    ("place", "target", "reached"),
    [
        (INGRESS, PUBLIC, True),
        (NODE, INTERNAL, True),
        (INGRESS, INTERNAL, False),
        (PLAIN, PUBLIC, False),
        (PLAIN, "http://postgresql-main-rw.matrix.svc.cluster.local:5432", False),
        (INGRESS, "http://postgresql-main-rw.matrix.svc.cluster.local:5432", False),
        (INGRESS, "http://synapse-0.synapse.matrix.svc.cluster.local:8008", False),
        (INGRESS, "http://redis-primary.matrix.svc.cluster.local:6379", False),
        (WORLD, PUBLIC, False),
    ],
)
def test_strangers_reach_what_is_published_and_nothing_else(cluster: Cluster, place: Place, target: str, reached: bool) -> None:
    # By address, since a stranger in the namespace may not even ask for names.
    host, port = target.removeprefix("http://").split(":")
    service, _, namespace = host.removesuffix(".svc.cluster.local").rpartition(".")
    (address, *_) = cluster.resolve(service, namespace)
    script = f"import socket; socket.create_connection(('{address}', {port}), 2).close()"
    assert (cluster.run(["python", "-c", script], at=place, seconds=30).code == 0) == reached
    cluster.forget_denied()


def test_the_platform_answers_a_client(cluster: Cluster) -> None:
    assert "v1.11" in cluster.run(["curl", "-sS", "--fail", f"{PUBLIC}/_matrix/client/versions"]).check().json["versions"]
