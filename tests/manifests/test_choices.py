"""What a site chooses shows in the object that it is about: each choice, and where docs/site-reference.md says it has its effect."""

from functools import cache
from typing import Any

import pytest

from app.compiler import render
from app.settings import parse_site
from overlays import profiles
from tests.kustomize import expected
from tests.manifests.rules.mutation import named
from tests.manifests.rules.objects import Object, of_kind
from tests.manifests.rules.paths import ABSENT, find
from tests.manifests.test_sites import LI

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
POSTGRESQL, ARCHIVE, TENANT = "Cluster/postgresql-main", "ObjectStore/postgresql-main", "Tenant/minio-main"
POSTGRESQL_LI, METRICS = "Cluster/postgresql-li", "PersistentVolumeClaim/prometheus-data"
ISSUER, INGRESS = "Issuer/matrix-platform", "Ingress/matrix/matrix"
CLAIM = "spec.pools[].volumeClaimTemplate.spec"
EXTERNAL = "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com', region: eu-1, ca_secret: s3-ca}}"
SILO, POOL, CLAIMS = "object_storage: {backend: silo}", "StatefulSet/minio-main-pool-0", "spec.volumeClaimTemplates[].spec"
BACKUPS = "backups: {object_storage: {backend: "

CHOICES: list[tuple[str, str, str, Any]] = [
    ("backups: {schedule: '0 30 4 * * 1'}", "ScheduledBackup/postgresql-main", "spec.schedule", "0 30 4 * * 1"),
    ("backups: {retention: 3w}", ARCHIVE, "spec.retentionPolicy", "3w"),
    ("storage_sizes: {database: 22Gi}", POSTGRESQL, "spec.storage.size", "22Gi"),
    ("storage_sizes: {write_ahead_log: 12Gi}", POSTGRESQL, "spec.walStorage.size", "12Gi"),
    ("storage_sizes: {object_storage_drive: 90Gi}", TENANT, f"{CLAIM}.resources.requests.storage", "90Gi"),
    (f"{LI}storage_sizes: {{database_li: 33Gi}}", POSTGRESQL_LI, "spec.storage.size", "33Gi"),
    (f"{LI}storage_sizes: {{write_ahead_log_li: 11Gi}}", POSTGRESQL_LI, "spec.walStorage.size", "11Gi"),
    (f"{LI}storage_sizes: {{pools: {{li: [{{servers: 5, drive: 44Gi}}]}}}}", "Tenant/minio-li", "spec.pools[0].servers", 5),
    (
        f"{BACKUPS}minio}}}}\nstorage_sizes: {{pools: {{backups: [{{servers: 6, drive: 44Gi}}]}}}}",
        "Tenant/minio-backups",
        "spec.pools[0].servers",
        6,
    ),
    ("storage_sizes: {pools: {main: [{servers: 4, drives: 4, drive: 44Gi}]}}", TENANT, "spec.pools[0].volumesPerServer", 4),
    ("features: {monitoring: true}\nstorage_sizes: {metrics: 33Gi}", METRICS, "spec.resources.requests.storage", "33Gi"),
    ("shrinking_from: 20000-ccu", "ResourceQuota/matrix/platform", "spec.hard.pods", "171"),
    ("storage_classes: {default: standard}", POSTGRESQL, "spec.storage.storageClass", "standard"),
    ("storage_classes: {default: standard}", TENANT, f"{CLAIM}.storageClassName", "standard"),
    ("storage_classes: {default: standard}", "StatefulSet/redis", "spec.volumeClaimTemplates[].spec.storageClassName", "standard"),
    ("storage_classes: {default: standard, database: local}", POSTGRESQL, "spec.storage.storageClass", "local"),
    ("storage_classes: {default: standard, database: local}", POSTGRESQL, "spec.walStorage.storageClass", "local"),
    ("storage_classes: {default: standard, object_storage: local}", TENANT, f"{CLAIM}.storageClassName", "local"),
    ("object_storage: {minio: {image: 'registry.example.com/minio:1'}}", TENANT, "spec.image", "registry.example.com/minio:1"),
    (SILO, POOL, "spec.replicas", 4),
    (f"{SILO}\nstorage_sizes: {{object_storage_drive: 90Gi}}", POOL, f"{CLAIMS}.resources.requests.storage", "90Gi"),
    (f"{SILO}\nstorage_sizes: {{pools: {{main: [{{servers: 6, drive: 44Gi}}]}}}}", POOL, "spec.replicas", 6),
    (f"{SILO}\nstorage_classes: {{default: standard, object_storage: local}}", POOL, f"{CLAIMS}.storageClassName", "local"),
    (
        SILO.replace("silo", "silo, minio: {image: 'registry.example.com/minio:1'}"),
        POOL,
        "pod.containers[].image",
        "registry.example.com/minio:1",
    ),
    (f"{BACKUPS}silo}}}}", "StatefulSet/minio-backups-pool-0", "metadata.namespace", "matrix-backups"),
    (f"{LI}{SILO}", "StatefulSet/minio-li-pool-0", "metadata.namespace", "matrix-li"),
    (EXTERNAL, ARCHIVE, "spec.configuration.endpointURL", "https://s3.example.com"),
    (
        f"{BACKUPS}external, external: {{endpoint: 'https://b.example.com'}}}}}}",
        ARCHIVE,
        "spec.configuration.endpointURL",
        "https://b.example.com",
    ),
    (f"{BACKUPS}minio}}}}", ARCHIVE, "spec.configuration.endpointURL", "http://minio.matrix-backups.svc.cluster.local"),
    (f"{BACKUPS}minio}}}}\nnamespaces: {{backups: kept}}", "Tenant/minio-backups", "metadata.namespace", "kept"),
    (EXTERNAL, ARCHIVE, "spec.configuration.endpointCA", {"name": "s3-ca", "key": "ca.crt"}),
    ("tls: {acme: {server: 'https://ca.example.com/directory'}}", ISSUER, "spec.acme.server", "https://ca.example.com/directory"),
    ("tls: {acme: {email: ops@example.com}}", ISSUER, "spec.acme.email", "ops@example.com"),
    ("tls: {secret_names: {matrix: mine}}", INGRESS, "spec.tls[].secretName", "mine"),
    ("tls: {secret_names: {matrix: mine}}", "Certificate/mine", "spec.dnsNames[]", "matrix.example.com"),
    ("tls: {source: internal-ca, cert_manager_namespace: pki}", "Certificate/matrix-platform-matrix-root", "metadata.namespace", "pki"),
    ("hosts: {matrix: chat.example.com}", INGRESS, "spec.rules[].host", "chat.example.com"),
    ("ingress: {class_name: haproxy}", INGRESS, "spec.ingressClassName", "haproxy"),
    ("ingress: {class_name: haproxy}", ISSUER, "spec.acme.solvers[].http01.ingress.ingressClassName", "haproxy"),
    ("ingress: {annotations: {example.com/a: b}}", INGRESS, 'metadata.annotations."example.com/a"', "b"),
    ("images: {registry: registry.example.com/matrix, pull_secrets: [keys]}", POSTGRESQL, "spec.imagePullSecrets[].name", "keys"),
    ("images: {registry: registry.example.com/matrix, pull_secrets: [keys]}", TENANT, "spec.imagePullSecret.name", "keys"),
    ("images: {registry: registry.example.com/matrix, pull_secrets: [keys]}", "StatefulSet/redis", "pod.imagePullSecrets[].name", "keys"),
    ("cluster: {multi_zone: true}", POSTGRESQL, "spec.topologySpreadConstraints[].topologyKey", "topology.kubernetes.io/zone"),
    ("namespaces: {main: chat}", POSTGRESQL, "metadata.namespace", "chat"),
]


