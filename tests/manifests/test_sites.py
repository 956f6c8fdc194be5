"""Every choice of a site compiles to a tree that Kustomize builds, with what the choice promises."""

import json
from collections.abc import Sequence
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
from cdk8s import App

from app.compiler import render
from app.layout import base_files
from app.platform import assemble
from app.settings import parse_site
from app.site import Site
from kit.installation import Installation
from kit.options import Choice, Flag, OptionError, Section, options_below
from kit.rendering import ObjectId
from overlays import profiles
from tests.kustomize import build, by_id, write
from tests.manifests.rules import availability, budget, consistency, postgresql, promises, quotas, references, schemas, security
from tests.manifests.rules.mutation import assert_noticed, setting, without
from tests.manifests.rules.objects import Rule, assert_kept
from tests.manifests.rules.scrapes import scrape_problems

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
LI = (
    "features: {li: true}\nli:\n  country_code: DE\n  owner: example-operator\n"
    "  officers: {anna@authority.example: Anna Adler (investigator), clara@authority.example: Clara Cohn (approver)}\n"
)
SITES = {
    "minimal": "",
    "federation": "features: {federation: true}\nfederation: {allowed_domains: [a.example.org]}\n",
    "federation of partners": (
        "features: {federation: true}\nfederation:\n  internet: false\n  networks: [10.20.0.0/16]\n  ca_secret: partners\n"
        "  allowed_domains: [a.example.org, keys.example.org]\n  key_servers: [keys.example.org]\n"
    ),
    "lawful interception": LI,
    "lawful interception that shows what was taken back": LI + "  keep_redacted_originals: true\n",
    "lawful interception with times of its own": LI + "  sync: {verify: 15m, refresh: never}\n  keep_deleted_media: 90d\n",
    "push gateways of others": "push: {gateways: internet}\n",
    "push gateways of partners": "push: {gateways: networks, gateway_networks: [10.20.0.0/16], gateway_ca_secret: partners}\n",
    "mail": "mail: {server: smtp.example.com, sender: matrix@example.com}\n",
    "mail of the organisation": (
        "mail:\n  server: smtp.example.com:2465\n  tls: tls\n  sender: Matrix <matrix@example.com>\n  user: matrix\n  networks: [10.20.0.0/16]\n"
        "  ca_secret: organisation\n  notify_after: 30m\n  notifications: false\nfeatures: {authentication_service: true}\n"
    ),
    "previews of links": "homeserver: {url_previews: true}\n",
    "external storage": "object_storage: {backend: external, external: {endpoint: https://s3.example.com, ca_secret: s3-ca}}\n",
    "a database of others": (
        "postgresql: {backend: external, external: {host: db.example.com, port: 6432, database: matrix, user: matrix, cidrs: [192.0.2.0/28],\n"
        "  ca_secret: db-ca, authentication_database: login, authentication_user: login}}\nfeatures: {authentication_service: true}\n"
    ),
    "Redis of others": (
        "redis: {backend: external, external: {servers: ['redis.example.com:6380'], cidrs: [192.0.2.0/28], ca_secret: redis-ca}}\n"
    ),
    "Redis of others, by Sentinels": (
        "redis:\n  backend: external\n  external:\n    servers: ['192.0.2.1:6380', '192.0.2.2:6380']\n"
        "    sentinels: ['192.0.2.1:26380', '192.0.2.2:26380', '192.0.2.3:26380']\n    sentinel_group: chat\n    sentinel_password: false\n"
        "    certificate_name: redis.example.com\n    cidrs: [192.0.2.0/28]\n    ca_secret: redis-ca\n"
        "features: {calls: true, antivirus: true, monitoring: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\n"
    ),
    "everything of others": (
        "postgresql: {backend: external, external: {host: db.example.com, cidrs: [192.0.2.0/28], ca_secret: db-ca}}\n"
        "redis: {backend: external, external: {servers: ['redis.example.com:6380'], cidrs: [192.0.2.0/28], ca_secret: redis-ca}}\n"
        "object_storage: {backend: external, external: {endpoint: https://s3.example.com}}\n"
        "secrets: {provider: external, store: {name: vault}}\n"
    ),
    "pools that were added, and a size that is left": (
        "storage_sizes: {pools: {main: [{servers: 4, drive: 60Gi}, {servers: 6, drives: 4, drive: 50Gi}]}}\nshrinking_from: 1000-ccu\n"
    ),
    "gateway": "ingress: {type: gateway, gateway: {name: public, namespace: gateways}}\n",
    "another ingress class": "ingress: {class_name: haproxy, annotations: {example.com/a: b}}\n",
    "internal authority": "tls: {source: internal-ca}\n",
    "own certificates": "tls: {source: existing}\n",
    "cluster issuer": "tls: {source: cluster-issuer, cluster_issuer: corporate}\n",
    "external secrets": "secrets: {provider: external, store: {name: vault}}\n",
    "manual secrets": "secrets: {provider: manual}\n",
    "mirror": "cluster: {multi_zone: true, domain: k8s.example}\n",
    "calls": "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {livekit: {audio: {active_level: 35}}}\n",
    "calls behind load balancers": (
        "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ntls: {source: internal-ca}\n"
        "calls: {load_balancer: {livekit: {livekit-0: 203.0.113.10}, balancer_class: example.com/udp, annotations: {example.com/a: b}}}\n"
    ),
    "calls behind load balancers of its own": (
        "features: {calls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\ncalls: {load_balancer: {service: node-port}}\n"
    ),
    "TURN with a certificate of the site": "features: {calls: true}\ncalls: {turn_tls: true}\ncluster: {node_cidrs: [10.0.0.0/24]}\n",
    "TURN in the clear": "features: {calls: true}\ncalls: {turn_tls: false}\ncluster: {node_cidrs: [10.0.0.0/24]}\ntls: {source: internal-ca}\n",
    "a light client for any homeserver": "element: {theme: light, custom_homeservers: true}\n",
    "a dark client, a store of its own": "element: {theme: dark}\nsecrets: {provider: external, store: {name: vault, kind: SecretStore}}\n",
    "authentication service": "features: {authentication_service: true}\n",
    "administration of the service": (
        "features: {authentication_service: true}\ncluster: {pod_cidrs: [10.42.0.0/16]}\ningress: {admin_source_ranges: [192.0.2.0/24]}\n"
        "authentication_service: {extra: {branding: {service_name: Example}}, extra_secret: true}\n"
        "login: {ca_secret: corporate-ca, providers: {corporate: {issuer: 'https://id.example.com', client_id: matrix}}}\n"
    ),
    "people of others": (
        "login:\n  passwords: false\n  ca_secret: corporate-ca\n  providers:\n"
        "    corporate: {issuer: 'https://id.example.com', client_id: matrix, existing_accounts: true, cidrs: [192.0.2.8/32]}\n"
        "  ldap: {servers: ['ldap://ldap.example.com'], start_tls: true, cidrs: [192.0.2.7/32], base: 'dc=example,dc=com'}\n"
    ),
    "Active Directory": (
        "login: {ldap: {servers: ['ldaps://ad.example.com'], cidrs: [192.0.2.7/32], base: 'dc=example,dc=com', active_directory: true,\n"
        "  default_domain: example.com, bind_dn: 'cn=matrix,dc=example,dc=com', attributes: {user: userPrincipalName}}}\n"
        "homeserver: {encryption: invite, password_policy: {minimum_length: 12}}\n"
        "well_known: {client: {io.element.e2ee: {default: true}}}\nelement: {config: {default_country_code: DE}}\n"
    ),
    "bridges": (
        "application_services:\n"
        "  telegram: {url: 'http://telegram.bridges.svc:29317', bot: telegrambot, users: ['telegram_.*'], aliases: ['telegram_.*'],\n"
        "    ephemeral: true, rate_limited: true, pods: {namespace: bridges, labels: {app: telegram}}}\n"
        "  far: {url: 'https://far.example.com', given: true, cidrs: [192.0.2.9/32]}\n"
    ),
    "a homeserver of its own": (
        "homeserver:\n  encryption: all\n  auto_join_rooms: ['#hall:example.com']\n"
        "  password_policy: {minimum_length: 12, digit: true, symbol: true, lower_case: true, upper_case: true}\n"
        "  server_notices: {account: notices}\n  rate_limits: {logins_per_minute: 5000, messages: {per_second: 0.5, burst: 20}}\n"
        "  modules: {invites: {path: synapse_invites.Module, config: {mode: strict}, processes: [main, event-creator], secret: true}}\n"
        "  image: registry.example.com/own-synapse:1\n  extra: {max_avatar_size: 10M}\n  extra_secret: true\n"
    ),
    "registration": "registration: {enabled: true}\nmedia: {local_lifetime: 90d}\n",
    "media that stay in the bucket": "media: {remove_deleted: false}\n",
    "media that can be brought back": "media: {keep_removed_days: 7}\n",
    "media that are only said to go": "media: {removal_dry_run: true}\n",
    "state that is compressed": "state_compressor: {chunks: 300, chunk_size: 1000}\n",
    "another web server at the server name": "well_known: {publish: false}\n",
    "contacts": "well_known: {support: {page: https://example.com/help, security: {matrix_id: '@security:example.com'}}}\n",
    "one host": "hosts: {matrix: example.com}\n",
    "lawful interception, published": LI + "ingress: {li_source_ranges: [192.0.2.0/24]}\n",
    "deposited recovery keys": LI + "  key_deposit: true\n  notice_url: https://example.com/notice\n",
    "no network policies": "network_policies: false\n" + LI,
    "another place for DNS": "cluster: {dns: {namespace: openshift-dns, cidrs: []}}\n",
    "a node for each server": "object_storage: {minio: {one_server_per_node: true}}\n",
    "old signing keys": "old_signing_keys: {'ed25519:a_Old1': Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw until 2026-01-31T12:00:00Z}\n",
    "a quiet homeserver": (
        "homeserver: {presence: false, search_all_users: false, push_message_content: true, redaction_retention: 1d, message_lifetime: 2y}\n"
    ),
    "antivirus": "features: {antivirus: true}\n",
    "antivirus without internet": "features: {antivirus: true}\n"
    "antivirus: {signatures: bundle, engines: replicas, refuse_encrypted: false, when_unavailable: fail_open}\n",
    "antivirus that quarantines": (
        "features: {antivirus: true}\nantivirus:\n  mode: quarantine\n  encrypted: true\n  icap: {other: 'icap://av.example.com:1344/scan'}\n"
        "  icap_cidrs: [192.0.2.9/32]\n  allowed_files: [e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855]\n"
    ),
    "alerts to an organisation": (
        "features: {monitoring: true}\nmonitoring:\n  alerts:\n"
        "    mail: {to: [ops@example.com], sender: matrix@example.com, server: smtp.example.com, user: alerts, ca_secret: organisation}\n"
        "    webhook: {server: hooks.example.com, ca_secret: organisation}\n"
        "    watchdog: {server: watchdog.example.net, ca_secret: service}\n"
    ),
    "workers by their work": "features: {monitoring: true}\nmonitoring: {keda: {namespace: scaling}}\n",
    "restored": LI + "backups: {generation: 3, restore: {generation: 1, time: '2026-01-31T12:00:00Z'}}\n",
    "backups in another S3": (
        "backups:\n  object_storage: {backend: external, external: {endpoint: https://backups.example.com, region: eu-1, ca_secret: backups-ca}}\n"
        + LI
    ),
    "backups in a second MinIO": "backups: {object_storage: {backend: minio}}\n" + LI,
    "media elsewhere, backups in a MinIO": (
        "object_storage:\n  backend: external\n  external:\n    endpoint: http://s3.storage.svc:80\n"
        "    pods: {namespace: storage, labels: {app: s3}, port: 9000}\nbackups: {object_storage: {backend: minio}}\n"
    ),
    "MinIO without its operator": (
        "object_storage: {backend: silo, minio: {one_server_per_node: true}}\nbackups: {object_storage: {backend: silo}}\n"
        "storage_sizes: {pools: {main: [{servers: 4, drive: 60Gi}, {servers: 8, drives: 1, drive: 50Gi}]}}\n" + LI
    ),
    "media in one MinIO, backups in another kind": "object_storage: {backend: silo}\nbackups: {object_storage: {backend: minio}}\n",
    "administration": (
        "ingress: {admin_source_ranges: [192.0.2.0/24], trusted_proxies: [198.51.100.0/28]}\n"
        "login: {ldap: {servers: ['ldaps://ldap.example.com'], cidrs: [192.0.2.7/32], base: 'dc=example,dc=com'}}\n"
        "application_services: {far: {url: 'https://far.example.com', bot: far.bot, users: ['far_.*']}}\n"
    ),
}
RULES = [
    availability.probe_problems,
    availability.quorum_problems,
    budget.backup_problems,
    consistency.duplicates,
    consistency.selector_problems,
    consistency.service_problems,
    postgresql.archive_problems,
    promises.promise_problems,
    quotas.limit_range_problems,
    quotas.quota_problems,
    references.host_problems,
    references.ingress_problems,
    references.mount_problems,
    schemas.built_in_problems,
    security.hardening_problems,
    security.pod_security_problems,
    security.publication_problems,
    security.token_problems,
]
"""What holds for every site. The other rules read what does not depend on these choices."""


