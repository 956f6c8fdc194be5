"""An overlay applied to the base is exactly the platform rendered for that profile: nothing more, nothing less, for any profile."""

import re
import string
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.compiler import compile_site, render
from app.layout import base_files
from app.overlay import difference, overlay_files
from app.site import Site
from kit.quantities import gib, mib, millicores
from kit.rendering import ObjectId, PlacedObject, Rendering
from overlays import Profile, profiles
from overlays.profile import RedisSize, Workers
from tests.kustomize import build, by_id, expected, without_hashes, write

PROFILES = profiles()

# Every example compiles a platform and builds it with kubectl: a failing one is shown as it was found, not made small for minutes.
EXPENSIVE = settings(
    deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.reuse, Phase.generate), max_examples=8
)
SMALLEST = PROFILES[0]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_overlay_builds_to_exactly_its_profile(profile: Profile, dist: Path, renderings: dict[str, Rendering]) -> None:
    built = by_id(without_hashes(build(dist / "overlays" / profile.name)))
    wanted = expected(renderings[profile.name])
    assert built.keys() == wanted.keys()
    for key, manifest in wanted.items():
        assert built[key] == manifest, key


def test_the_overlay_of_the_smallest_profile_is_the_base_itself(dist: Path) -> None:
    folder = dist / "overlays" / SMALLEST.name
    assert [path.name for path in folder.iterdir()] == ["kustomization.yaml"]
    assert build(folder) == build(dist / "base")


counts = st.integers(1, 9)
RANDOM_PROFILES = st.builds(
    lambda workers, postgres, redis, nodes, drives, memory: evolve(
        SMALLEST,
        # So few that every shape of the store has room for their backups.
        concurrent_users=77,
        synapse=evolve(SMALLEST.synapse, workers=Workers(**dict(zip(Workers.named_fields(), workers, strict=True)))),
        postgresql=evolve(SMALLEST.postgresql, instances=postgres, memory=gib(memory + 16), max_connections=1500),
        redis=RedisSize(servers=redis, memory=mib(64 * memory)),
        minio=evolve(SMALLEST.minio, nodes=nodes, drives=drives, cpu=millicores(10 * memory)),
    ),
    workers=st.lists(counts, min_size=8, max_size=8),
    postgres=st.integers(2, 5),
    redis=st.sampled_from([3, 5, 7]),
    nodes=st.sampled_from([4, 6, 8, 12]),
    drives=st.sampled_from([2, 4]),
    memory=st.integers(1, 32),
)


@EXPENSIVE
@given(first=RANDOM_PROFILES, second=RANDOM_PROFILES)
def test_an_overlay_leads_from_any_profile_to_any_other(
    site: Site, tmp_path_factory: pytest.TempPathFactory, first: Profile, second: Profile
) -> None:
    base, target = render(site, first), render(site, second)
    assert _overlay_of(tmp_path_factory.mktemp("dist"), base, target) == expected(target)


# --- Any objects at all, beyond those that this platform has.

words = st.text(string.ascii_lowercase, min_size=1, max_size=3)
values = st.one_of(st.integers(0, 9), st.booleans(), words, st.lists(words, max_size=3))
trees = st.recursive(values, lambda inner: st.dictionaries(words, inner, min_size=1, max_size=4), max_leaves=8)


