"""MinIO without its operator: the same store in every respect but who makes its pods."""

from functools import cache
from typing import Any

import pytest
from cdk8s import App

from app.compiler import render
from app.gitops.operators import wanted
from app.inspection.changes import changes
from app.inspection.kept import kept, left_behind
from app.inspection.reach import Cluster, matrix, read_cluster
from app.inspection.refusals import refusal
from app.platform import assemble
from app.platform.infrastructure import infrastructure
from app.settings import parse_site
from kit.installation import Declarations, Installation
from kit.rendering import Manifest, ObjectId
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.components import COMPONENTS
from tests.manifests.rules import budget, consistency, tenants
from tests.manifests.rules import kept as keeping
from tests.manifests.rules.mutation import Break, assert_noticed, deleting, setting, without
from tests.manifests.rules.objects import Objects, Rule, of_kind
from tests.manifests.test_components import _set, component_of, programs
from tests.manifests.test_sites import BASE, LI

TWO_POOLS = "storage_sizes: {pools: {main: [{servers: 4, drive: 60Gi}, {servers: 8, drives: 1, drive: 50Gi}]}}\n"
SILO, TENANT = "object_storage: {backend: silo}\n", ""
EVERYTHING = f"{LI.replace('li: true', 'li: true, monitoring: true', 1)}"
STORES = ("minio-main", "minio-li")
SMALLEST = profiles()[0]
POOL = "StatefulSet/minio-main-pool-0"


@cache
def objects(choice: str) -> Objects:
    return [dict(o) for o in expected(render(parse_site(BASE + choice), SMALLEST)).values()]


@cache
def declared(choice: str) -> Declarations:
    return assemble(App(), parse_site(BASE + choice), SMALLEST).declared


@cache
def cluster(choice: str) -> Cluster:
    return read_cluster(objects(choice))


@pytest.mark.parametrize("name", STORES)
def test_it_has_the_metrics_and_the_alerts_of_its_row(name: str) -> None:
    offered = {f"{s.port.number} {s.path}" for s in declared(SILO + EVERYTHING).scrapes if component_of(dict(s.pods.labels)) == name}
    assert offered == _set(COMPONENTS[name].metrics)
    assert declared(SILO + EVERYTHING).alerts == declared(TENANT + EVERYTHING).alerts


def test_it_keeps_what_a_tenant_keeps_and_says_the_same_of_its_secrets() -> None:
    ours, theirs = declared(SILO + EVERYTHING), declared(TENANT + EVERYTHING)
    assert {kept.where for name, kept in ours.state if name in STORES} == {f"StatefulSet {name}-pool-0" for name in STORES}
    assert {(name, kept.what, kept.restored) for name, kept in ours.state} == {
        (name, kept.what, kept.restored) for name, kept in theirs.state
    }
    assert [need.spec for need in ours.secrets] == [need.spec for need in theirs.secrets]


def test_whoever_reaches_a_tenant_reaches_it_and_nobody_else() -> None:
    def callers(choice: str) -> dict[str, set[str]]:
        here = cluster(choice)
        owners = {str(workload): component_of(workload.pods[0].labels) for workload in here.workloads.values()}
        found: dict[str, set[str]] = {name: set() for name in STORES}
        for row in matrix(here):
            for target in row.targets:
                name = owners[f"{row.namespace}/{target}"]
                if name in found:
                    found[name] |= {f"{owners.get(source, source)} {row.ports}" for source in row.sources}
        return found

    ours, theirs = callers(SILO + EVERYTHING), callers(TENANT + EVERYTHING)
    for name in STORES:
        assert {caller.split()[0] for caller in theirs[name] - ours[name]} == {"operator"}, "MinIO's"
        assert ours[name] - theirs[name] == set()


def test_its_servers_do_not_ask_the_api_server() -> None:
    assert {pods.name for pods in declared(SILO).api_clients}.isdisjoint(STORES)
    assert {pods.name for pods in declared(TENANT).api_clients} & set(STORES)


@pytest.mark.parametrize("name", STORES)
def test_the_live_node_has_its_program(name: str) -> None:
    assert programs(name, objects(SILO + EVERYTHING)) == {"pgsty/silo:"}


def test_nothing_of_the_operator_is_left() -> None:
    found = objects(SILO + "backups: {object_storage: {backend: silo}}\n" + LI)
    assert of_kind(found, "Tenant") == []
    assert "minio-operator" not in {operator.name for operator in wanted(parse_site(BASE + SILO))}
    assert not [o for o in found if o["metadata"]["name"].startswith("minio-operator-release")]
    second = parse_site(BASE + SILO + "backups: {object_storage: {backend: minio}}\n")
    assert "minio-operator" in {operator.name for operator in wanted(second)}, "backups may have a Tenant"


