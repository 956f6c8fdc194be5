"""Everything that a client is told to contact is the site's own."""

import json
from collections.abc import Callable

import pytest
import yaml
from attrs import asdict, evolve

from app.compiler import render
from app.site import Site
from overlays import profiles
from tests.manifests.rules.contacts import LIVEKIT, contacts

Files = dict[str, str]


def own(site: Site) -> set[str]:
    return {*asdict(site.hosts).values(), site.domain}


def foreign(site: Site, files: Files) -> set[str]:
    return {host for _, host in contacts(files)} - own(site)


@pytest.fixture(scope="module")
def files(full_site: Site) -> Files:
    return dict(render(full_site, profiles()[0]).files)


def test_no_client_of_any_site_is_told_of_a_strangers_host(site: Site, full_site: Site, other_site: Site) -> None:
    for one in (site, full_site, other_site):
        for calls in (True, False):
            chosen = evolve(one, features=evolve(one.features, calls=calls and bool(one.cluster.node_cidrs)))
            assert foreign(chosen, dict(render(chosen, profiles()[0]).files)) == set()


def test_what_is_handed_out_is_looked_at(full_site: Site, files: Files) -> None:
    places = {path.split("/")[1] for path, _ in contacts(files)}
    assert places == {"element-web", "haproxy", "synapse", "livekit", "matrix-authentication-service"}
    hosts = full_site.hosts
    assert {hosts.matrix, hosts.element, hosts.rtc, hosts.turn, hosts.auth} <= {host for _, host in contacts(files)}


def without(path: str, *keys: str) -> Callable[[Files], None]:
    """A file without one of its settings."""

    def apply(files: Files) -> None:
        config = yaml.safe_load(files[path])
        inner = config
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        files[path] = json.dumps(config)

    return apply


def with_value(path: str, section: str, key: str, value: object) -> Callable[[Files], None]:
    """A file with another value for a setting of a section."""

    def apply(files: Files) -> None:
        config = yaml.safe_load(files[path])
        config[section][key] = value
        files[path] = json.dumps(config)

    return apply


ELEMENT, LIVEKIT_FILE = "config/element-web/config.json", "config/livekit/config.yaml"
SILENT = {
    "integrations_ui_url": "scalar.vector.im",
    "jitsi": "meet.element.io",
    "branding": "element.io",
    "desktop_builds": "element.io",
    "mobile_builds": "apps.apple.com",
    "help_url": "element.io",
}
SLIPS: list[tuple[Callable[[Files], None], str]] = [
    (without(LIVEKIT_FILE, "rtc", "turn_servers"), LIVEKIT[0]),
    (with_value(LIVEKIT_FILE, "rtc", "stun_servers", ["stun.example.net:3478"]), "stun.example.net"),
    *((without(ELEMENT, key), host) for key, host in SILENT.items()),
    (with_value(ELEMENT, "setting_defaults", "UIFeature.feedback", True), "github.com"),
]


@pytest.mark.parametrize(("slip", "host"), SLIPS, ids=[f"{number}-{host}" for number, (_, host) in enumerate(SLIPS)])
def test_a_strangers_host_is_noticed(slip: Callable[[Files], None], host: str, full_site: Site, files: Files) -> None:
    changed = dict(files)
    slip(changed)
    assert host in foreign(full_site, changed)
