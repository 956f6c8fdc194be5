"""Backups in a store of their own: the database reaches it, nobody else does, and it is not where media are."""

from functools import cache
from ipaddress import ip_address

import pytest
from cdk8s import App

from app.inspection.reach import Address, Cluster, can_reach, read_cluster
from app.platform import assemble
from app.settings import parse_site
from kit.installation import Installation
from kit.secrets import Given
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.reaching import stranger
from tests.manifests.test_sites import BASE, LI

OWN = "backups: {object_storage: {backend: minio}}\n"
ELSEWHERE = "backups: {object_storage: {backend: external, external: {endpoint: 'https://192.0.2.9:8443'}}}\n"

OUTSIDE, NEIGHBOUR = (Address(text, (ip_address(text),)) for text in ("192.0.2.9", "192.0.2.10"))


@cache
def installed(choice: str) -> Installation:
    return assemble(App(), parse_site(f"{BASE}{choice}{LI}"), profiles()[0])


@cache
def cluster(choice: str) -> Cluster:
    return read_cluster([dict(manifest) for manifest in installed(choice).rendering().manifests()])


def callers(choice: str, store: str) -> set[str]:
    """The workloads that reach a tenant's port, without what an operator makes of PostgreSQL besides, and the digest of a Job."""
    here = cluster(choice)
    (name,) = (name for name in here.workloads if name.startswith(store))
    target = here.workloads[name].pods[0]
    return {
        other.rpartition("-")[0] if "buckets" in other else other
        for other, workload in here.workloads.items()
        if other != name and can_reach(here, workload.pods[0], target, 9000, "TCP")
    }


def test_the_database_alone_reaches_the_second_minio() -> None:
    found = {name for name in callers(OWN, "matrix-backups/minio-backups-pool") if not name.startswith("matrix/postgresql-main-")}
    assert found == {"matrix/postgresql-main", "matrix-backups/minio-backups-buckets", "minio-operator/minio-operator"}
    assert not any(name.startswith("matrix/postgresql") for name in callers(OWN, "matrix/minio-main-pool")), "and no more that of media"
    assert any(name.startswith("matrix/postgresql") for name in callers("", "matrix/minio-main-pool")), "as it does without"


def test_the_keys_of_the_second_minio_are_where_the_database_is_and_made_where_it_stands() -> None:
    made = {(need.spec.namespace, need.spec.name) for need in installed(OWN).declared.secrets}
    assert {("matrix-backups", "minio-backups-root"), ("matrix-backups", "minio-backups-user-backups")} <= made
    assert ("matrix", "minio-backups-user-backups") in made
    assert ("matrix", "minio-backups-root") not in made
    assert ("matrix", "minio-main-user-backups") not in made


def test_an_address_elsewhere_is_the_only_one_that_the_database_may_call() -> None:
    here = cluster(ELSEWHERE)
    for workload, reaches in (("matrix/postgresql-main", True), ("matrix-li/postgresql-li", True), ("matrix/media-repository", False)):
        source = here.workloads[workload].pods[0]
        assert can_reach(here, source, OUTSIDE, 8443, "TCP") is reaches, workload
        assert not can_reach(here, source, NEIGHBOUR, 8443, "TCP"), workload


def test_the_keys_of_a_store_elsewhere_are_given_by_who_runs_it() -> None:
    needs = {
        need.spec.namespace: need.spec for need in installed(ELSEWHERE).declared.secrets if need.spec.name == "backup-storage-user-backups"
    }
    assert needs.keys() == {"matrix", "matrix-li"}
    assert all(isinstance(dict(spec.keys)["secret-key"], Given) for spec in needs.values())


def test_a_store_in_the_cluster_is_reached_at_the_port_of_its_pods_by_who_keeps_something_there() -> None:
    pods = "{endpoint: 'http://s3.storage.svc:9000', pods: {namespace: storage, labels: {app: s3}, port: 80}}"
    users = {"matrix/postgresql-main", "matrix-li/postgresql-li"}
    keeps = {"matrix/media-repository", "matrix/media-sweep", "matrix-li/synapse-li", "matrix-li/li-sync"}
    for choice, wanted in (
        (f"backups: {{object_storage: {{backend: external, external: {pods}}}}}\n", users),
        (f"object_storage: {{backend: external, external: {pods}}}\n", users | keeps),
    ):
        strangers = [stranger(name, "storage") for name in ("s3", "other")]
        here = read_cluster([*(dict(manifest) for manifest in installed(choice).rendering().manifests()), *strangers])
        ours = {name: workload.pods[0] for name, workload in here.workloads.items() if name.startswith("matrix")}
        s3, other = (here.workloads[f"storage/{name}"].pods[0] for name in ("s3", "other"))
        found = {name for name, pod in ours.items() if can_reach(here, pod, s3, 80, "TCP")}
        assert found >= wanted, choice
        assert {name for name in found - wanted if "/postgresql-" not in name} == set(), choice
        assert not any(can_reach(here, pod, other, 80, "TCP") or can_reach(here, pod, s3, 9000, "TCP") for pod in ours.values()), choice


@pytest.mark.parametrize("choice", [OWN, ELSEWHERE])
def test_the_bucket_of_backups_is_not_made_where_media_are(choice: str) -> None:
    (request,) = (
        dict(o["data"])["request.json"]
        for o in expected(installed(choice).rendering()).values()
        if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "minio-main-buckets-request"
    )
    assert "matrix-media" in request
    assert "matrix-backups" not in request
