"""No process without work: which Synapse workers a site has follows from what it does, and what is not there is missed by nobody."""

import re
from collections.abc import Mapping

import pytest
import yaml
from attrs import evolve

from app.compiler import render
from app.contradictions import contradictions
from app.documents.workers import workers_page
from app.settings import parse_site
from app.site import Site
from kit.rendering import Rendering
from overlays import Profile, profiles

SMALLEST, LARGEST = profiles()[0], profiles()[-1]

# By hand: the feature, the workers that are there for it alone, and the lists of names that are empty without it.
ONLY_WITH: Mapping[str, tuple[set[str], tuple[str, ...]]] = {
    "federation": ({"federation-sender", "federation-reader", "federation-inbound"}, ("federation_sender_instances",)),
    "push": ({"pusher"}, ("pusher_instances",)),
    "authentication_service": ({"mas-helper"}, ()),
}


def without(full_site: Site, feature: str, profile: Profile = SMALLEST) -> Rendering:
    return render(evolve(full_site, features=evolve(full_site.features, **{feature: False})), profile)


def workers(rendering: Rendering) -> set[str]:
    return {
        identity.name
        for identity in rendering.objects
        if identity.kind == "StatefulSet" and f"config/synapse/workers/{identity.name}.yaml" in rendering.files
    }


@pytest.mark.parametrize("feature", ONLY_WITH)
def test_workers_come_and_go_with_the_feature_that_gives_them_work(feature: str, full_site: Site) -> None:
    own, lists = ONLY_WITH[feature]
    all_on, left = workers(render(full_site, SMALLEST)), workers(without(full_site, feature))
    # Synapse's own single sign-on is there where nobody else logs people in.
    assert all_on - left == own
    assert left - all_on <= {"sso-login"}
    shards = yaml.safe_load(without(full_site, feature).files["config/synapse/shards.yaml"])
    # Left out, main would do it (synapse/config/workers.py).
    assert {name: shards[name] for name in lists} == {key: [] for key in lists}


@pytest.mark.parametrize("feature", ONLY_WITH)
def test_the_proxy_sends_no_request_to_workers_that_are_not_there(feature: str, full_site: Site) -> None:
    rendering = without(full_site, feature)
    routes = [line.split()[-1] for line in rendering.files["config/haproxy/routes.map"].splitlines() if not line.startswith("#")]
    backends = set(re.findall(r"^backend (\S+)", rendering.files["config/haproxy/haproxy.cfg"], re.MULTILINE))
    fallbacks = {word for line in rendering.files["config/haproxy/fallbacks.map"].splitlines() for word in line.split()}
    assert not (set(routes) | backends | fallbacks) & ONLY_WITH[feature][0]
    assert set(routes) | fallbacks <= backends


def test_a_site_without_federation_has_18_pods_less_at_the_largest_size(site: Site) -> None:
    federating = evolve(site, features=evolve(site.features, federation=True))

    def pods(rendering: Rendering) -> int:
        objects = rendering.manifests()
        least = {o["spec"]["scaleTargetRef"]["name"]: o["spec"]["minReplicas"] for o in objects if o["kind"] == "HorizontalPodAutoscaler"}
        sets = {o["metadata"]["name"]: o["spec"].get("replicas") for o in objects if o["kind"] == "StatefulSet"}
        return sum(least[name] if count is None else count for name, count in sets.items())

    assert pods(render(federating, LARGEST)) - pods(render(site, LARGEST)) == 18


def test_a_login_that_goes_through_the_door_has_its_worker_too() -> None:
    base = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\nlogin: {passwords: false}\n"
    site = parse_site(f"{base}homeserver: {{extra: {{saml2_config: {{sp_config: {{}}}}}}}}\n")
    assert list(contradictions(site)) == []
    assert "sso-login" in workers(render(site, SMALLEST))


TITLES = {
    "federation": "federation",
    "push": "push notifications and e-mails",
    "authentication_service": "the Matrix Authentication Service",
}


@pytest.mark.parametrize("profile", [SMALLEST, LARGEST], ids=lambda profile: profile.name)
@pytest.mark.parametrize("feature", ONLY_WITH)
def test_what_a_feature_adds_is_what_the_reference_says(feature: str, profile: Profile, full_site: Site) -> None:
    """In processes, and in connections to the database as the files of their pods and their autoscalers have them."""
    rendering = render(full_site, profile)
    scalers = {o["spec"]["scaleTargetRef"]["name"]: o["spec"] for o in rendering.manifests() if o["kind"] == "HorizontalPodAutoscaler"}
    sets = {o["metadata"]["name"]: o["spec"].get("replicas") for o in rendering.manifests() if o["kind"] == "StatefulSet"}
    processes = connections = 0
    for name in ONLY_WITH[feature][0]:
        pool = yaml.safe_load(rendering.files[f"config/synapse/workers/{name}.yaml"])["database"]["args"]["cp_max"]
        processes += scalers[name]["minReplicas"] if name in scalers else sets[name]
        connections += (pool + 1) * (scalers[name]["maxReplicas"] if name in scalers else sets[name])
    (line,) = re.findall(rf"^\| {TITLES[feature]} .*", workers_page(profiles()), re.MULTILINE)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2 + profiles().index(profile)] == f"{processes} ({connections})"


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_all_proxies_together_send_no_more_to_a_process_than_it_takes(profile: Profile, site: Site) -> None:
    text = render(site, profile).files["config/haproxy/haproxy.cfg"]
    together = {
        name: profile.haproxy.replicas * int(share)
        for name, share in re.findall(r"^backend (\S+).*?maxconn (\d+)", text, re.MULTILINE | re.DOTALL)
    }
    # Rounded up: at most one more for each proxy.
    for name, limit in {"main": 250, "synchrotron": 2000, "initial-synchrotron": 50, "client-reader": 500}.items():
        assert limit <= together[name] < limit + profile.haproxy.replicas, name