@cache
def installation(choice: str) -> Installation:
    """The platform with one of the choices, in the smallest size."""
    return assemble(App(), parse_site(BASE + SITES[choice]), profiles()[0])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[ObjectId, Any]]:
    """Site to the objects that Kustomize builds for it."""
    objects: dict[str, dict[ObjectId, Any]] = {}
    for name in SITES:
        folder: Path = tmp_path_factory.mktemp("site")
        write(folder, base_files(installation(name).rendering()))
        objects[name] = dict(by_id(build(folder)))
    return objects


def unseen(sites: Sequence[Site]) -> list[str]:
    """Each value of an option with a few that none of the sites has."""
    found = []
    for key, choice in options_below(Section(Site)):
        if isinstance(choice.kind, Flag | Choice) and not choice.reserved:
            seen = {reduce(lambda value, part: getattr(value, part, None), key.split("."), site) for site in sites}  # type: ignore[arg-type, return-value]
            values: set[Any] = {True, False} if isinstance(choice.kind, Flag) else set(choice.kind.of)
            found += [f"{key}: {value}" for value in sorted(values - seen)]
    return found


def test_every_choice_is_made_by_one_of_the_sites(site: Site, full_site: Site, other_site: Site) -> None:
    sites = [site, full_site, other_site, *(parse_site(BASE + choice) for choice in SITES.values())]
    assert unseen(sites) == []
    assert "network_policies: False" in unseen(sites[:3])


