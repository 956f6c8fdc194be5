"""Every image that runs stands in images.toml, well-formed, and nothing stands there that does not run."""

import tomllib
from collections.abc import Callable
from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import pytest
from attrs import evolve

from app.site import Site
from kit.images import LONG_WITHOUT_RELEASE, image_lock, without_release
from tests.kustomize import ROOT
from tests.manifests.rules.images import lock_problems, usage_problems
from tests.manifests.rules.objects import Objects
from tests.manifests.rules.security import image_references

LOCK: dict[str, Any] = tomllib.loads((ROOT / "images.toml").read_text())


@pytest.fixture(scope="module")
def used(built: dict[str, Objects], everything: Objects) -> set[str]:
    """Of the shipped site and of the full one, which have the same registry."""
    return {reference for objects in (*built.values(), everything) for _, reference in image_references(objects)}


def test_the_lock_is_well_formed() -> None:
    assert lock_problems(LOCK) == []


def test_the_lock_holds_the_images_that_run_and_no_others(site: Site, used: set[str]) -> None:
    assert usage_problems(LOCK, site.images.registry, used) == []


def test_a_repository_without_a_release_for_long_is_told_of() -> None:
    storage = image_lock()["minio"]
    assert storage.day
    told = [line for line in without_release(storage.day + timedelta(LONG_WITHOUT_RELEASE + 1)) if storage.repository in line]
    assert told == [
        f"images.toml: {storage.repository}:{storage.tag} is 151 days old: look whether there is a newer one, or whether the repository has moved"
    ]
    assert not any(storage.repository in line for line in without_release(storage.day + timedelta(LONG_WITHOUT_RELEASE)))
    assert evolve(storage, tag="v1", released=date(2026, 1, 31)).day == date(2026, 1, 31)


def test_what_is_built_has_a_containerfile() -> None:
    built = [image for image in image_lock().values() if image.built]
    assert built
    assert [image.containerfile for image in built if not (ROOT / image.containerfile).is_file()] == []


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (lambda lock: lock["haproxy"].update(tag="latest"), "tomorrow"),
        (lambda lock: lock["haproxy"].update(tag="3 2"), "tomorrow"),
        (lambda lock: lock["haproxy"].update(repository="haproxy"), "with its host"),
        (lambda lock: lock["haproxy"].update(repository="docker.io/Library/haproxy"), "with its host"),
        (lambda lock: lock["synapse"].update(repository="docker.io/x/synapse"), "though it is built here"),
        (lambda lock: lock["haproxy"].update(digest="sha256:12"), "no digest"),
        (lambda lock: lock["haproxy"].update(user=0), "above 0"),
        (lambda lock: lock["haproxy"].update(user="haproxy"), "above 0"),
        (lambda lock: lock["haproxy"].update(licence="Proprietary"), "not known"),
        (lambda lock: lock["haproxy"].pop("licence"), "licence is missing"),
        (lambda lock: lock["haproxy"].update(flavour="alpine"), "flavour is missing or unknown"),
        (lambda lock: lock.update(a=lock["haproxy"]), "alphabetical"),
        (lambda lock: lock.update(z=lock["haproxy"]), "twice"),
    ],
)
def test_a_wrong_entry_is_noticed(change: Callable[[dict[str, Any]], Any], mention: str) -> None:
    lock = deepcopy(LOCK)
    change(lock)
    assert any(mention in problem for problem in lock_problems(lock))


def test_an_image_outside_the_lock_is_noticed(site: Site, used: set[str]) -> None:
    assert usage_problems(LOCK, site.images.registry, used | {"docker.io/library/redis:8"}) == [
        "docker.io/library/redis:8 is not in the lock"
    ]


def test_an_image_that_nothing_runs_is_noticed(site: Site, used: set[str]) -> None:
    assert usage_problems(LOCK | {"redis": LOCK["valkey"] | {"tag": "8"}}, site.images.registry, used) == ["nothing runs redis"]
