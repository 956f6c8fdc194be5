"""A site's own options of another program stand beside those of the platform, and replace none: whichever program it is."""

import json

import pytest

from app.compiler import render
from app.settings import parse_site
from kit.merging import with_extra
from kit.options import OptionError, Settings
from overlays import profiles

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\ncluster: {node_cidrs: [10.0.0.0/24]}\n"
DOORS = {
    "homeserver.extra": ("homeserver: {{extra: {}}}", "synapse/homeserver.yaml", "presence", "server_name"),
    "element.config": ("element: {{config: {}}}", "element-web/config.json", "setting_defaults", "brand"),
    "calls.livekit": ("features: {{calls: true}}\ncalls: {{livekit: {}}}", "livekit/config.yaml", "rtc", "port"),
    "well_known.client": ("well_known: {{client: {}}}", "haproxy/well-known-client.json", "m.homeserver", "m.homeserver"),
    "authentication_service.extra": (
        "features: {{authentication_service: true}}\nauthentication_service: {{extra: {}}}",
        "matrix-authentication-service/config.yaml",
        "account",
        "database",
    ),
}
"""Each door: how a site opens it, whose file it is, a section that both have, and one that is the platform's."""


def file(site: str, name: str) -> str:
    files = render(parse_site(f"{BASE}{site}\n"), profiles()[0]).files
    return next(text for path, text in files.items() if path.endswith(name))


def test_sections_are_joined_and_values_are_not_replaced() -> None:
    ours = {"a": 1, "b": {"c": 2}, "d": [3]}
    assert with_extra(ours, Settings('{"e": 4, "b": {"f": 5}}'), "x.extra") == {"a": 1, "b": {"c": 2, "f": 5}, "d": [3], "e": 4}
    assert ours == {"a": 1, "b": {"c": 2}, "d": [3]}


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        ('{"a": 2}', r"^x\.extra\.a: the platform sets a: it follows from the rest of the site"),
        ('{"b": {"c": 2}}', r"^x\.extra\.b\.c: the platform sets b\.c: use other\.option$"),
        ('{"b": 1}', r"^x\.extra\.b: the platform sets b: "),
        ('{"d": [4]}', r"^x\.extra\.d: "),
    ],
)
def test_what_the_platform_sets_is_refused(theirs: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        with_extra({"a": 1, "b": {"c": 2}, "d": [3]}, Settings(theirs), "x.extra", {"b.c": "other.option"})


@pytest.mark.parametrize("door", DOORS)
def test_a_door_lets_in_what_the_platform_does_not_set(door: str) -> None:
    site, name, section, _ = DOORS[door]
    text = file(site.format(json.dumps({"something": {"else": "said-by-the-site"}, section: {"further": "said-there"}})), name)
    assert "said-by-the-site" in text
    assert "said-there" in text


@pytest.mark.parametrize("door", DOORS)
def test_a_door_keeps_out_what_the_platform_sets(door: str) -> None:
    site, name, _, owned = DOORS[door]
    with pytest.raises(OptionError, match=rf"^{door}\.{owned}: the platform sets "):
        file(site.format(json.dumps({owned: "x"})), name)
