"""A store that backups would fill is refused before anything is deployed, with the numbers and what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.platform.room import rooms, short_copies
from app.settings import parse_site
from app.site import Site
from kit.options import OptionError
from kit.quantities import Bytes
from overlays import Profile, profiles

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
WATCHED = "features: {monitoring: true}\n"
SMALLEST = profiles()[0]


def site(choices: str) -> Site:
    return parse_site(BASE + choices)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
@pytest.mark.parametrize("backend", ["with-media", "minio"])
def test_every_size_has_room_for_its_backups(profile: Profile, backend: str) -> None:
    found = rooms(site(f"{WATCHED}backups: {{object_storage: {{backend: {backend}}}}}\n"), profile)
    store = found.main if backend == "with-media" else found.backups
    assert store
    assert store.usable
    assert store.backups
    assert store.backups.count <= store.usable.count * (65 if backend == "with-media" else 100) / 100


def test_a_store_is_shared_out_whole_and_no_more() -> None:
    for profile in profiles():
        main = rooms(site(WATCHED), profile).main
        assert main
        assert main.usable == sum((part for part in (main.backups, main.media, main.logs) if part), Bytes(0))


REFUSED = {
    "backups: {retention: 60d}": "12 base backups of a database of 20Gi, and 75 days of its write-ahead log. minio-main has 76Gi",
    "backups: {schedule: 0 0 2 * * *}": "25 base backups of a database of 20Gi, and 23 days",
    "storage_sizes: {database: 70Gi}": "6 base backups of a database of 70Gi",
    "backups: {write_ahead_log_per_day: 2Gi}": "of its write-ahead log. minio-main has 76Gi, of which",
    "backups: {retention: 60d, object_storage: {backend: minio}}": "minio-backups has 53Gi; write a shorter retention",
}


@pytest.mark.parametrize(("choices", "said"), REFUSED.items())
def test_what_would_not_fit_is_refused_with_its_numbers(choices: str, said: str) -> None:
    with pytest.raises(OptionError) as refusal:
        rooms(site(choices), SMALLEST)
    assert refusal.value.key == "backups.retention"
    assert f"profile {SMALLEST.name}: backups come to " in refusal.value.message
    assert said in refusal.value.message


@pytest.mark.parametrize("choices", REFUSED)
def test_the_drives_that_the_refusal_names_are_large_enough_and_no_larger(choices: str) -> None:
    with pytest.raises(OptionError) as refusal:
        rooms(site(choices), SMALLEST)
    drive = int(refusal.value.message.partition("object_storage_drive: ")[2].partition("Gi")[0])
    head, _, rest = choices.partition("storage_sizes: {")
    rooms(site(f"{head}\nstorage_sizes: {{object_storage_drive: {drive}Gi, {rest or '}'}"), SMALLEST)
    with pytest.raises(OptionError):
        rooms(site(f"{head}\nstorage_sizes: {{object_storage_drive: {drive - 1}Gi, {rest or '}'}"), SMALLEST)


def test_a_store_that_others_run_is_told_what_it_needs_and_never_refused() -> None:
    elsewhere = "backups: {retention: 12m, object_storage: {backend: external, external: {endpoint: 'https://b.example.com'}}}"
    store = rooms(site(elsewhere), SMALLEST).backups
    assert store
    assert (store.store, store.usable) == ("https://b.example.com", None)
    assert store.backups
    everything = rooms(site("object_storage: {backend: external, external: {endpoint: 'https://s3.example.com'}}"), SMALLEST)
    assert everything.main is None
    assert everything.backups
    assert everything.backups.store == "https://s3.example.com"


@given(st.integers(1, 400), st.integers(1, 200), st.sampled_from(profiles()))
def test_either_all_fits_or_it_is_refused(days: int, drive: int, profile: Profile) -> None:
    chosen = site(f"{WATCHED}backups: {{retention: {days}d}}\nstorage_sizes: {{object_storage_drive: {drive}Gi}}\n")
    try:
        main = rooms(chosen, profile).main
    except OptionError:
        return
    assert main
    assert main.usable
    assert main.backups
    assert main.media
    assert main.logs
    assert main.backups.count + main.media.count + main.logs.count <= main.usable.count
    assert main.media.count > main.usable.count / 4, "media are what the store is for"


LI = (
    "features: {li: true}\nli: {country_code: DE, owner: operator, officers: {anna@authority.example: Anna Adler (investigator), "
    "clara@authority.example: Clara Cohn (approver)}}\n"
)


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_a_copy_for_lawful_interception_that_could_not_hold_all_media_is_named_with_the_pool_that_is_missing(profile: Profile) -> None:
    more = short_copies(site(LI), [profile])[profile.name].partition("and one more: ")[2]
    own = f"{{servers: {profile.minio_li.nodes}, drives: {profile.minio_li.drives}, drive: {profile.minio_li.drive}}}"
    large_enough = site(f"{LI}storage_sizes: {{pools: {{li: [{own}, {more}]}}}}\n")
    assert short_copies(large_enough, [profile]) == {}
    found = rooms(large_enough, profile)
    assert found.main
    assert found.li
    assert found.main.media
    assert found.li.media
    assert found.li.media >= found.main.media
    assert short_copies(site(""), [profile]) == {}
