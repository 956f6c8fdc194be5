"""Every step from one size to another can be made, or is refused by name with what to write, after which it can be made.

What the API server and the operators refuse: `app/inspection/refusals.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import pytest
from cdk8s import App

from app.compiler import render
from app.inspection.changes import Change, changes
from app.inspection.steps import kept_by, refused, unclaimed
from app.objects import objects
from app.platform import volumes
from app.platform.infrastructure import infrastructure
from app.platform.li_instance import interception
from app.platform.monitoring import monitoring
from app.settings import parse_site
from app.site import Site
from infrastructure.object_storage.size import ErasureSize
from kit.installation import Installation
from kit.quantities import gib
from kit.rendering import Manifest
from kit.text import yaml_text
from overlays import Profile, profiles
from tests.manifests.rules.budget import quantity
from tests.manifests.test_sites import BASE, LI

SIZES = {profile.name: profile for profile in profiles()}
PAIRS = list(permutations(SIZES, 2))
# As much as can have a volume.
CHOICES = f"{BASE}{LI.replace('li: true', 'li: true, monitoring: true', 1)}backups: {{object_storage: {{backend: minio}}}}\n"


def kept(site: Site, profile: Profile) -> list[Manifest]:
    """The part of a site that has volumes: a tenth of its objects, so that every pair can be asked in seconds."""
    installation = Installation(App(), profile.name, site.facts)
    foundation = infrastructure(installation, site, profile)
    assert foundation.storage.li
    interception(installation, site, profile, foundation, foundation.storage.li)
    monitoring(installation, site, profile, foundation)
    return [dict(manifest) for manifest in installation.rendering().manifests()]


@pytest.fixture(scope="module")
def new() -> dict[str, list[Manifest]]:
    """What is in each size of a site that has chosen nothing."""
    site = parse_site(CHOICES)
    return {name: kept(site, profile) for name, profile in SIZES.items()}


def told(found: Sequence[Change]) -> dict[str, str]:
    return {str(change.identity): str(change.refused) for change in refused(found)}


def with_options(options: Mapping[str, Any]) -> Site:
    """The site, with what a plan says to write."""
    return parse_site(CHOICES + yaml_text(dict(options)) if options else CHOICES)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_step_can_be_made_once_the_site_says_what_exists(source: str, target: str, new: dict[str, list[Manifest]]) -> None:
    before = new[source]
    found = changes(before, new[target])
    larger = SIZES[target].concurrent_users > SIZES[source].concurrent_users
    # A tenant whose number of servers is another; and on the way down everything that is smaller.
    shrink = {"Tenant matrix/minio-main"} if SIZES[target].minio.nodes != SIZES[source].minio.nodes else set()
    if not larger:
        shrink |= {"Tenant matrix/minio-main", "Tenant matrix-li/minio-li", "Tenant matrix-backups/minio-backups"}
        shrink |= {
            "Cluster matrix/postgresql-main",
            "Cluster matrix-li/postgresql-li",
            "PersistentVolumeClaim matrix-monitoring/prometheus-data",
        }
    assert told(found).keys() == shrink
    site = with_options(kept_by(found))
    assert told(changes(before, kept(site, SIZES[target]))) == {}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_the_plan_says_to_write_is_what_there_is(source: str, target: str, new: dict[str, list[Manifest]]) -> None:
    old, now = SIZES[source], with_options(kept_by(changes(new[source], new[target])))
    before = parse_site(CHOICES)
    for sized in (volumes.database, volumes.database_li, volumes.minio_main, volumes.minio_li, volumes.minio_backups, volumes.monitoring):
        assert sized(now, old) == sized(before, old), sized.__name__


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_larger_size_has_the_room_of_a_new_site_of_that_size(source: str, target: str, new: dict[str, list[Manifest]]) -> None:
    site = with_options(kept_by(changes(new[source], new[target])))
    for tenant in (volumes.minio_main, volumes.minio_li, volumes.minio_backups):
        wanted = volumes.usable(tenant(parse_site(CHOICES), SIZES[target]))
        assert volumes.usable(tenant(site, SIZES[target])) >= wanted


def test_growth_is_one_more_pool_with_the_servers_that_are_missing() -> None:
    def own(nodes: int, drive: int) -> ErasureSize:
        return ErasureSize(nodes=nodes, drive=gib(drive), cpu=SIZES["100-ccu"].minio.cpu, memory=gib(1))

    def grown(wanted: ErasureSize, *existing: ErasureSize) -> list[tuple[int, str]]:
        return [(pool.nodes, str(pool.drive)) for pool in wanted.beside(existing)]

    assert grown(own(6, 80)) == [(6, "80Gi")]
    # 608 GiB are wanted, 228 there: 380 more, of which each drive of four servers holds 3.8 for each GiB.
    assert grown(own(6, 80), own(4, 60)) == [(4, "60Gi"), (4, "100Gi")]
    assert grown(own(12, 160), own(4, 60)) == [(4, "60Gi"), (8, "194Gi")]
    assert grown(own(4, 60), own(4, 60), own(4, 100)) == [(4, "60Gi"), (4, "100Gi")]


DOWN = [(SIZES[source], SIZES[target]) for source, target in PAIRS if SIZES[source].concurrent_users > SIZES[target].concurrent_users]
STEPS_DOWN = [(a, b) for a, b in DOWN if list(SIZES).index(a.name) - list(SIZES).index(b.name) in (1, len(SIZES) - 1)]


def quotas(tree: Iterable[Manifest]) -> list[Manifest]:
    return [o for o in tree if o["kind"] == "ResourceQuota"]


@pytest.mark.parametrize(("source", "target"), STEPS_DOWN, ids=lambda profile: profile.name)
def test_a_smaller_size_admits_the_pods_of_the_larger_one_until_the_site_says_that_they_have_gone(source: Profile, target: Profile) -> None:
    site = parse_site(BASE)
    before = objects(render(site, source))
    found = changes(before, objects(render(site, target)))
    assert {change.identity.kind for change in refused(found)} == {"ResourceQuota", "Tenant", "Cluster"}
    shrinking = parse_site(BASE + yaml_text({**kept_by(found), "shrinking_from": source.name}))
    during = objects(render(shrinking, target))
    assert told(changes(before, during)) == {}
    for old, new in zip(quotas(before), quotas(during), strict=True):
        assert all(quantity(old["spec"]["hard"][key]) <= quantity(amount) for key, amount in new["spec"]["hard"].items())
    after = objects(render(parse_site(BASE + yaml_text(dict(kept_by(found)))), target))
    assert told(changes(during, after)) == {}
    (quota,) = [c for c in changes(during, after) if c.identity.kind == "ResourceQuota"]
    assert {c.identity for c in changes(during, after)} == {quota.identity}, "nothing but quotas follows"


def test_a_size_that_is_left_changes_nothing_of_a_larger_one() -> None:
    plain, said = (parse_site(BASE + choice) for choice in ("", "shrinking_from: 100-ccu\n"))
    assert objects(render(plain, profiles()[1])) == objects(render(said, profiles()[1]))


def test_volumes_of_pods_that_a_smaller_size_has_not_are_named(new: dict[str, list[Manifest]]) -> None:
    assert sorted(unclaimed(new["10000-ccu"], new["1000-ccu"])) == [
        *(("matrix", f"data-redis-{ordinal}") for ordinal in (3, 4)),
        *(("matrix-monitoring", f"data-loki-{ordinal}") for ordinal in (1, 2)),
    ]
    assert list(unclaimed(new["100-ccu"], new["10000-ccu"])) == []


def test_no_claim_of_a_stateful_set_depends_on_the_size(new: dict[str, list[Manifest]]) -> None:
    templates = [
        {str(o["metadata"]["name"]): o["spec"].get("volumeClaimTemplates") for o in tree if o["kind"] == "StatefulSet"}
        for tree in new.values()
    ]
    assert templates[0]
    assert all(other == templates[0] for other in templates)