@pytest.mark.parametrize("site_name", SITES)
def test_every_site_builds(built: dict[str, dict[ObjectId, Any]], site_name: str) -> None:
    kinds = _kinds(built[site_name])
    assert {"Namespace", "StatefulSet"} <= kinds
    assert ("Cluster" in kinds) == ("postgresql: {backend: external" not in SITES[site_name])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_site_keeps_the_rules(rule: Rule, built: dict[str, dict[ObjectId, Any]]) -> None:
    assert_kept(rule, {site: list(objects.values()) for site, objects in built.items()})


@pytest.mark.parametrize("site_name", SITES)
def test_every_pod_of_every_site_is_scraped_and_none_twice(site_name: str, built: dict[str, dict[ObjectId, Any]]) -> None:
    watched = parse_site(BASE + SITES[site_name]).features.monitoring
    assert scrape_problems(list(built[site_name].values()), installation(site_name).declared.scrapes, watched=watched) == []


def test_the_custom_resources_of_every_site_follow_their_definitions(built: dict[str, dict[ObjectId, Any]]) -> None:
    assert_kept(schemas.Definitions.at_hand().problems, {site: list(objects.values()) for site, objects in built.items()})


def test_servers_of_a_tenant_are_apart_as_the_site_wants_it(built: dict[str, dict[ObjectId, Any]]) -> None:
    def affinity(site: str) -> list[str]:
        pool = built[site][ObjectId("Tenant", "matrix", "minio-main")]["spec"]["pools"][0]
        return list(pool["affinity"]["podAntiAffinity"])

    assert affinity("minimal") == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert affinity("a node for each server") == ["requiredDuringSchedulingIgnoredDuringExecution"]


