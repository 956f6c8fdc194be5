"""What one object says of another is so: selectors, ports, mounts, files, Secrets, hosts, and what must never change."""

from functools import partial
from pathlib import Path

import pytest
from attrs import evolve

from app.compiler import compile_site
from app.site import Site
from overlays import profiles
from tests.kustomize import build, write
from tests.manifests.rules import consistency, references
from tests.manifests.rules.mutation import Break, assert_noticed, deleting, repeating, replacing, setting, without
from tests.manifests.rules.objects import POD_NAME, Declared, Objects, Rule, assert_kept


@pytest.mark.parametrize(
    "rule",
    [
        consistency.service_problems,
        consistency.selector_problems,
        consistency.probe_problems,
        consistency.governing_service_problems,
        consistency.autoscaler_problems,
        consistency.budget_problems,
        consistency.name_problems,
        consistency.duplicates,
        consistency.leftover_problems,
        references.config_map_problems,
        references.unused_config_maps,
        references.mount_problems,
        references.password_file_problems,
        references.path_problems,
        references.host_problems,
        references.ingress_problems,
        references.account_problems,
    ],
    ids=lambda rule: rule.__name__,
)
def test_every_reference_holds(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


def test_every_secret_that_is_named_is_made(trees: dict[str, Objects], declared: dict[str, Declared]) -> None:
    for name, objects in trees.items():
        assert references.secret_problems(objects, declared[name]) == [], name


def test_the_provider_of_the_site_makes_every_secret(trees: dict[str, Objects], declared: dict[str, Declared]) -> None:
    for name, objects in trees.items():
        assert references.provider_problems(objects, declared[name]) == [], name


def test_no_change_of_size_needs_what_kubernetes_refuses(built: dict[str, Objects]) -> None:
    sizes = list(built)
    for before in sizes:
        for after in sizes:
            assert consistency.forbidden_changes(built[before], built[after]) == [], f"from {before} to {after}"


def test_no_change_of_the_site_needs_what_kubernetes_refuses(
    built: dict[str, Objects], everything: Objects, site: Site, tmp_path: Path
) -> None:
    """Another registry and other buckets: Jobs that see either must be new Jobs."""
    buckets = evolve(site.object_storage.buckets, media="other-media", backups="other-backups")
    other = evolve(
        site,
        images=evolve(site.images, registry="other.example.com", mirror="mirror.example.com"),
        object_storage=evolve(site.object_storage, buckets=buckets),
    )
    write(tmp_path, compile_site(other, profiles()[:1]))
    before = built[profiles()[0].name]
    assert consistency.forbidden_changes(before, build(tmp_path / "base")) == []
    assert consistency.forbidden_changes(before, everything) == []


MUTATIONS: list[tuple[Rule, Break, str]] = [
    (consistency.service_problems, setting("Service/redis-primary", "spec.selector", {"app": "redis"}), "nothing"),
    (
        consistency.service_problems,
        setting("Service/synapse", "spec.selector", {"app.kubernetes.io/part-of": "matrix-platform"}),
        "haproxy",
    ),
    (consistency.service_problems, setting("Service/redis-1", f'spec.selector."{POD_NAME}"', "redis-9"), "redis-1"),
    (consistency.service_problems, setting("Service/haproxy", "spec.ports[0].targetPort", "web"), "not open"),
    (
        consistency.selector_problems,
        setting("StatefulSet/pusher", "spec.selector.matchLabels", {"app.kubernetes.io/name": "synapse"}),
        "selects the pods of StatefulSet matrix/account-data",
    ),
    (
        consistency.selector_problems,
        without("StatefulSet/pusher", 'spec.template.metadata.labels."app.kubernetes.io/component"'),
        "does not select its own pods",
    ),
    (
        consistency.probe_problems,
        setting("StatefulSet/pusher", "container.livenessProbe.httpGet.port", "web"),
        "StatefulSet matrix/pusher",
    ),
    (consistency.governing_service_problems, without("Service/synapse", "spec.clusterIP"), "matrix/pusher"),
    (consistency.autoscaler_problems, deleting("StatefulSet/synchrotron"), "scales nothing"),
    (consistency.autoscaler_problems, setting("StatefulSet/synchrotron", "spec.replicas", 2), "sets replicas"),
    (consistency.budget_problems, deleting("PodDisruptionBudget/redis"), "StatefulSet matrix/redis has no"),
    (consistency.budget_problems, deleting("PodDisruptionBudget/minio-main"), "Tenant matrix/minio-main has no"),
    (consistency.budget_problems, setting("PodDisruptionBudget/haproxy", "spec.maxUnavailable", 0), "one pod go"),
    (
        consistency.budget_problems,
        setting("PodDisruptionBudget/haproxy", "spec.selector.matchLabels", {"app.kubernetes.io/name": "redis"}),
        "covers",
    ),
    (consistency.budget_problems, setting("Deployment/haproxy", "spec.replicas", 1), "single pod"),
    (consistency.name_problems, setting("StatefulSet/pusher", "metadata.name", "p" * 53), "longer than 52"),
    (consistency.duplicates, repeating("Service/haproxy"), "Service matrix/haproxy"),
    (consistency.leftover_problems, setting("StatefulSet/pusher", "container.args", ["pip install x; run"]), "pip install"),
    (
        consistency.leftover_problems,
        replacing("redis-sentinel", "server.conf", "timeout 0", "timeout CHANGEME"),
        "CHANGEME",
    ),
    (
        consistency.leftover_problems,
        setting("Ingress/matrix", 'metadata.annotations."nginx.ingress.kubernetes.io/server-snippet"', "x"),
        "snippet",
    ),
    (
        consistency.leftover_problems,
        setting("StatefulSet/pusher", "container.volumeMounts[0].mountPath", "/usr/local/lib/python3.13/site-packages"),
        "hides",
    ),
    (references.config_map_problems, deleting("ConfigMap/synapse-pusher"), "no ConfigMap synapse-pusher"),
    (references.unused_config_maps, deleting("StatefulSet/pusher"), "synapse-pusher"),
    (references.mount_problems, without("StatefulSet/pusher", "container.volumeMounts[0]"), "is not mounted"),
    (references.mount_problems, without("StatefulSet/pusher", "pod.volumes[0]"), "does not exist"),
    (
        references.mount_problems,
        setting("StatefulSet/pusher", "container.volumeMounts[2].mountPath", "/etc/synapse/homeserver/shards"),
        "inside",
    ),
    (
        references.password_file_problems,
        replacing("synapse-pusher", "kind.yaml", "host: postgresql-main-rw", "host: postgresql-main-rw.matrix"),
        "postgresql-main-rw.matrix",
    ),
    (
        references.path_problems,
        replacing("synapse-homeserver", "homeserver.yaml", "/secrets/redis/password", "/secrets/redis/word"),
        "names /secrets/redis/word",
    ),
    (references.path_problems, setting("StatefulSet/redis", "container.command", ["/etc/redis/begin.sh"]), "begin.sh"),
    (references.path_problems, without("ConfigMap/redis-sentinel", 'data."check.sh"'), "/etc/redis/check.sh"),
    (
        references.host_problems,
        replacing("synapse-shards", "shards.yaml", "receipts-0.synapse", "receipts-7.synapse"),
        "no receipts-7.synapse",
    ),
    (references.host_problems, replacing("synapse-shards", "shards.yaml", "port: 9093", "port: 9094"), "on 9094"),
    (references.host_problems, replacing("haproxy", "haproxy.cfg", "check port 8080", "check port 8081"), "on 8081"),
    (references.host_problems, replacing("synapse-homeserver", "homeserver.yaml", "redis-primary", "redis"), "no redis."),
    (
        references.host_problems,
        setting("ObjectStore/postgresql-main", "spec.configuration.endpointURL", "https://minio.matrix.svc.cluster.local"),
        "on 443",
    ),
    (references.host_problems, deleting("Service/redis-2"), "no redis-2"),
    (references.ingress_problems, deleting("Service/haproxy"), "does not listen"),
    (references.account_problems, deleting("ServiceAccount/synapse"), "no ServiceAccount synapse"),
    (references.account_problems, deleting("PriorityClass/matrix-data"), "no PriorityClass matrix-data"),
]


@pytest.mark.parametrize(
    ("rule", "change", "mention"), MUTATIONS, ids=[f"{rule.__name__}-{mention[:20]}" for rule, _, mention in MUTATIONS]
)
def test_a_broken_reference_is_noticed(rule: Rule, change: Break, mention: str, built: dict[str, Objects]) -> None:
    assert_noticed(rule, built["100-ccu"], change, mention)


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (setting("StatefulSet/pusher", "pod.volumes[3].secret.secretName", "absent"), "nobody makes the Secret"),
        (setting("StatefulSet/pusher", "pod.volumes[3].secret.items[0].key", "absent"), "has no absent"),
        (setting("Tenant/minio-main", "spec.configuration.name", "absent"), "nobody makes the Secret"),
        (deleting("Certificate/matrix"), "nobody makes the Secret matrix/matrix-tls"),
    ],
)
def test_a_secret_that_nobody_makes_is_noticed(
    change: Break, mention: str, built: dict[str, Objects], declared: dict[str, Declared]
) -> None:
    assert_noticed(partial(references.secret_problems, declared=declared["100-ccu"]), built["100-ccu"], change, mention)


def test_a_secret_that_no_provider_makes_is_noticed(
    built: dict[str, Objects], trees: dict[str, Objects], declared: dict[str, Declared]
) -> None:
    external = partial(references.provider_problems, declared=declared["other site"])
    assert_noticed(external, trees["other site"], deleting("ExternalSecret/redis"), "chat/redis")
    rule = partial(references.provider_problems, declared=declared["100-ccu"])
    assert_noticed(rule, built["100-ccu"], deleting("RoleBinding/make-secrets-of-redis"), "matrix/redis")


@pytest.mark.parametrize(
    ("kind", "name", "key", "value"),
    [
        ("StatefulSet", "redis", "volumeClaimTemplates", []),
        ("StatefulSet", "redis", "serviceName", "other"),
        ("Job", "secret-generator", "template", {}),
        ("Service", "synapse", "clusterIP", ""),
    ],
)
def test_a_change_that_kubernetes_refuses_is_noticed(kind: str, name: str, key: str, value: object, built: dict[str, Objects]) -> None:
    before = built["100-ccu"]
    rule = partial(consistency.forbidden_changes, before)
    assert_noticed(rule, before, setting(f"{kind}/{name}", f"spec.{key}", value), f"{kind} matrix/{name}")
