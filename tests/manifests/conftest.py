"""What every manifest test starts from: the shipped site, rendered for every profile, and the same as files."""

from pathlib import Path

import pytest

from app.compiler import compile_site, render
from app.settings import read_site
from app.site import Site
from kit.installation import ObjectCache
from kit.rendering import Rendering
from overlays import profiles
from tests.kustomize import ROOT, write


@pytest.fixture(scope="session")
def site() -> Site:
    """The site that the repository ships."""
    return read_site(ROOT / "site.yaml")


@pytest.fixture(scope="session")
def renderings(site: Site) -> dict[str, Rendering]:
    """Profile name to rendering."""
    cache = ObjectCache()
    return {profile.name: render(site, profile, cache) for profile in profiles()}


@pytest.fixture(scope="session")
def dist(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `dist/`."""
    folder = tmp_path_factory.mktemp("dist")
    write(folder, compile_site(site, profiles()))
    return folder
