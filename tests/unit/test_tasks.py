"""What people do beside an apply: which releases ask for it, what must not be applied, and what is left to take away."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection.changes import changes
from app.inspection.images import version
from app.inspection.steps import steps
from app.inspection.tasks import TABLES, TABLES_KNOWN_UNTIL, Tables, Tasks, removals, starts_with_tables_of, tasks
from kit.images import image_lock
from tests.kustomize import ROOT
from tests.manifests.test_documents import anchors
from tests.unit.test_changes import ONE, OTHER, claims, config_map, reading, workload

RELEASES = st.tuples(st.just(1), st.integers(TABLES[0].since[1], TABLES_KNOWN_UNTIL[1]), st.integers(0, 3))


def named(component: str, o: dict[str, Any], name: str = "w", namespace: str = "n") -> dict[str, Any]:
    metadata = {**o["metadata"], "name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": component}}
    return {**o, "metadata": metadata}


def synapse(tag: str, component: str = "synapse") -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "synapse", "image": f"registry.example.com/synapse:{tag}"}]}}
    return named(component, workload("StatefulSet", template=template), component)


def database(tag: str, generation: int = 1, name: str = "postgresql-main") -> dict[str, Any]:
    plugins = [{"name": "barman", "parameters": {"serverName": f"{name}-{generation}"}}]
    return named(name, workload("Cluster", imageName=f"ghcr.io/cloudnative-pg/postgresql:{tag}", plugins=plugins), name)


def asked(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Tasks:
    return tasks(changes(before, after))


def assert_there(page: str) -> None:
    file, _, anchor = page.partition("#")
    assert (ROOT / file).is_file(), page
    assert not anchor or anchor in anchors(ROOT / file), page


def said(found: Tasks) -> str:
    return "\n".join(task.what for task in (*found.instead, *found.before, *found.after))


# --- Synapse and its tables


@given(RELEASES, RELEASES)
def test_a_release_starts_with_the_tables_of_every_older_one_and_of_its_own(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    older, newer = sorted((one, other))
    assert starts_with_tables_of(newer, older) is True
    # Since 1.129 none of them has needed more than 84.
    assert starts_with_tables_of(older, newer) is True


@given(st.integers(0, 400), st.integers(0, 10))
def test_of_a_release_that_nobody_has_looked_at_nothing_is_said(minor: int, patch: int) -> None:
    looked_at = TABLES[0].since[1] <= minor <= TABLES_KNOWN_UNTIL[1]
    for pair in (((1, minor, patch), TABLES_KNOWN_UNTIL), (TABLES_KNOWN_UNTIL, (1, minor, patch))):
        assert (starts_with_tables_of(*pair) is not None) == looked_at


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6), st.data())
def test_a_way_back_ends_where_the_tables_need_more_than_the_older_release_knows(raises: list[int], data: st.DataObject) -> None:
    tables = [Tables((1, 100 + n), 80 + n, min(80 + n, 75 + sum(raises[: n + 1]))) for n in range(len(raises))]
    older, newer = sorted(data.draw(st.tuples(*[st.sampled_from(tables)] * 2)), key=lambda one: one.since)
    assert starts_with_tables_of((*older.since, 1), (*newer.since, 0), tables) == (older.version >= newer.needed)


def test_the_tables_of_the_synapse_that_is_deployed_have_been_looked_at() -> None:
    """Raise TABLES_KNOWN_UNTIL, with a row if SCHEMA_VERSION or SCHEMA_COMPAT_VERSION is another one: test_synapse_start.py compares."""
    assert version(f"synapse:{image_lock()['synapse'].tag}")[:2] == TABLES_KNOWN_UNTIL
    assert [tables.since for tables in TABLES] == sorted(tables.since for tables in TABLES)


def test_another_release_of_synapse_asks_for_a_backup_and_says_whether_there_is_a_way_back() -> None:
    found = asked([synapse("v1.150.0-1")], [synapse("v1.163.2-4")])
    assert [task.what for task in found.before] == [
        "take a backup by hand",
        "Synapse v1.150.0 becomes v1.163.2: v1.150.0 starts with the tables of v1.163.2 too",
    ]
    assert found.instead == ()
    assert len(found.after) == 1


def test_another_build_of_the_same_synapse_asks_for_nothing() -> None:
    assert asked([synapse("v1.163.2-3")], [synapse("v1.163.2-4")]) == Tasks()


def test_lawful_interception_follows_where_there_is_one() -> None:
    old, new = ([synapse(tag), synapse(tag, "synapse-li")] for tag in ("v1.150.0-1", "v1.163.2-4"))
    assert asked(old, new).after[-1].page == "docs/07-LI-OPERATIONS.md#upgrade-synapse"


def test_back_to_a_synapse_that_does_not_start_with_the_tables_is_not_to_be_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.inspection.tasks.starts_with_tables_of", lambda *_: False)
    back, forth = asked([synapse("v1.163.2-4")], [synapse("v1.150.0-1")]), asked([synapse("v1.150.0-1")], [synapse("v1.163.2-4")])
    (task,) = back.instead
    assert (
        task.what
        == "Synapse v1.163.2 becomes v1.150.0: v1.150.0 does not start with the tables of v1.163.2: only the backup of before leads back"
    )
    assert forth.instead == ()
    assert "only the backup of before leads back" in said(forth)


@pytest.mark.parametrize("tags", [("v1.163.2-4", "v1.999.0"), ("prod-7", "prod-8"), ("v1.20.0", "v1.163.2-4")])
def test_of_a_synapse_that_is_not_known_the_database_is_asked(tags: tuple[str, str]) -> None:
    found = asked([synapse(tags[0])], [synapse(tags[1])])
    assert "is not known here" in said(found)
    assert found.instead == ()


# --- PostgreSQL


def test_a_minor_release_of_postgresql_asks_for_a_backup() -> None:
    found = asked([database("18.3-standard-trixie")], [database("18.4-standard-trixie")])
    assert [task.page for task in found.before] == [
        "docs/05-BACKUP-RESTORE.md#look-whether-backups-are-there",
        "docs/08-UPGRADES.md#postgresql-minor",
    ]
    assert (found.instead, found.after) == ((), ())


@pytest.mark.parametrize("name", ["postgresql-main", "postgresql-li"])
def test_a_major_release_of_postgresql_is_not_to_be_applied_without_another_generation(name: str) -> None:
    old = database("18.4-standard-trixie", name=name)
    found = asked([old], [database("19.0-standard-trixie", name=name)])
    (task,) = found.instead
    assert "raise backups.generation" in task.what
    raised = asked([old], [database("19.0-standard-trixie", 2, name)])
    assert raised.instead == ()
    assert {task.page for task in raised.before} >= {"docs/08-UPGRADES.md#postgresql-major"}
    assert "statistics" in said(raised)


def test_an_older_major_release_is_refused() -> None:
    (change,) = changes([database("19.0-standard-trixie")], [database("18.4-standard-trixie")])
    assert "PostgreSQL 19 cannot become 18" in str(change.refused)
    assert tasks([change]) == Tasks()
    # An older minor one is not.
    assert changes([database("18.4-standard-trixie")], [database("18.3-standard-trixie")])[0].refused is None


def test_a_database_image_without_a_version_ends_no_plan() -> None:
    assert "mine becomes 18.4" in said(asked([database("mine")], [database("18.4")]))


# --- Pods of one release


def stores(tag: str) -> list[dict[str, Any]]:
    tenant = workload("Tenant", image=f"docker.io/pgsty/silo:{tag}", pools=[])
    return [named("minio-main", tenant, "minio-main"), named("redis", workload("StatefulSet", template=reading(ONE)), "redis")]


def test_pods_that_work_with_none_of_another_release_stop_together() -> None:
    found = changes(stores("RELEASE.2026-08-01"), stores("RELEASE.2026-09-16"))
    together = {group.component for step in steps(found, {}, {"minio-main", "redis"}) for group in step.groups if group.together}
    assert together == {"minio-main"}
    assert not any(group.together for step in steps(found, {}) for group in step.groups)
    (mirrored,) = changes(
        stores("RELEASE.2026-09-16")[:1], [{**stores("")[0], "spec": {"image": "mirror/silo:RELEASE.2026-09-16", "pools": []}}]
    )
    assert not any(group.together for step in steps([mirrored], {}, {"minio-main"}) for group in step.groups)


# --- What is left


KEPT = {"kustomize.toolkit.fluxcd.io/prune": "disabled"}


def keeping(o: dict[str, Any]) -> dict[str, Any]:
    return {**o, "metadata": {**o["metadata"], "annotations": KEPT}}


def commands(before: list[dict[str, Any]], after: list[dict[str, Any]], *, named: bool = True) -> list[str]:
    found = removals(before, after, changes(before, after), named=named)
    return [command for task in (*found.before, *found.after) for command in task.commands]


def test_what_is_gone_is_taken_away_by_the_name_that_it_has_in_the_cluster() -> None:
    gone = [config_map(ONE, "x"), named("c", workload("Deployment", template={}), "d")]
    assert commands(gone, []) == [f"kubectl delete -n n configmap/c-{ONE}", "kubectl delete -n n deployment/d"]


def test_what_is_generated_anew_is_taken_away_with_its_digest_of_before() -> None:
    assert commands([config_map(ONE, "x")], [config_map(OTHER, "y")]) == [f"kubectl delete -n n configmap/c-{ONE}"]
    assert commands([config_map(ONE, "x")], [config_map(ONE, "x")]) == []
    # What is compiled has digests that no cluster has.
    assert commands([config_map(ONE, "x")], [config_map(OTHER, "y")], named=False) == []


def test_what_holds_data_goes_with_its_volumes_and_a_namespace_with_all_that_is_in_it() -> None:
    holding = keeping(
        named("c", workload("StatefulSet", template={}, selector={"matchLabels": {"a": "b"}}, volumeClaimTemplates=claims("1Gi")))
    )
    assert commands([holding], []) == ["kubectl --namespace n delete statefulset,persistentvolumeclaim --selector a=b"]
    namespace = keeping({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    assert commands([namespace, holding, config_map(ONE, "x")], []) == ["kubectl delete namespace n"]


def test_volumes_of_pods_that_are_gone_are_named() -> None:
    old, new = (workload("StatefulSet", replicas=replicas, template={}, volumeClaimTemplates=claims("1Gi")) for replicas in (3, 2))
    assert commands([old], [new]) == ["kubectl delete -n n persistentvolumeclaim/data-w-2"]


def test_a_page_that_is_named_has_what_it_is_named_for() -> None:
    pages = {
        task.page
        for found in (
            asked([synapse("v1.150.0"), synapse("v1.150.0", "synapse-li")], [synapse("v1.163.2"), synapse("v1.163.2", "synapse-li")]),
            asked([database("18.3")], [database("18.4")]),
            asked([database("18.3")], [database("19.0")]),
        )
        for task in (*found.instead, *found.before, *found.after)
    }
    assert len(pages) >= 5
    for page in pages:
        assert_there(page)
