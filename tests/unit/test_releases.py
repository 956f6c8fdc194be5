"""Which release came after which, and what an image's tag says of its program."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection.images import release, version
from app.releases import Section, is_newer, sections, since, version_in

NUMBERS = st.tuples(*[st.integers(0, 30)] * 3)
VERSIONS = NUMBERS.map(lambda numbers: ".".join(map(str, numbers)))
DIGEST = f"@sha256:{'0' * 64}"


@given(st.lists(VERSIONS, unique=True), st.tuples(VERSIONS, VERSIONS))
def test_what_has_come_since_a_release_is_what_came_until_another_and_what_came_since_that(
    versions: list[str], ends: tuple[str, str]
) -> None:
    first, second = sorted(ends, key=lambda one: tuple(map(int, one.split("."))))
    known = [Section(one, "") for one in versions]
    early, late = since(first, known), since(second, known)
    assert early[len(early) - len(late) :] == late
    assert all(not is_newer(one.version, second) for one in early[: len(early) - len(late)])
    assert all(is_newer(later.version, earlier.version) for earlier, later in pairwise(early))
    assert {one.version for one in early} == {one for one in versions if is_newer(one, first)}


def test_the_tenth_release_comes_after_the_ninth() -> None:
    assert [one.version for one in since("0.9.0", [Section("0.10.0", ""), Section("0.9.0", ""), Section("0.8.0", "")])] == ["0.10.0"]


def test_the_changelog_has_its_releases_with_the_newest_first_and_the_last_has_commands() -> None:
    found = sections()
    assert [one.version for one in found] == [one.version for one in reversed(since("0", found))]
    assert (
        "kubectl -n matrix-monitoring delete statefulset loki --cascade=orphan"
        in next(one for one in found if one.version == "0.2.0").commands
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[project]\nname = "matrix-platform"\nversion = "1.2.3"\n', "1.2.3"),
        ('[project]\nname = "another"\nversion = "1.2.3"\n', None),
        ('[project]\nname = "matrix-platform"\n', None),
        ("[tool.ruff]\n", None),
        ("<<<<<<< HEAD\n", None),
        (None, None),
    ],
)
def test_a_version_is_that_of_this_project_or_not_known(text: str | None, found: str | None) -> None:
    assert version_in(text) == found


@given(
    st.sampled_from(["synapse", "registry.example.com/matrix/synapse", "registry.example.com:5000/synapse"]),
    NUMBERS,
    st.booleans(),
    st.none() | st.integers(0, 99),
    st.booleans(),
)
def test_another_build_or_digest_of_an_image_is_the_same_release(
    repository: str, numbers: tuple[int, ...], letter: bool, build: int | None, pinned: bool
) -> None:
    tag = ("v" if letter else "") + ".".join(map(str, numbers))
    reference = f"{repository}:{tag}{'' if build is None else f'-{build}'}{DIGEST if pinned else ''}"
    assert (release(reference), version(reference)) == (tag, numbers)


@pytest.mark.parametrize(
    ("reference", "told", "numbers"),
    [
        ("ghcr.io/cloudnative-pg/postgresql:18.4-standard-trixie", "18.4-standard-trixie", (18, 4)),
        ("docker.io/pgsty/silo:RELEASE.2026-09-16T00-00-00Z", "RELEASE.2026-09-16T00-00-00Z", ()),
        ("registry.example.com/own:prod-7", "prod-7", ()),
        ("registry.example.com:5000/own", "registry.example.com:5000/own", ()),
        ("3.example.com/own@sha256:00", "3.example.com/own@sha256:00", ()),
    ],
)
def test_what_a_tag_does_not_say_is_not_made_up(reference: str, told: str, numbers: tuple[int, ...]) -> None:
    assert (release(reference), version(reference)) == (told, numbers)
