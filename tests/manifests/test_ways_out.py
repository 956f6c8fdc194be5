"""Every option that promises contact with the outside opens exactly the way that it is for, and none is open that no option promises."""

import re
from collections.abc import Mapping
from functools import cache
from ipaddress import ip_address

import pytest
from attrs import evolve
from cdk8s import App

from app.inspection.reach import Address, can_reach, read_cluster
from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from kit.network import External, Pods
from kit.options import Option, Section, options_below
from overlays import profiles
from tests.manifests.test_sites import BASE, SITES
from tests.manifests.ways_out import NO_WAY_OUT, PLACES, PORTS, WAYS, Way

OPTIONS = dict(options_below(Section(Site)))
CONTACT = re.compile(
    r"\b(call(s|ed)?|ask(s|ed)?|reach(es)?|fetch(es)?|engines|internet|outside|connections?|exchange|push to)\b", re.IGNORECASE
)
"""Words by which a text promises contact."""
CASES = [(f"{name}-{number}", way) for name, ways in WAYS.items() for number, way in enumerate(ways)]


@cache
def reached(choice: str) -> frozenset[tuple[str, str, int]]:
    """What the workloads of a site reach outside: each workload, without the digest in the name of a Job, and address and port."""
    manifests = assemble(App(), parse_site(BASE + choice), profiles()[0]).rendering().manifests()
    cluster = read_cluster(list(map(dict, manifests)))
    # Pods in the network of their nodes are bound by no policy.
    ours = {name: w.pods[0] for name, w in cluster.workloads.items() if name.startswith("matrix") and not w.pods[0].host_network}
    tried = [Address(address, (ip_address(address),)) for addresses in PLACES.values() for address in addresses]
    return frozenset(
        (re.sub(r"^.*/|-[0-9a-f]{10}$", "", name), address.name, port)
        for name, pod in ours.items()
        for address in tried
        for port in PORTS
        if can_reach(cluster, pod, address, port, "TCP")
    )


@pytest.mark.parametrize("way", [way for _, way in CASES], ids=[name for name, _ in CASES])
def test_a_choice_opens_exactly_its_way(way: Way) -> None:
    meant = {(who, address, port) for who in way.who for place in way.places for address in PLACES[place] for port in way.ports}
    before, after = reached(way.without), reached(way.with_it)
    assert before & meant == set(), "these are open without it"
    assert after - before == meant


def test_a_way_that_nobody_opens_or_that_is_wider_is_noticed() -> None:
    way = WAYS["federation"][0]
    for wrong in (evolve(way, with_it=""), evolve(way, ports=(443,)), evolve(way, who=("pusher",)), evolve(way, without=way.with_it)):
        with pytest.raises(AssertionError):
            test_a_choice_opens_exactly_its_way(wrong)


def declared(choice: str) -> list[tuple[Pods, External]]:
    """The ways out that the components of a site have declared."""
    return assemble(App(), parse_site(BASE + choice), profiles()[0]).declared.outside


def unknown(ways: list[tuple[Pods, External]], promised: Mapping[str, Option]) -> set[str]:
    """Ways out that no option names or no row."""
    known = {name for option in promised.values() for name in option.opens} & WAYS.keys()
    return {external.name for _, external in ways if external.name not in known}


@pytest.mark.parametrize("choice", dict.fromkeys([*SITES.values(), *(way.with_it for _, way in CASES)]))
def test_there_is_no_way_out_that_no_option_names_and_no_row(choice: str) -> None:
    assert unknown(declared(choice), OPTIONS) == set(), (
        "name it in `opens` of its options, and give it a row in tests/manifests/ways_out.py"
    )


def test_a_way_out_without_an_option_or_a_row_is_noticed() -> None:
    nobody = Pods("pusher", "matrix", ())
    assert unknown([(nobody, External("new", (443,)))], OPTIONS) == {"new"}
    assert unknown([(nobody, External("federation", (443,)))], {}) == {"federation"}


def test_every_way_out_that_an_option_names_has_a_row_and_every_row_an_option() -> None:
    assert {name for option in OPTIONS.values() for name in option.opens} == WAYS.keys()


def silent(promised: Mapping[str, Option]) -> list[str]:
    """Options that speak of contact and open nothing; reserved ones have no effect yet."""
    speaking = [key for key, option in promised.items() if CONTACT.search(option.description) and not option.reserved]
    return [key for key in speaking if not promised[key].opens and key not in NO_WAY_OUT]


def test_an_option_that_speaks_of_contact_names_its_way_out() -> None:
    assert silent(OPTIONS) == [], "name its way out in `opens`, or say in NO_WAY_OUT why it opens none"


def test_an_option_that_forgets_its_way_out_is_noticed() -> None:
    forgetful = {key: evolve(option, opens=()) for key, option in OPTIONS.items()}
    assert {"federation.internet", "antivirus.signatures", "features.push"} <= set(silent(forgetful))


def test_reasons_are_given_for_options_that_need_one_alone() -> None:
    assert [key for key in NO_WAY_OUT if key not in OPTIONS or OPTIONS[key].opens or not CONTACT.search(OPTIONS[key].description)] == []
