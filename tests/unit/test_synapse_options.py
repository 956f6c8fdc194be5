"""docs/reference/synapse-options.md says what is so: of each option of Synapse, whether a site can say it, and by what."""

import json
from pathlib import Path

import pytest
import yaml
from attrs import evolve

from app.documents.synapse_options import BY_DOOR, BY_OPTION, BY_SECRET, OF_THE_PLATFORM, synapse_options_page
from kit.options import OptionError, Settings
from main_instance.synapse.configuration import homeserver_config
from main_instance.synapse.options import HomeserverOptions
from tests.site_documents import OPTIONS
from tests.unit.test_synapse_configuration import FEDERATING

OTHERS = yaml.safe_load(Path(__file__).with_name("synapse_options_of_others.yaml").read_text())


def through_the_door(name: str) -> object:
    spec = evolve(
        FEDERATING,
        turn=("turn:turn.example.org",),
        options=HomeserverOptions(extra=Settings(json.dumps({name: "said"})), url_previews=True),
    )
    return homeserver_config(spec)[name]


def test_every_option_of_a_site_that_is_named_exists() -> None:
    assert {option for options in BY_OPTION.values() for option in options} - OPTIONS.keys() == set()


@pytest.mark.parametrize("name", BY_DOOR)
def test_what_goes_through_the_door_does(name: str) -> None:
    assert through_the_door(name) == "said"


@pytest.mark.parametrize("name", sorted(OF_THE_PLATFORM.keys() - {"form_secret", "macaroon_secret_key", "registration_shared_secret"}))
def test_what_the_platform_sets_does_not(name: str) -> None:
    with pytest.raises(OptionError, match=name):
        through_the_door(name)


def test_nothing_is_named_twice_and_all_is_on_the_page() -> None:
    names = [*BY_OPTION, *BY_DOOR, *BY_SECRET, *OF_THE_PLATFORM]
    assert len(set(names)) == len(names)
    assert [name for name in names if f"| `{name}` " not in synapse_options_page()] == []


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_another_way_to_deploy_synapse_writes_is_on_the_page(other: str) -> None:
    names = OTHERS[other].split()
    assert len(names) > 40
    assert [name for name in names if f"| `{name}` " not in synapse_options_page()] == []
