"""What every manifest test starts from: the shipped site, rendered for every profile, and the same as files and as `kubectl` builds them."""

from pathlib import Path

import pytest
from attrs import evolve, fields
from cdk8s import App

from app.compiler import compile_site
from app.platform import assemble
from app.settings import read_site
from app.site import Site
from kit.installation import Installation, ObjectCache
from kit.rendering import Rendering
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.manifests.rules.objects import Declared, Objects


@pytest.fixture(scope="session")
def site() -> Site:
    """The site that the repository ships."""
    return read_site(ROOT / "site.yaml")


@pytest.fixture(scope="session")
def full_site(site: Site) -> Site:
    """The shipped site with every feature on, in several zones: as many objects as there can be."""
    features = evolve(site.features, **dict.fromkeys((field.name for field in fields(type(site.features))), True))
    return evolve(site, features=features, cluster=evolve(site.cluster, multi_zone=True))


@pytest.fixture(scope="session")
def installations(site: Site) -> dict[str, Installation]:
    """Profile name to what the components have declared."""
    cache = ObjectCache()
    return {profile.name: assemble(App(), site, profile, cache) for profile in profiles()}


@pytest.fixture(scope="session")
def renderings(installations: dict[str, Installation]) -> dict[str, Rendering]:
    """Profile name to rendering."""
    return {name: installation.rendering() for name, installation in installations.items()}


@pytest.fixture(scope="session")
def dist(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `dist/`."""
    folder = tmp_path_factory.mktemp("dist")
    write(folder, compile_site(site, profiles()))
    return folder


@pytest.fixture(scope="session")
def full_dist(full_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `dist/` of the full site, in the smallest size."""
    folder = tmp_path_factory.mktemp("full-dist")
    write(folder, compile_site(full_site, profiles()[:1]))
    return folder


@pytest.fixture(scope="session")
def built(dist: Path) -> dict[str, Objects]:
    """Profile name to the objects that `kubectl kustomize` prints."""
    return {profile.name: build(dist / "overlays" / profile.name) for profile in profiles()}


@pytest.fixture(scope="session")
def everything(full_dist: Path) -> Objects:
    """The objects of the full site."""
    return build(full_dist / "base")


@pytest.fixture(scope="session")
def trees(built: dict[str, Objects], everything: Objects) -> dict[str, Objects]:
    """All that is built, by a name for messages."""
    return built | {"full site": everything}


@pytest.fixture(scope="session")
def declared(installations: dict[str, Installation], full_site: Site) -> Declared:
    """Namespace and name of every Secret that a provider makes, to its keys, for any size and with any feature."""
    full = assemble(App(), full_site, profiles()[0])
    specs = [spec for installation in (*installations.values(), full) for _, _, spec in installation.declared.secrets]
    return {(spec.namespace, spec.name): {key for key, _ in spec.keys} for spec in specs}
