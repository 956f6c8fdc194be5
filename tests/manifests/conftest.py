"""What every manifest test starts from: the shipped site, rendered for every profile, and the same as files and as `kubectl` builds them."""

from pathlib import Path

import pytest
from attrs import evolve, fields
from cdk8s import App

from app.compiler import compile_site
from app.platform import assemble
from app.settings import read_site
from app.site import Site
from infrastructure.postgresql.options import ExternalPostgresqlOptions, PostgresqlBackend, PostgresqlOptions
from infrastructure.redis.options import ExternalRedisOptions, RedisBackend, RedisOptions
from kit.formats import OthersPods
from kit.installation import Installation
from kit.rendering import Rendering
from main_instance.application_services.options import ApplicationServiceOptions
from main_instance.login.options import LoginOptions, ProviderOptions
from main_instance.state_compressor.options import StateCompressorOptions
from main_instance.sygnal.options import Apns, PushOptions
from overlays import profiles
from tests.kustomize import ROOT, build, write
from tests.manifests.rules.objects import Declared, Objects

OTHER_SITE = """
server_name: chat.example.org
images: {registry: registry.example.org, mirror: registry.example.org/mirror, pull_secrets: [registry-credentials]}
namespaces: {main: chat, li: chat-li}
features: {federation: true, li: true, monitoring: true}
monitoring: {mode: operator, operator: {url: 'http://prometheus.monitoring.svc:9090'}, keda: {}}
li:
  country_code: FR
  owner: operator
  officers: {a@example.net: "A (investigator)", b@example.net: "B (approver)"}
  keep_deleted_media: forever
cluster: {domain: k8s.example.net, multi_zone: true, api_server_cidrs: [10.0.0.10/32]}
storage_classes: {default: standard, database: local}
ingress: {type: gateway, gateway: {name: public, namespace: gateways}}
tls: {source: internal-ca}
secrets: {provider: external, store: {name: vault}}
object_storage: {backend: external, external: {endpoint: "https://s3.example.net", region: eu-1}}
login:
  passwords: false
  providers: {corporate: {issuer: "https://id.example.net", client_id: matrix, cidrs: [192.0.2.8/32]}}
  ldap: {servers: ["ldaps://ldap.example.net"], cidrs: [192.0.2.7/32], base: "dc=example,dc=net", bind_dn: "cn=matrix,dc=example,dc=net"}
"""


@pytest.fixture(scope="session")
def site() -> Site:
    """The site that the repository ships."""
    return read_site(ROOT / "tests" / "site.yaml")


@pytest.fixture(scope="session")
def full_site(site: Site) -> Site:
    """The shipped site with every feature on, in several zones: as many objects as there can be."""
    features = evolve(site.features, **dict.fromkeys((field.name for field in fields(type(site.features))), True))
    push = PushOptions(
        apns=Apns(key_id="ABCDE12345", team_id="ABCDE12345", apps=(("com.example.app.ios", "com.example.app"),)),
        fcm_apps=(("com.example.app.android", "example-app"),),
    )
    cluster = evolve(site.cluster, multi_zone=True, node_cidrs=("10.0.0.0/24",), service_cidrs=("10.43.0.0/16",))
    office = ("192.0.2.0/24",)
    ingress = evolve(site.ingress, admin_source_ranges=office, monitoring_source_ranges=office, li_source_ranges=office)
    li = evolve(site.li, key_deposit=True, notice_url="https://example.com/who-can-read-my-messages")
    bridge = ApplicationServiceOptions(
        url="http://telegram.bridges.svc:29317", bot="telegrambot", pods=OthersPods(namespace="bridges", labels=(("app", "telegram"),))
    )
    login = LoginOptions(providers=(("corporate", ProviderOptions(issuer="https://id.example.com", client_id="matrix")),))
    return evolve(
        site,
        antivirus=evolve(site.antivirus, encrypted=True),
        application_services=(("telegram", bridge),),
        cluster=cluster,
        features=features,
        ingress=ingress,
        li=li,
        login=login,
        push=push,
        state_compressor=StateCompressorOptions(),
    )


@pytest.fixture(scope="session")
def enterprise_site(full_site: Site) -> Site:
    """The full site with the database and the Redis of others, which lawful interception does not go with."""
    authority, there = "enterprise-ca", ("192.0.2.0/24",)
    postgresql = ExternalPostgresqlOptions(host="db.example.net", ca_secret=authority, cidrs=there)
    redis = ExternalRedisOptions(servers=("redis.example.net:6380",), ca_secret=authority, cidrs=there)
    return evolve(
        full_site,
        features=evolve(full_site.features, li=False),
        postgresql=PostgresqlOptions(backend=PostgresqlBackend.EXTERNAL, external=postgresql),
        redis=RedisOptions(backend=RedisBackend.EXTERNAL, external=redis),
    )


@pytest.fixture(scope="session")
def other_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site that decides everything otherwise than the shipped one: what it can get from elsewhere it does not run itself."""
    file = tmp_path_factory.mktemp("site") / "site.yaml"
    file.write_text(OTHER_SITE)
    return read_site(file)


@pytest.fixture(scope="session")
def installations(site: Site) -> dict[str, Installation]:
    """Profile name to what the components have declared."""
    return {profile.name: assemble(App(), site, profile) for profile in profiles()}


@pytest.fixture(scope="session")
def renderings(installations: dict[str, Installation]) -> dict[str, Rendering]:
    """Profile name to rendering."""
    return {name: installation.rendering() for name, installation in installations.items()}


@pytest.fixture(scope="session")
def dist(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `dist/`."""
    folder = tmp_path_factory.mktemp("dist")
    write(folder, compile_site(site, profiles()))
    return folder


@pytest.fixture(scope="session")
def full_dist(full_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `dist/` of the full site, in the smallest size."""
    folder = tmp_path_factory.mktemp("full-dist")
    write(folder, compile_site(full_site, profiles()[:1]))
    return folder


@pytest.fixture(scope="session")
def other_dist(other_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh `dist/` of the other site, in the smallest size."""
    folder = tmp_path_factory.mktemp("other-dist")
    write(folder, compile_site(other_site, profiles()[:1]))
    return folder


@pytest.fixture(scope="session")
def built(dist: Path) -> dict[str, Objects]:
    """Profile name to the objects that `kubectl kustomize` prints."""
    return {profile.name: build(dist / "overlays" / profile.name) for profile in profiles()}


@pytest.fixture(scope="session")
def everything(full_dist: Path) -> Objects:
    """The objects of the full site."""
    return build(full_dist / "base")


@pytest.fixture(scope="session")
def trees(built: dict[str, Objects], everything: Objects, other_dist: Path) -> dict[str, Objects]:
    """All that is built, by a name for messages."""
    return built | {"full site": everything, "other site": build(other_dist / "base")}


@pytest.fixture(scope="session")
def declared(installations: dict[str, Installation], full_site: Site, other_site: Site) -> dict[str, Declared]:
    """Name of a tree to namespace and name of every Secret that its provider makes, to the keys of it."""
    smallest = profiles()[0]
    others = {"full site": assemble(App(), full_site, smallest), "other site": assemble(App(), other_site, smallest)}
    return {
        name: {(need.spec.namespace, need.spec.name): set(dict(need.spec.keys)) for need in installation.declared.secrets}
        for name, installation in (installations | others).items()
    }