@cache
def rendered(choice: str) -> list[Object]:
    """The objects of a site with one choice, in the smallest size."""
    base = BASE if not choice.startswith("images") else BASE.splitlines()[0] + "\n"
    return [dict(o) for o in expected(render(parse_site(f"{base}{choice}\n"), profiles()[0])).values()]


@pytest.fixture(scope="module")
def by_default() -> list[Object]:
    """The objects of a site without choices."""
    return rendered("")


@pytest.mark.parametrize(("choice", "target", "path", "value"), CHOICES, ids=[f"{choice[:40]}-{path}" for choice, _, path, _ in CHOICES])
def test_a_choice_shows_where_it_has_its_effect(choice: str, target: str, path: str, value: Any, by_default: list[Object]) -> None:
    found = find(named(rendered(choice), target), path)
    assert found == [value] * len(found) != []
    kind, *_, name = target.split("/")
    before = [find(o, path) for o in of_kind(by_default, kind) if o["metadata"]["name"] == name]
    assert all(values in ([], [ABSENT]) or value not in values for values in before), "it shows without the choice, too"


def test_a_mirror_takes_the_place_of_every_registry_but_that_of_what_is_built_here() -> None:
    choice = "images: {registry: registry.example.com/matrix, mirror: mirror.example.com/all}"
    redis, synapse, postgresql = (named(rendered(choice), name) for name in ("StatefulSet/redis", "StatefulSet/synapse", POSTGRESQL))
    assert find(redis, "pod.containers[].image")[0].startswith("mirror.example.com/all/valkey/")
    assert find(postgresql, "spec.imageName")[0].startswith("mirror.example.com/all/cloudnative-pg/")
    assert find(synapse, "pod.containers[].image")[0].startswith("registry.example.com/matrix/synapse:")