def test_network_policies_are_there_whole_or_not_at_all(built: dict[str, dict[ObjectId, Any]]) -> None:
    assert [site for site in SITES if "NetworkPolicy" not in _kinds(built[site])] == ["no network policies"]
    for site, objects in built.items():
        closed = {key.namespace for key, o in objects.items() if key.kind == "NetworkPolicy" and not o["spec"]["podSelector"]}
        assert closed == (set() if site == "no network policies" else {key.name for key in objects if key.kind == "Namespace"})


def test_the_administration_is_published_to_named_addresses_only(built: dict[str, dict[ObjectId, Any]]) -> None:
    def paths(site: str) -> dict[str, int]:
        hosts = [rule for key, o in built[site].items() if key.kind == "Ingress" for rule in o["spec"]["rules"]]
        found = [path for rule in hosts if rule["host"] == "admin.example.com" for path in rule["http"]["paths"]]
        return {path["path"]: path["backend"]["service"]["port"]["number"] for path in found}

    assert paths("administration") == {"/": 8080, "/_synapse/admin": 8009, "/_matrix/client": 8008, "/_matrix/media": 8008}
    assert paths("administration of the service") == paths("administration") | {"/api/admin": 8082}
    assert paths("minimal") == {}
    for name in ("admin-sources", "admin-client-sources", "admin-page-sources"):
        sources = built["administration"][ObjectId("Middleware", "matrix", name)]["spec"]["ipAllowList"]
        # The client is the last address that is not a load balancer's.
        assert sources == {"sourceRange": ["192.0.2.0/24"], "ipStrategy": {"excludedIPs": ["198.51.100.0/28"]}}
    certificate = built["administration"][ObjectId("Certificate", "matrix", "admin-tls")]["spec"]
    assert certificate["dnsNames"] == ["admin.example.com"]


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("type: gateway, gateway: {name: public, namespace: gateways}", "the Gateway API has no field for that"),
        ("class_name: haproxy", "to the ingress class traefik alone"),
    ],
    ids=["gateway", "another class"],
)
def test_who_cannot_be_told_the_addresses_does_not_publish_the_administration(choice: str, reason: str) -> None:
    site = parse_site(BASE + f"ingress: {{admin_source_ranges: [192.0.2.0/24], {choice}}}\n")
    with pytest.raises(OptionError, match=reason):
        render(site, profiles()[0])


