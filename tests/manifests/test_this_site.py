"""The site.yaml of this clone, whatever it says, keeps the rules that hold for any site. All other tests have sites of their own."""

import re
from pathlib import Path

import pytest

from app.compiler import compile_site
from app.inspection.secret_scan import find_secrets
from app.settings import read_site
from overlays import Profile, profiles
from tests.kustomize import ROOT, build, write
from tests.manifests.rules.objects import Objects, Rule, assert_kept
from tests.manifests.test_envelope import beyond
from tests.manifests.test_sites import RULES


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dist/` of the site of this clone."""
    folder = tmp_path_factory.mktemp("this-site")
    write(folder, compile_site(read_site(ROOT / "site.yaml"), profiles()))
    return folder


@pytest.fixture(scope="module")
def objects(compiled: Path) -> dict[str, Objects]:
    """Profile name to what `kubectl kustomize` prints."""
    return {profile.name: build(compiled / "overlays" / profile.name) for profile in profiles()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_this_site_keeps_the_rules(rule: Rule, objects: dict[str, Objects]) -> None:
    assert_kept(rule, objects)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_this_site_fits_the_envelope(profile: Profile, objects: dict[str, Objects]) -> None:
    assert beyond(profile, objects[profile.name]) == []


def test_no_secret_is_in_what_this_site_compiles_to(compiled: Path) -> None:
    files = {str(path.relative_to(compiled)): path.read_text() for path in compiled.rglob("*") if path.is_file()}
    assert list(map(str, find_secrets(files))) == []


def test_no_other_test_reads_the_site_of_this_clone() -> None:
    """It may say anything that the reference allows, and the tests of a fork stay green."""
    reading = re.compile(r"ROOT / \"site\.yaml\"|Path\(['\"]site\.yaml['\"]\)")
    readers = {path.name for path in (ROOT / "tests").rglob("*.py") if reading.search(path.read_text())}
    assert readers == {Path(__file__).name}
