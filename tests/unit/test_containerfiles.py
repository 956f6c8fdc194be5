"""Every image that is made from this repository: the same context, what it copies is there, and it can be built without the internet."""

import re
from pathlib import Path

import pytest

from kit.images import Image, image_lock

ROOT = Path(__file__).parents[2]
CONTAINERFILES = sorted((ROOT / "services").glob("*/Containerfile"))


@pytest.fixture(params=CONTAINERFILES, ids=lambda path: path.parent.name)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text())


def test_what_it_copies_is_in_the_folder_services(text: str) -> None:
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", text, flags=re.MULTILINE)
    sources = [source for line in lines for source in line.split()]
    assert sources
    assert [source for source in sources if not list((ROOT / "services").glob(source))] == []


def test_its_bases_are_versions_that_a_mirror_can_stand_in_for(text: str) -> None:
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, flags=re.MULTILINE))
    assert all(re.search(r":v?\d", given[base.strip("${}")]) for base in bases)
    assert given.keys() & {"PIP_INDEX_URL", "SOURCE"}


def test_it_runs_as_a_user_with_a_number(text: str) -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", text, flags=re.MULTILINE)
    assert users
    assert users[-1][0] == users[-1][1] != "0"


@pytest.mark.parametrize("image", [image for image in image_lock().values() if image.built], ids=lambda image: image.name)
def test_that_user_is_the_one_that_pods_name(image: Image) -> None:
    assert (ROOT / image.containerfile).read_text().rstrip().endswith(f"USER {image.user}:{image.group}")