def test_without_lawful_interception_nothing_of_it_is_deployed(built: dict[str, dict[ObjectId, Any]]) -> None:
    assert not [key for key in built["minimal"] if "matrix-li" in (key.namespace, key.name)]
    assert ObjectId("Tenant", "matrix-li", "minio-li") in built["lawful interception"]


def test_with_external_storage_no_minio_is_deployed(built: dict[str, dict[ObjectId, Any]]) -> None:
    objects = built["external storage"]
    assert "Tenant" not in _kinds(objects)
    store = objects[ObjectId("ObjectStore", "matrix", "postgresql-main")]["spec"]["configuration"]
    assert store["endpointURL"] == "https://s3.example.com"
    assert store["endpointCA"] == {"name": "s3-ca", "key": "ca.crt"}


def test_a_gateway_takes_the_place_of_every_ingress(built: dict[str, dict[ObjectId, Any]]) -> None:
    objects = built["gateway"]
    assert "Ingress" not in _kinds(objects)
    parents = [o["spec"]["parentRefs"] for key, o in objects.items() if key.kind == "HTTPRoute"]
    assert {key.name for key in objects if key.kind == "HTTPRoute"} >= {"matrix", "well-known"}
    assert {(parent["namespace"], parent["name"]) for (parent,) in parents} == {("gateways", "public")}
    assert ObjectId("Certificate", "gateways", "matrix-tls") in objects


def test_each_source_of_certificates_makes_what_it_needs(built: dict[str, dict[ObjectId, Any]]) -> None:
    def issuers(site: str) -> list[dict[str, Any]]:
        return [o["spec"] for key, o in built[site].items() if key.kind in {"Issuer", "ClusterIssuer"}]

    assert [list(spec) for spec in issuers("minimal")] == [["acme"]]
    assert sorted(key for spec in issuers("internal authority") for key in spec) == ["ca", "selfSigned"]
    assert issuers("cluster issuer") == issuers("own certificates") == []
    assert "Certificate" not in _kinds(built["own certificates"])
    certificate = built["cluster issuer"][ObjectId("Certificate", "matrix", "matrix-tls")]["spec"]
    assert certificate["issuerRef"] == {"kind": "ClusterIssuer", "name": "corporate"}
    root = built["internal authority"][ObjectId("Certificate", "cert-manager", "matrix-platform-matrix-root")]["spec"]
    assert root["duration"] == "43800h"
    certificate = built["internal authority"][ObjectId("Certificate", "matrix", "matrix-tls")]["spec"]
    assert certificate["issuerRef"] == {"kind": "ClusterIssuer", "name": "matrix-platform-matrix"}


