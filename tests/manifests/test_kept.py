"""No tool deletes data: what is no longer declared stays until a person removes it, and people are told how."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from app.compiler import render
from app.inspection.kept import PRUNE, kept, kept_in, left_behind, left_behind_by
from app.settings import parse_site
from app.site import Site
from kit.rendering import ObjectId
from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.rules import kept as keeping
from tests.manifests.rules.mutation import Break, assert_noticed, setting, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept

RULES: list[Rule] = [keeping.keeping_problems, keeping.pruning_problems]
BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
SYNC = 'metadata.annotations."argocd.argoproj.io/sync-options"'


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_only_a_person_deletes_what_holds_data(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


@pytest.mark.parametrize(
    ("rule", "change", "mention"),
    [
        (keeping.keeping_problems, without("Namespace/matrix", SYNC), "Namespace matrix would be deleted"),
        (keeping.keeping_problems, setting("Cluster/postgresql-main", SYNC, "Prune=false"), "Cluster matrix/postgresql-main would"),
        (keeping.keeping_problems, without("Tenant/minio-main", "metadata.annotations"), "Tenant matrix/minio-main would"),
        (keeping.keeping_problems, without("StatefulSet/redis", "metadata.annotations"), "StatefulSet matrix/redis would"),
        (keeping.keeping_problems, without("PersistentVolumeClaim/signatures", "metadata.annotations"), "signatures would"),
        (keeping.keeping_problems, without("NetworkPolicy/matrix/default-deny", "metadata.annotations"), "default-deny would"),
        (
            keeping.keeping_problems,
            setting("Service/haproxy", "metadata.annotations", {"kustomize.toolkit.fluxcd.io/prune": "disabled"}),
            "would stay for ever",
        ),
        (keeping.pruning_problems, without("ConfigMap/livekit", "metadata.annotations"), "pods that end still read it"),
    ],
)
def test_data_that_would_go_is_noticed(rule: Rule, change: Break, mention: str, everything: Objects) -> None:
    assert_noticed(rule, everything, change, mention)


def manifests(site: Site) -> dict[ObjectId, Any]:
    return kept(render(site, profiles()[0]).manifests())


def declared(site: Site) -> set[ObjectId]:
    return {ObjectId.of(o) for o in render(site, profiles()[0]).manifests()}


def test_what_is_switched_off_is_named_with_the_command_that_removes_it(full_site: Site) -> None:
    features = evolve(full_site.features, li=False, antivirus=False)
    left = left_behind(manifests(full_site), declared(evolve(full_site, features=features)))
    # What stands in a namespace goes with it.
    assert [str(one) for one in left] == [
        "Namespace matrix-li is no longer declared, and stays with its data. When nobody needs them: kubectl delete namespace matrix-li",
        "PersistentVolumeClaim matrix/signatures is no longer declared, and stays with its data. When nobody needs them: "
        "kubectl --namespace matrix delete persistentvolumeclaim signatures",
    ]


def test_a_tenant_that_is_left_behind_goes_with_its_volumes() -> None:
    outside = "object_storage: {backend: external, external: {endpoint: https://s3.example.com}}\n"
    (left,) = left_behind(manifests(parse_site(BASE)), declared(parse_site(BASE + outside)))
    assert left.command == (
        "kubectl --namespace matrix delete tenant minio-main && "
        "kubectl --namespace matrix delete persistentvolumeclaim --selector v1.min.io/tenant=minio-main"
    )


def test_nothing_is_said_of_what_is_still_declared(full_site: Site) -> None:
    assert left_behind(manifests(full_site), declared(full_site)) == []


def test_what_no_longer_holds_data_but_is_declared_is_not_called_left_behind(dist: Path, tmp_path: Path) -> None:
    """The command that removes it would take the claims of what runs."""
    folder = shutil.copytree(dist, tmp_path / "dist")
    before = kept_in(folder)
    texts = {file: file.read_text() for file in folder.rglob("*.yaml")}
    redis = {file: text for file, text in texts.items() if "kind: StatefulSet\n" in text and "name: redis\n" in text}
    for file, text in redis.items():
        file.write_text(text.replace(f"{PRUNE}: disabled", "example.com/kept: no-longer"))
    assert before.keys() - kept_in(folder).keys() == {ObjectId("StatefulSet", "matrix", "redis")}
    assert left_behind_by(folder, before) == []
    for file in redis:
        file.unlink()
    assert [str(left.identity) for left in left_behind_by(folder, before)] == ["StatefulSet matrix/redis"]


def test_what_dist_holds_is_found_in_its_files(dist: Path, site: Site) -> None:
    assert kept_in(dist).keys() == manifests(site).keys()
    assert kept_in(dist / "nowhere") == {}


def test_the_guide_names_the_annotations(everything: Objects) -> None:
    guide = (ROOT / "docs" / "03-OPERATIONS-GUIDE.md").read_text()
    namespace = next(o for o in everything if o["kind"] == "Namespace")
    for key in ("argocd.argoproj.io/sync-options", "kustomize.toolkit.fluxcd.io/prune"):
        assert f"`{key}: {namespace['metadata']['annotations'][key]}`" in guide