BREAKS: list[tuple[Rule, Break, str]] = [
    (budget.erasure_problems, setting(POOL, "container.env[2].value", "EC:5"), "EC:5 in erasure sets of 8"),
    (budget.erasure_problems, without(POOL, "spec.volumeClaimTemplates[1]"), "EC:4 in erasure sets of 4"),
    (
        budget.erasure_problems,
        setting(POOL, "pod.topologySpreadConstraints[0].maxSkew", 3),
        "a node may have more servers than may be lost",
    ),
    (tenants.pool_problems, setting(POOL, "spec.replicas", 5), "and there is"),
    (tenants.pool_problems, setting(POOL, "spec.serviceName", "minio"), "and there is"),
    (tenants.pool_problems, deleting(POOL), "no pool between two"),
    (tenants.pool_problems, setting(POOL, "container.env[3].value", "on"), "is set up with"),
    (tenants.pool_problems, setting(POOL, "spec.volumeClaimTemplates[0].metadata.name", "drive0"), "from ['drive0'"),
    (tenants.pool_problems, setting(POOL, "container.volumeMounts[2].mountPath", "/data0"), "has its drives at"),
    (tenants.pool_problems, without(POOL, "container.readinessProbe.initialDelaySeconds"), "before it has joined"),
    (tenants.pool_problems, setting(POOL, "spec.podManagementPolicy", "OrderedReady"), "starts one server after the other"),
    (keeping.keeping_problems, without(POOL, "metadata.annotations"), "minio-main-pool-0 would be deleted with its data"),
    (consistency.budget_problems, deleting("PodDisruptionBudget/minio-main-pool-1"), "minio-main-pool-1"),
]


@pytest.mark.parametrize(("rule", "change", "mention"), BREAKS)
def test_what_would_break_it_is_noticed(rule: Rule, change: Break, mention: str) -> None:
    assert_noticed(rule, objects(SILO + TWO_POOLS), change, mention)


# --- growing, shrinking, and going over


def stores(choice: str, size: int = 0) -> list[Manifest]:
    """The pods of a site's infrastructure, which is a tenth of its objects."""
    site, profile = parse_site(BASE + choice), profiles()[size]
    installation = Installation(App(), profile.name, site.facts)
    infrastructure(installation, site, profile)
    return [o for o in installation.rendering().manifests() if o["kind"] in ("StatefulSet", "Tenant")]


def refused(before: list[Manifest], after: list[Manifest]) -> dict[str, Any]:
    return {str(change.identity): change.refused for change in changes(before, after) if change.refused}


def test_a_pool_that_would_change_its_shape_is_refused_with_what_to_write() -> None:
    found = refused(stores(SILO, 1), stores(SILO, 2))
    assert found.keys() == {"StatefulSet matrix/minio-main-pool-0"}
    (refusal,) = found.values()
    assert str(refusal).startswith("servers is 4 for good, not 6, no apply makes drives of 60Gi larger")
    assert refusal.keep == {"storage_sizes.pools.main": [{"servers": 4, "drives": 2, "drive": "60Gi"}]}
    listed = f"{SILO}storage_sizes: {{pools: {{main: [{{servers: 4, drives: 2, drive: 60Gi}}]}}}}\n"
    grown = stores(listed, 2)
    assert refused(stores(SILO, 1), grown) == {}
    assert {o["metadata"]["name"] for o in grown if o["metadata"]["name"].startswith("minio")} == {"minio-main-pool-0", "minio-main-pool-1"}
    assert refused(grown, stores(listed + "", 1)).keys() == {"StatefulSet matrix/minio-main-pool-1"}, (
        "the second one, which nobody has listed"
    )


def test_a_pool_that_would_go_is_refused_with_all_that_there_are() -> None:
    (refusal,) = refused(stores(SILO + TWO_POOLS), stores(SILO + TWO_POOLS.replace(", {servers: 8, drives: 1, drive: 50Gi}", ""))).values()
    assert str(refusal).startswith("it cannot be taken away: objects are in it; list what there is in storage_sizes.pools.main")
    pools = [{"servers": 4, "drives": 2, "drive": "60Gi"}, {"servers": 8, "drives": 1, "drive": "50Gi"}]
    assert refusal.keep == {"storage_sizes.pools.main": pools}


def test_drives_that_would_shrink_are_refused() -> None:
    (refusal,) = refused(stores(SILO + TWO_POOLS), stores(SILO + TWO_POOLS.replace("60Gi", "40Gi"))).values()
    assert "each drive is 60Gi and cannot shrink to 40Gi" in str(refusal)


def test_what_the_operator_has_made_is_not_taken_for_ours() -> None:
    (ours,) = (o for o in stores(SILO) if o["metadata"]["name"] == "minio-main-pool-0")
    theirs = {**ours, "spec": {**ours["spec"], "selector": {"matchLabels": {"v1.min.io/tenant": "minio-main"}}}}
    assert "it is MinIO's operator's" in str(refusal(theirs, ours))
    assert [str(why) for why in refused([theirs], [ours]).values()] == [str(refusal(theirs, ours))]


@pytest.mark.parametrize(
    ("before", "after", "command"),
    [
        (TENANT, SILO, "kubectl --namespace matrix delete tenant minio-main"),
        (SILO, TENANT, "kubectl --namespace matrix delete statefulset minio-main-pool-0"),
    ],
)
def test_whoever_goes_over_is_told_what_to_take_away_and_keeps_the_volumes(before: str, after: str, command: str) -> None:
    (left,) = left_behind(kept(stores(before)), {ObjectId.of(o) for o in stores(after)})
    assert left.command == command
    assert str(left).endswith(f"its volumes are what takes its place has: before you apply, {command}")


def test_a_store_that_goes_for_good_is_named_with_its_volumes() -> None:
    outside = "object_storage: {backend: external, external: {endpoint: https://s3.example.com}}\n"
    (left,) = left_behind(kept(stores(SILO)), {ObjectId.of(o) for o in stores(outside)})
    labels = "app.kubernetes.io/component=pool-0,app.kubernetes.io/name=minio-main"
    assert left.command == f"kubectl --namespace matrix delete statefulset,persistentvolumeclaim --selector {labels}"