def test_each_provider_of_secrets_makes_what_it_needs(built: dict[str, dict[ObjectId, Any]]) -> None:
    def jobs(site: str) -> list[str]:
        return [key.name for key in built[site] if key.kind == "Job" and key.name.startswith("secret-generator")]

    assert len(jobs("minimal")) == 1
    assert jobs("external secrets") == jobs("manual secrets") == []
    fetched = {key.name for key in built["external secrets"] if key.kind == "ExternalSecret"}
    assert {"synapse", "redis", "minio-main-root"} <= fetched


def test_the_server_name_is_answered_for_unless_another_web_server_does(built: dict[str, dict[ObjectId, Any]]) -> None:
    def published(site: str) -> dict[str, Any]:
        (files,) = (o["data"] for key, o in built[site].items() if key.kind == "ConfigMap" and "routes.map" in o["data"])
        return {name: json.loads(text) for name, text in files.items() if name.startswith("well-known-")}

    assert published("minimal") == {"well-known-client.json": {"m.homeserver": {"base_url": "https://matrix.example.com"}}}
    assert published("federation")["well-known-server.json"] == {"m.server": "matrix.example.com:443"}
    contact = {"role": "m.role.security", "matrix_id": "@security:example.com"}
    assert published("contacts")["well-known-support.json"] == {"contacts": [contact], "support_page": "https://example.com/help"}
    assert published("antivirus that quarantines")["well-known-element.json"] == {"content_scanner_url": "https://matrix.example.com"}
    assert published("another web server at the server name") == {}
    assert ObjectId("Ingress", "matrix", "well-known") not in built["another web server at the server name"]


def test_a_restored_database_is_made_of_one_archive_and_fills_another(built: dict[str, dict[ObjectId, Any]]) -> None:
    objects = built["restored"]
    cluster = objects[ObjectId("Cluster", "matrix", "postgresql-main")]["spec"]
    assert cluster["bootstrap"] == {
        "recovery": {
            "source": "archive",
            "database": "synapse",
            "owner": "synapse",
            "recoveryTarget": {"targetTime": "2026-01-31T12:00:00+00:00"},
        }
    }
    (archive,) = cluster["externalClusters"]
    assert (archive["name"], archive["plugin"]["parameters"]["serverName"]) == ("archive", "postgresql-main-1")
    assert cluster["plugins"][0]["parameters"]["serverName"] == "postgresql-main-3"


def test_a_restored_database_that_would_archive_over_another_is_noticed(built: dict[str, dict[ObjectId, Any]]) -> None:
    objects = list(built["restored"].values())
    cluster = "Cluster/postgresql-main"
    assert_noticed(
        postgresql.archive_problems, objects, setting(cluster, "spec.plugins[0].parameters.serverName", "postgresql-main-1"), "refuses"
    )
    assert_noticed(postgresql.archive_problems, objects, without(cluster, "spec.externalClusters[0]"), "made of nothing")
    assert_noticed(promises.promise_problems, objects, without(cluster, "spec.bootstrap.recovery.owner"), "another role")


def test_a_homeserver_may_have_the_server_name_for_its_host(built: dict[str, dict[ObjectId, Any]]) -> None:
    objects = built["one host"]
    paths = {
        path["path"]: rule["host"]
        for name in ("matrix", "well-known")
        for rule in objects[ObjectId("Ingress", "matrix", name)]["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    assert paths == dict.fromkeys(("/_matrix", "/_synapse/client", "/.well-known/matrix"), "example.com")
    certificates = [o["spec"]["dnsNames"] for key, o in objects.items() if key.kind == "Certificate"]
    assert certificates.count(["example.com"]) == 1


def _kinds(objects: dict[ObjectId, Any]) -> set[str]:
    return {key.kind for key in objects}
