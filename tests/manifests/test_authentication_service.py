"""A site whose people log in with the Matrix Authentication Service: who reaches it, what it replaces, and that every size has room for it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from app.compiler import compile_site, render
from app.inspection.reach import WORLD, Cluster, can_reach, read_cluster
from app.site import Site
from main_instance.authentication_service.options import AuthenticationServiceOptions
from main_instance.haproxy.configuration import TOKENS_MEMORY
from main_instance.login.options import LoginOptions, ProviderOptions
from overlays import Profile, profiles
from tests.kustomize import build, by_id, expected, without_hashes, write
from tests.manifests.reaching import every_pod_reaches, some_pod_reaches
from tests.manifests.rules import budget, consistency, processes, references
from tests.manifests.rules.mutation import Break, assert_noticed, container, pick, replacing, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept, of_kind, workloads
from tests.manifests.test_network_policies import OTHERS

NAME = "matrix-authentication-service"


@pytest.fixture(scope="module")
def chosen(site: Site) -> Site:
    """The shipped site with the service."""
    return evolve(site, features=evolve(site.features, authentication_service=True))


@pytest.fixture(scope="module")
def sizes(chosen: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Objects]:
    """Profile name to its objects as `kubectl kustomize` prints them."""
    folder: Path = tmp_path_factory.mktemp("authentication")
    write(folder, compile_site(chosen, profiles()))
    return {profile.name: build(folder / "overlays" / profile.name) for profile in profiles()}


@pytest.fixture(scope="module")
def small(sizes: dict[str, Objects]) -> Objects:
    return sizes["100-ccu"]


@pytest.fixture(scope="module")
def cluster(small: Objects) -> Cluster:
    return read_cluster([*small, *OTHERS], pod_network=["10.42.0.0/16"])


RULES: list[Rule] = [
    budget.connection_problems,
    budget.limit_problems,
    budget.postgresql_problems,
    consistency.service_problems,
    consistency.probe_problems,
    consistency.budget_problems,
    processes.listener_problems,
    processes.instance_problems,
    references.config_map_problems,
    references.path_problems,
    references.host_problems,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_size_holds_together_with_the_service(rule: Rule, sizes: dict[str, Objects]) -> None:
    assert_kept(rule, sizes)


@pytest.mark.parametrize("profile", [profile.name for profile in profiles()])
def test_it_has_two_pods_or_more_in_every_size(profile: str, sizes: dict[str, Objects]) -> None:
    assert pick(sizes[profile], "Deployment", NAME)["spec"]["replicas"] >= 2
    assert len([process for process in processes.processes(sizes[profile]) if not process.follows]) == 1 + 18


@pytest.mark.parametrize("profile", profiles(), ids=lambda profile: profile.name)
def test_every_overlay_builds_to_exactly_its_profile(profile: Profile, chosen: Site, sizes: dict[str, Objects]) -> None:
    assert by_id(without_hashes(sizes[profile.name])) == expected(render(chosen, profile))


def test_haproxy_has_room_for_whose_tokens_are_in_every_size(site: Site, sizes: dict[str, Objects]) -> None:
    for profile in profiles():
        (program,) = pick(sizes[profile.name], "Deployment", "haproxy")["spec"]["template"]["spec"]["containers"]
        plain = profile.haproxy.resources
        given = program["resources"]
        assert given["requests"]["memory"] == str(plain.memory)
        assert given["limits"]["memory"] == str(plain.memory_limit + TOKENS_MEMORY)
        (files,) = (o["data"] for o in of_kind(sizes[profile.name], "ConfigMap") if "routes.map" in o.get("data", {}))
        assert "lua.whose" in files["haproxy.cfg"]
        assert "whose.lua" in files
        assert "config/haproxy/whose.lua" not in render(site, profile).files


MUTATIONS: list[tuple[Rule, Break, str]] = [
    (
        budget.connection_problems,
        replacing(f"{NAME}-config", "config.yaml", "max_connections: 3", "max_connections: 25"),
        "connections",
    ),
    (
        references.host_problems,
        replacing(f"{NAME}-config", "config.yaml", ":8009/", ":8010/"),
        "on 8010",
    ),
    (
        references.path_problems,
        replacing(f"{NAME}-config", "config.yaml", "authentication-service/rsa.pem", "authentication-service/rsa.key"),
        "rsa.key",
    ),
    (consistency.probe_problems, without(f"Deployment/{NAME}", "container.ports[1]"), NAME),
]


@pytest.mark.parametrize(("rule", "change", "mention"), MUTATIONS, ids=[mention for _, _, mention in MUTATIONS])
def test_a_slip_in_its_configuration_is_noticed(rule: Rule, change: Break, mention: str, small: Objects) -> None:
    assert_noticed(rule, small, change, mention)


OPEN = [
    ("traefik/traefik", f"matrix/{NAME}", 8080),
    ("matrix/haproxy", f"matrix/{NAME}", 8080),
    ("matrix/haproxy", f"matrix/{NAME}", 8081),
    ("matrix/synapse", f"matrix/{NAME}", 8080),
    ("matrix/synchrotron", f"matrix/{NAME}", 8080),
    ("matrix/mas-helper", f"matrix/{NAME}", 8080),
    (f"matrix/{NAME}", "matrix/haproxy", 8009),
    (f"matrix/{NAME}", "matrix/postgresql-main", 5432),
    ("matrix/haproxy", "matrix/mas-helper", 8008),
]
CLOSED = [
    ("traefik/traefik", f"matrix/{NAME}", 8081),
    ("traefik/traefik", "matrix/mas-helper", 8008),
    ("default/stranger", f"matrix/{NAME}", 8080),
    ("matrix/redis", f"matrix/{NAME}", 8080),
    # Through HAProxy alone, which knows who answers.
    (f"matrix/{NAME}", "matrix/mas-helper", 8008),
    (f"matrix/{NAME}", "matrix/synapse", 8008),
    (f"matrix/{NAME}", "matrix/haproxy", 8405),
    (f"matrix/{NAME}", "matrix/redis-proxy", 6379),
    (f"matrix/{NAME}", "matrix/minio-main-pool-0", 9000),
]


@pytest.mark.parametrize(("source", "target", "port"), OPEN, ids=str)
def test_who_has_business_with_it_reaches_it(cluster: Cluster, source: str, target: str, port: int) -> None:
    assert every_pod_reaches(cluster, source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), CLOSED, ids=str)
def test_who_has_none_does_not(cluster: Cluster, source: str, target: str, port: int) -> None:
    assert not some_pod_reaches(cluster, source, target, port)


PROVIDER = ProviderOptions(issuer="https://id.example.com", client_id="matrix")


@pytest.mark.parametrize(
    ("providers", "world"),
    [
        ((), False),
        ((("corporate", PROVIDER),), True),
        ((("corporate", evolve(PROVIDER, cidrs=("198.51.100.0/24",))),), False),
    ],
)
def test_it_calls_the_internet_only_where_the_site_names_identity_providers_there(
    chosen: Site, providers: tuple[tuple[str, ProviderOptions], ...], world: bool, tmp_path: Path
) -> None:
    write(tmp_path, compile_site(evolve(chosen, login=LoginOptions(providers=providers)), profiles()[:1]))
    objects = build(tmp_path / "base")
    cluster = read_cluster(objects)
    (pod, *_) = cluster.workloads[f"matrix/{NAME}"].pods
    assert can_reach(cluster, pod, WORLD, 443, "TCP") is world
    assert not can_reach(cluster, pod, WORLD, 80, "TCP")
    # Nobody else asks who people are.
    assert not any(
        can_reach(cluster, pod, WORLD, 443, "TCP") for pod in cluster.pods if pod.labels.get("app.kubernetes.io/name") == "synapse"
    )


def test_what_the_site_adds_in_a_secret_is_read_last(chosen: Site, tmp_path: Path) -> None:
    more = AuthenticationServiceOptions(extra_secret=True)
    write(tmp_path, compile_site(evolve(chosen, authentication_service=more), profiles()[:1]))
    variables = {item["name"]: item["value"] for item in container(build(tmp_path / "base"), "Deployment", NAME)["env"]}
    assert variables["MAS_CONFIG"].split(":")[-1] == "/secrets/extra-configuration/config.yaml"


def test_synapse_and_the_service_share_one_secret_and_no_other_key_of_it(small: Objects) -> None:
    mounted: dict[str, set[str]] = {}
    for workload in workloads(small):
        for volume in workload.pod.get("volumes", []):
            if volume.get("secret", {}).get("secretName") == NAME:
                mounted[workload.name] = {item["key"] for item in volume["secret"]["items"]}
    assert mounted.pop(NAME) == {"encryption", "rsa.pem", "homeserver"}
    assert len(mounted) == 1 + 18
    assert set(map(frozenset, mounted.values())) == {frozenset({"homeserver"})}


def test_the_database_is_its_own_and_stays_when_the_service_goes(small: Objects) -> None:
    (database,), (role,) = (
        [o for o in of_kind(small, kind) if o["spec"]["name"] == "authentication_service"] for kind in ("Database", "DatabaseRole")
    )
    config: dict[str, Any] = yaml.safe_load(pick(small, "ConfigMap", f"{NAME}-config")["data"]["config.yaml"])
    assert database["spec"]["name"] == config["database"]["database"]
    assert database["spec"]["owner"] == role["spec"]["name"] == config["database"]["username"]
    assert database["spec"]["cluster"] == role["spec"]["cluster"] == {"name": "postgresql-main"}
    assert database["spec"]["databaseReclaimPolicy"] == role["spec"]["databaseRoleReclaimPolicy"] == "retain"


def test_the_site_without_the_service_has_nothing_of_it(built: dict[str, Objects]) -> None:
    for objects in built.values():
        assert not [o for o in objects if NAME in o["metadata"]["name"] or "mas-helper" in o["metadata"]["name"]]