def keyed(key: str, fields: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A list whose items Kubernetes tells apart by a key, in any order."""
    return st.dictionaries(words, fields, min_size=1, max_size=4).flatmap(
        lambda items: st.permutations([{key: name, **rest} for name, rest in items.items()])
    )


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


containers = keyed(
    "name",
    some(
        image=words,
        args=st.lists(words, min_size=1, max_size=3),
        env=keyed("name", some(value=words)),
        volumeMounts=keyed("mountPath", some(name=words, subPath=words)),
        resources=some(requests=some(cpu=words, memory=words)),
    ),
)
pods = st.fixed_dictionaries(
    {"containers": containers},
    optional={
        "initContainers": containers,
        "volumes": keyed("name", st.one_of(some(emptyDir=some(medium=words)), some(secret=some(secretName=words)))),
        "nodeSelector": st.dictionaries(words, words, min_size=1, max_size=3),
        "tolerations": st.lists(some(key=words), min_size=1, max_size=2),
        "imagePullSecrets": keyed("name", st.just({})),
    },
)
stateful_sets = st.builds(
    lambda pod, replicas: {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "spec": {"replicas": replicas, "serviceName": "s", "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}},
    },
    pods,
    st.integers(0, 5),
)
customs = st.builds(
    lambda spec: {"apiVersion": "example.com/v1", "kind": "Custom", "spec": spec}, st.dictionaries(words, trees, min_size=1, max_size=4)
)
services = st.builds(
    lambda ports: {"apiVersion": "v1", "kind": "Service", "spec": {"ports": ports}},
    st.lists(st.integers(1, 4), unique=True, min_size=1).map(lambda numbers: [{"name": f"p{n}", "port": n} for n in numbers]),
)
changes = st.one_of(*(st.tuples(kind, kind) for kind in (stateful_sets, customs, services)))


@EXPENSIVE
@given(pairs=st.lists(changes, min_size=20, max_size=40), gone=st.sets(st.integers(0, 19)), new=st.sets(st.integers(0, 19)))
def test_any_change_of_any_object_can_be_expressed_as_an_overlay(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Any, Any]], gone: set[int], new: set[int]
) -> None:
    before = _rendering(pair[0] if number not in new else None for number, pair in enumerate(pairs))
    after = _rendering(pair[1] if number not in gone else None for number, pair in enumerate(pairs))
    assert _overlay_of(tmp_path_factory.mktemp("dist"), before, after) == expected(after)


# Kustomize itself cannot write a ConfigMap of a text of several lines of which one begins with a tab, and PyYAML cannot read a plain `=`.
texts = st.text(string.printable, max_size=20).filter(lambda text: not re.search(r"[\r\x0b\x0c]|(?m:^)\t|\A=\n?\Z", text))
config_maps = st.dictionaries(words, st.dictionaries(words, texts, min_size=1, max_size=4), min_size=1, max_size=4)


@EXPENSIVE
@given(before=config_maps, more=config_maps, changed=st.dictionaries(words, texts, min_size=1, max_size=4))
def test_any_change_of_configuration_files_can_be_expressed_as_an_overlay(
    tmp_path_factory: pytest.TempPathFactory, before: Any, more: Any, changed: dict[str, str]
) -> None:
    after = before | more
    after[next(iter(before))] = changed
    base, target = _config_rendering(before), _config_rendering(after)
    assert _overlay_of(tmp_path_factory.mktemp("dist"), base, target) == expected(target)


@pytest.mark.parametrize(
    ("before", "after"), [({"a": 1}, 5), (5, {"a": 1}), ([1], {"a": 1}), ({"a": 1}, ["x"]), ([1], 5), (5, ["x"])], ids=str
)
def test_a_field_may_change_its_kind(tmp_path: Path, before: Any, after: Any) -> None:
    def custom(value: Any) -> Rendering:
        return _rendering([{"apiVersion": "example.com/v1", "kind": "Custom", "spec": {"outer": {"field": value, "other": 1}}}])

    assert _overlay_of(tmp_path, custom(before), custom(after)) == expected(custom(after))


@given(stateful_sets)
def test_equal_objects_have_no_difference(manifest: dict[str, Any]) -> None:
    assert difference(manifest, manifest) == {}


def test_a_change_of_one_number_is_a_patch_of_one_line() -> None:
    def deployment(cpu: str) -> dict[str, Any]:
        resources = {"requests": {"cpu": cpu, "memory": "1Gi"}}
        containers = [{"name": "a", "image": "x", "resources": resources}, {"name": "b", "image": "y"}]
        return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {"containers": containers}}}}

    patch = difference(deployment("1"), deployment("2"))
    assert patch == {"spec": {"template": {"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}]}}}}


def test_compiling_twice_gives_identical_bytes(site: Site) -> None:
    assert compile_site(site, PROFILES) == compile_site(site, PROFILES)


def _rendering(manifests: Any) -> Rendering:
    objects = {}
    for number, manifest in enumerate(manifests):
        if manifest is not None:
            named = {**manifest, "metadata": {"name": f"o{number // 2}", "namespace": "nm"[number % 2]}}
            objects[ObjectId.of(named)] = PlacedObject(f"folder/{manifest['kind'].lower()}.yaml", named)
    return Rendering(objects, {}, {})


def _config_rendering(config_maps: dict[str, dict[str, str]]) -> Rendering:
    files = {f"config/{name}/{key}": text for name, keys in config_maps.items() for key, text in keys.items()}
    maps = {("n", name): {key: f"config/{name}/{key}" for key in keys} for name, keys in config_maps.items()}
    return Rendering({}, maps, files)


def _overlay_of(folder: Path, base: Rendering, target: Rendering) -> dict[ObjectId, Any]:
    write(folder / "base", base_files(base))
    write(folder / "overlays" / "target", overlay_files(base, target))
    return dict(by_id(without_hashes(build(folder / "overlays" / "target"))))
