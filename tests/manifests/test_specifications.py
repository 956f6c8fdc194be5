"""What a component documents as a choice is one: a site or a profile can make it."""

import importlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import attrs
import pytest
from cdk8s import App

from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from overlays import profiles
from tests.kustomize import ROOT
from tests.manifests.test_sites import BASE, SITES

FOR_TESTS = "live tests run the program on loopback, at ports of their own and with less patience"
FIXED = {
    **{f"HAProxySpec.{name}": FOR_TESTS for name in ("synapse_port", "synapse_health_port", "ports", "nameservers", "check_seconds")},
    **{f"HAProxySpec.{name}": FOR_TESTS for name in ("listen_address", "grace_seconds", "drain_seconds")},
    **{f"HAProxySpec.{name}": FOR_TESTS for name in ("max_connections", "main_max_connections", "threads", "log_successes")},
    **{
        f"RedisSpec.{name}": FOR_TESTS
        for name in ("group", "eviction", "down_after_milliseconds", "failover_timeout_milliseconds", "proxy")
    },
    "CoturnSpec.ports": FOR_TESTS,
    "CoturnSpec.run": FOR_TESTS,
    "LiveKitSpec.key_file": FOR_TESTS,
    "LiveKitSpec.turn_secret": FOR_TESTS,
    "LiveKitSpec.ports": FOR_TESTS,
    "ServiceSpec.bind_address": FOR_TESTS,
    "HomeserverSpec.paths": FOR_TESTS,
}
"""Fields that are always the same in what is rendered, and why they are fields all the same."""


def specifications() -> Iterator[type[Any]]:
    """Every class that tells a component or its configuration what to be."""
    for path in sorted((ROOT / "constructs").rglob("*.py")):
        if "__pycache__" in path.parts or path.parent.name == "kit":
            continue
        module = importlib.import_module(".".join(Path(path).relative_to(ROOT / "constructs").with_suffix("").parts))
        found = (value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__)
        yield from (value for value in found if attrs.has(value) and value.__name__.endswith("Spec"))


@pytest.fixture(scope="module")
def seen(full_site: Site, other_site: Site) -> Mapping[str, set[str]]:
    """Class and field to the values that it has had, over sites that make every choice."""
    values: dict[str, set[str]] = defaultdict(set)
    with pytest.MonkeyPatch.context() as patch:
        for specification in specifications():
            patch.setattr(specification, "__init__", _recording(specification, values))
        assemble(App(), full_site, profiles()[-1])
        for site in (full_site, other_site, *(parse_site(BASE + choice) for choice in SITES.values())):
            assemble(App(), site, profiles()[0])
    return values


def _recording(specification: type[Any], values: dict[str, set[str]]) -> Any:
    make = specification.__init__

    @wraps(make)
    def record(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **named)
        for field in attrs.fields(specification):
            values[f"{specification.__name__}.{field.name}"].add(repr(getattr(self, field.name)))

    return record


def unreached(seen: Mapping[str, set[str]]) -> list[str]:
    """Fields with a default that never have another value."""
    defaulted = [
        f"{specification.__name__}.{field.name}"
        for specification in specifications()
        for field in attrs.fields(specification)
        if field.default is not attrs.NOTHING and field.init
    ]
    return [name for name in defaulted if len(seen.get(name, set())) < 2]


def test_every_choice_of_a_component_is_made_by_a_site_or_a_profile(seen: Mapping[str, set[str]]) -> None:
    assert set(unreached(seen)) - FIXED.keys() == set()


def test_a_choice_that_no_option_reaches_is_noticed(seen: Mapping[str, set[str]]) -> None:
    assert "HomeserverSpec.federation" not in unreached(seen)
    assert "HomeserverSpec.federation" in unreached({**seen, "HomeserverSpec.federation": {"None"}})


def test_no_reason_is_given_for_a_field_that_can_be_chosen(seen: Mapping[str, set[str]]) -> None:
    assert FIXED.keys() - set(unreached(seen)) == set()
