"""What the platform promises beyond what fits and agrees: of data, of how programs start and end, of who may do what, of the ways in and out."""

import tomllib
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from tests.kustomize import ROOT
from tests.manifests.rules import (
    consistency,
    content_scanner,
    fetched_secrets,
    images,
    lifecycle,
    pods,
    postgresql,
    promises,
    publication,
    rights,
    tenants,
    ways_out,
)
from tests.manifests.rules.mutation import Break, adding, assert_noticed, both, deleting, replacing, setting, updating, without
from tests.manifests.rules.objects import Declared, Objects, Rule, assert_kept, of_kind, workloads

LOCK: Mapping[str, Any] = tomllib.loads((ROOT / "images.toml").read_text())

RULES: list[Rule] = [
    consistency.resolution_problems,
    content_scanner.content_scanner_problems,
    lifecycle.autoscaling_problems,
    lifecycle.lifecycle_problems,
    lifecycle.proxy_stop_problems,
    pods.drain_problems,
    pods.job_problems,
    pods.label_problems,
    pods.name_service_problems,
    pods.namespace_level_problems,
    pods.placement_problems,
    pods.priority_problems,
    pods.pull_problems,
    pods.update_problems,
    pods.user_problems,
    pods.volume_problems,
    postgresql.archive_problems,
    postgresql.client_service_problems,
    postgresql.connection_security_problems,
    postgresql.database_problems,
    postgresql.durability_problems,
    postgresql.failover_problems,
    postgresql.spread_problems,
    postgresql.tuning_problems,
    promises.promise_problems,
    publication.certificate_problems,
    publication.gateway_problems,
    publication.hsts_problems,
    publication.issuer_problems,
    rights.access_problems,
    rights.backup_right_problems,
    rights.generator_right_problems,
    rights.reader_right_problems,
    tenants.tenant_problems,
    ways_out.way_out_problems,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_promise_is_kept(rule: Rule, trees: dict[str, Objects]) -> None:
    assert_kept(rule, trees)


def test_what_is_fetched_is_what_is_declared(trees: dict[str, Objects], declared: dict[str, Declared]) -> None:
    for name, objects in trees.items():
        assert fetched_secrets.fetched_secret_problems(objects, declared[name]) == [], name


def test_every_pod_runs_as_the_user_of_its_image(everything: Objects) -> None:
    rule = partial(images.user_problems, lock=LOCK, registry="registry.example.com/matrix")
    assert_noticed(rule, everything, setting("StatefulSet/redis", "pod.securityContext.runAsUser", 1234), "redis runs as 1234")


def test_every_life_is_one_of_a_container(everything: Objects) -> None:
    names = {f"{workload.name}/{container['name']}" for workload in workloads(everything) for container in workload.serving}
    assert lifecycle.LIVES.keys() <= names


def test_every_way_out_to_anywhere_is_one_of_a_policy(trees: dict[str, Objects]) -> None:
    names = {o["metadata"]["name"] for objects in trees.values() for o in of_kind(objects, "NetworkPolicy")}
    assert ways_out.ANYWHERE.keys() <= names


POSTGRESQL = "Cluster/postgresql-main"
HBA, SYNCHRONOUS = "spec.postgresql.pg_hba", "spec.postgresql.synchronous"
SPREAD = "pod.topologySpreadConstraints[0]"
POOL = "spec.pools[0]"
SCALER = "HorizontalPodAutoscaler/synchrotron"
VIEW, EDIT = "ClusterRole/matrix-platform-cloudnative-pg-view", "ClusterRole/matrix-platform-cloudnative-pg-edit"
GENERATED = "Role/make-secrets-of-redis"

DATA: list[tuple[Rule, Break, str]] = [
    # TLS alone
    (postgresql.connection_security_problems, without(POSTGRESQL, HBA), "in the clear with CloudNativePG's own rule"),
    (
        postgresql.connection_security_problems,
        setting(POSTGRESQL, f"{HBA}[0]", "host all all all scram-sha-256"),
        "in the clear with scram",
    ),
    (postgresql.connection_security_problems, without(POSTGRESQL, f"{HBA}[1]"), "in the clear"),
    (postgresql.connection_security_problems, setting(POSTGRESQL, f"{HBA}[0]", "hostssl all all all trust"), "over TLS with trust"),
    (
        postgresql.connection_security_problems,
        setting(POSTGRESQL, f"{HBA}[0]", "hostssl all all 10.0.0.0/8 scram-sha-256"),
        "is not for all",
    ),
    # what Synapse needs
    (promises.promise_problems, setting(POSTGRESQL, "spec.bootstrap.initdb.localeCollate", "en_US.UTF-8"), "another collation"),
    (promises.promise_problems, without(POSTGRESQL, "spec.bootstrap.initdb.localeCType"), "another character type"),
    (promises.promise_problems, without(POSTGRESQL, "spec.bootstrap.initdb.encoding"), "another encoding"),
    # no lost commit
    (promises.promise_problems, without(POSTGRESQL, f"{SYNCHRONOUS}.failoverQuorum"), "could be promoted"),
    (promises.promise_problems, setting(POSTGRESQL, f"{SYNCHRONOUS}.method", "first"), "hold up every commit"),
    (postgresql.durability_problems, without(POSTGRESQL, f"{SYNCHRONOUS}.dataDurability"), "with 2 instances is preferred"),
    (postgresql.failover_problems, setting(POSTGRESQL, f"{SYNCHRONOUS}.number", 0), "when the primary alone is lost"),
    (
        postgresql.failover_problems,
        both(setting(POSTGRESQL, "spec.instances", 4), setting(POSTGRESQL, f"{SYNCHRONOUS}.number", 1)),
        "while one of 3 is away",
    ),
    (
        postgresql.failover_problems,
        both(setting(POSTGRESQL, "spec.instances", 3), setting(POSTGRESQL, f"{SYNCHRONOUS}.number", 2)),
        "nothing is written",
    ),
    (promises.promise_problems, without(POSTGRESQL, "spec.switchoverDelay"), "an hour to shut down"),
    # room for memory and write-ahead log
    (postgresql.tuning_problems, setting(POSTGRESQL, "spec.postgresql.parameters.shared_buffers", "64MB"), "shared_buffers is 64MB"),
    (postgresql.tuning_problems, setting(POSTGRESQL, "spec.postgresql.parameters.max_slot_wal_keep_size", "9GB"), "max_slot_wal_keep_size"),
    (postgresql.tuning_problems, setting(POSTGRESQL, "spec.postgresql.parameters.work_mem", "1MB"), "work_mem"),
    (postgresql.tuning_problems, setting(POSTGRESQL, "spec.postgresql.parameters.max_parallel_workers", "8"), "8 parallel workers"),
    (postgresql.tuning_problems, without(POSTGRESQL, "spec.postgresql.parameters.autovacuum_vacuum_scale_factor"), "bloat"),
    (postgresql.client_service_problems, without(POSTGRESQL, "spec.managed"), "other Services"),
    # backups
    (postgresql.archive_problems, setting(POSTGRESQL, "spec.plugins[0].name", "other"), "archives by other"),
    (postgresql.archive_problems, without("ScheduledBackup/postgresql-main", "spec.pluginConfiguration"), "does not back up by"),
    (postgresql.archive_problems, setting("ObjectStore/postgresql-main", "spec.retentionPolicy", "30 days"), "for 30 days"),
    (
        postgresql.archive_problems,
        setting("ObjectStore/postgresql-main", "spec.configuration.destinationPath", "s3://matrix-media/postgresql-main"),
        "may not write to matrix-media",
    ),
    (
        postgresql.archive_problems,
        setting("ObjectStore/postgresql-main", "spec.configuration.destinationPath", "s3://other/postgresql-main"),
        "makes no other",
    ),
    (postgresql.archive_problems, without(POSTGRESQL, "spec.plugins[0].parameters.serverName"), "not by a generation"),
    (postgresql.archive_problems, setting(POSTGRESQL, "spec.plugins[0].parameters.serverName", "postgresql-main-2"), "first base backup"),
    (
        postgresql.archive_problems,
        setting(POSTGRESQL, "spec.plugins[0].parameters.serverName", "postgresql-main-2"),
        "postgresql-li-1 and postgresql-main-2 are of different generations",
    ),
    (
        postgresql.archive_problems,
        replacing("postgresql-main-first-backup-request", "request.json", '"generation": 1', '"generation": 2'),
        "first base backup",
    ),
    # object storage
    (tenants.tenant_problems, setting("Tenant/minio-main", "spec.env[1].value", "on"), "is set up with"),
    (tenants.tenant_problems, setting("Tenant/minio-main", f"{POOL}.securityContext.fsGroup", 1), "no single user"),
    (tenants.tenant_problems, setting("Tenant/minio-main", f"{POOL}.name", "pool-1"), "new and empty drives"),
]

PODS: list[tuple[Rule, Break, str]] = [
    (
        lifecycle.lifecycle_problems,
        without("StatefulSet/pusher", "pod.terminationGracePeriodSeconds"),
        "pusher: synapse: its pod may take None",
    ),
    (lifecycle.lifecycle_problems, setting("StatefulSet/livekit", "pod.terminationGracePeriodSeconds", 60), "not 18000"),
    (lifecycle.lifecycle_problems, without("StatefulSet/synapse", "container.startupProbe"), "startupProbe is None"),
    (lifecycle.lifecycle_problems, setting("StatefulSet/redis", "container.startupProbe.failureThreshold", 3), "seconds=30"),
    (lifecycle.lifecycle_problems, setting("Deployment/haproxy", "container.livenessProbe.httpGet.path", "/ready"), "GET metrics/ready"),
    (lifecycle.lifecycle_problems, without("StatefulSet/pusher", "container.livenessProbe.timeoutSeconds"), "waits for 1 seconds"),
    (lifecycle.lifecycle_problems, without("Deployment/element-web", "container.lifecycle"), "before it stops: nothing"),
    (lifecycle.lifecycle_problems, setting("StatefulSet/pusher", "container.name", "new"), "nothing is promised"),
    (lifecycle.proxy_stop_problems, replacing("haproxy", "haproxy.cfg", "hard-stop-after 120s", "hard-stop-after 10m"), "HAProxy 610"),
    (lifecycle.autoscaling_problems, setting(SCALER, "spec.metrics[0].resource.target", {"type": "Utilization"}), "scales by"),
    (lifecycle.autoscaling_problems, without(SCALER, "spec.behavior"), "takes pods away"),
    (lifecycle.autoscaling_problems, without(SCALER, "spec.minReplicas"), "how few"),
    (pods.priority_problems, without("StatefulSet/pusher", "pod.priorityClassName"), "pusher has the priority None"),
    (pods.priority_problems, setting(POSTGRESQL, "spec.priorityClassName", "matrix-messaging"), "not matrix-data"),
    (pods.priority_problems, setting("PriorityClass/matrix-data", "value", 1), "data must be above"),
    (pods.priority_problems, setting("PriorityClass/matrix-data", "globalDefault", True), "pods of others"),
    (pods.user_problems, without("StatefulSet/redis", "pod.securityContext.fsGroup"), "cannot read"),
    (pods.user_problems, without("StatefulSet/redis", "pod.securityContext.fsGroupChangePolicy"), "all its files"),
    (pods.user_problems, setting("StatefulSet/redis", "container.securityContext.capabilities.add", ["NET_BIND_SERVICE"]), "capabilities"),
    (pods.name_service_problems, without("StatefulSet/pusher", "pod.dnsConfig"), "looks names up"),
    (pods.name_service_problems, setting("StatefulSet/pusher", "pod.enableServiceLinks", True), "by its environment"),
    (pods.placement_problems, setting("StatefulSet/pusher", f"{SPREAD}.whenUnsatisfiable", "DoNotSchedule"), "would rather not run"),
    (
        pods.placement_problems,
        without("StatefulSet/pusher", f'{SPREAD}.labelSelector.matchLabels."app.kubernetes.io/component"'),
        "other pods",
    ),
    (pods.placement_problems, without("StatefulSet/livekit", "pod.affinity"), "may have two pods on a node"),
    (pods.placement_problems, without("StatefulSet/livekit", "pod.nodeSelector"), "runs on nodes with None"),
    (pods.placement_problems, without("DaemonSet/coturn", "pod.tolerations"), "tolerates None"),
    (pods.placement_problems, without("DaemonSet/coturn", "pod.hostNetwork"), "not in the network of its node"),
    (pods.update_problems, setting("Deployment/haproxy", "spec.strategy.type", "Recreate"), "haproxy is updated by"),
    (pods.update_problems, setting("DaemonSet/coturn", "spec.updateStrategy.rollingUpdate.maxUnavailable", 2), "coturn is updated by"),
    (pods.update_problems, without("StatefulSet/redis", "spec.podManagementPolicy"), "redis is updated by"),
    (pods.drain_problems, without("PodDisruptionBudget/redis", "spec.unhealthyPodEvictionPolicy"), "a sick pod blocks"),
    (pods.drain_problems, setting("PodDisruptionBudget/redis", "spec.selector.matchLabels", {"a": "b"}), "chooses by"),
    (pods.volume_problems, setting("StatefulSet/pusher", "pod.volumes[3].secret.defaultMode", 0o444), "have the mode 292"),
    (pods.volume_problems, setting("StatefulSet/pusher", "pod.volumes[7].emptyDir", {"sizeLimit": "1Mi"}), "on a disk"),
    (pods.volume_problems, setting("StatefulSet/pusher", "pod.volumes[8].emptyDir", {}), "may fill the node"),
    (pods.volume_problems, without("StatefulSet/pusher", "container.volumeMounts[0].readOnly"), "is writable"),
    (
        pods.volume_problems,
        setting("StatefulSet/redis", "spec.volumeClaimTemplates[0].spec.accessModes", ["ReadWriteMany"]),
        "ReadWriteMany",
    ),
    (pods.pull_problems, setting("StatefulSet/pusher", "container.imagePullPolicy", "Always"), "pulls its image Always"),
    (pods.job_problems, setting("Job/secret-generator", "spec.ttlSecondsAfterFinished", 60), "not there to be looked at"),
    (pods.job_problems, without("Job/secret-generator", "spec.podFailurePolicy"), "only a person can help"),
    (pods.label_problems, without("Service/haproxy", 'metadata.labels."app.kubernetes.io/part-of"'), "not part of the platform"),
    (pods.label_problems, without("Service/haproxy", 'metadata.labels."app.kubernetes.io/name"'), "belongs to no component"),
    (
        pods.namespace_level_problems,
        setting("Namespace/matrix", 'metadata.labels."pod-security.kubernetes.io/enforce"', "privileged"),
        "Namespace matrix enforces",
    ),
    (consistency.resolution_problems, without("Service/redis-0", "spec.publishNotReadyAddresses"), "forgets pods"),
    (consistency.resolution_problems, setting("Service/haproxy", "spec.publishNotReadyAddresses", True), "leads to pods"),
    (consistency.resolution_problems, setting("Service/redis-0", "spec.clusterIP", "None"), "does not stay"),
    (consistency.resolution_problems, setting("Service/livekit", "spec.type", "NodePort"), "open outside"),
]

SCANNER, SCANNED = content_scanner.content_scanner_problems, "Deployment/content-scanner"
ENCRYPTED: list[tuple[Rule, Break, str]] = [
    (SCANNER, deleting(SCANNED), "to nobody"),
    (SCANNER, replacing("haproxy", "routes.map", "media_proxy", "media_proxies"), "leads to"),
    (SCANNER, replacing("haproxy", "haproxy.cfg", "server-template content-scanner- 4", "server-template content-scanner- 2"), "2 of 4"),
    (SCANNER, replacing("haproxy", "haproxy.cfg", "default-server maxconn 2 port", "default-server port"), "as much as it likes"),
    (SCANNER, replacing("haproxy", "haproxy.cfg", "default-server maxconn 2 port", "default-server maxconn 9 port"), "are needed"),
    (SCANNER, setting("Deployment/haproxy", "spec.replicas", 3), "are needed"),
    (SCANNER, setting(SCANNED, "container.resources.limits.memory", "1Gi"), "are needed"),
    (SCANNER, setting("Service/content-scanner", "spec.clusterIP", None), "more than its share"),
    (SCANNER, setting(SCANNED, "pod.volumes[3].emptyDir", {"sizeLimit": "4Gi"}), "on a disk"),
    (SCANNER, setting(SCANNED, "pod.volumes[3].emptyDir.sizeLimit", "64Mi"), "no room"),
    (SCANNER, without(SCANNED, "container.volumeMounts[2]"), "no /secrets/scan-worker"),
]

RIGHTS: list[tuple[Rule, Break, str]] = [
    (rights.generator_right_problems, setting(GENERATED, "rules[0].verbs", ["create", "update"]), "every Secret"),
    (rights.generator_right_problems, without(GENERATED, "rules[1].resourceNames"), "every Secret"),
    (rights.generator_right_problems, setting(GENERATED, "rules[1].verbs", ["get", "patch", "delete"]), "Secrets by name"),
    (rights.generator_right_problems, adding(GENERATED, "rules[1].resources", "pods"), "has rights to"),
    (
        rights.generator_right_problems,
        adding("RoleBinding/make-secrets-of-redis", "subjects", {"kind": "Group", "name": "everybody", "namespace": ""}),
        "everybody",
    ),
    (rights.reader_right_problems, setting("Role/matrix/prometheus-finds-pods", "rules[0].verbs", ["create"]), "may ['create'] ['pods']"),
    (
        rights.reader_right_problems,
        setting("Role/matrix/alloy-reads-logs", "rules[1].resources", ["pods/exec"]),
        "may ['get'] ['pods/exec']",
    ),
    (rights.reader_right_problems, setting("Role/matrix/alloy-reads-logs", "rules[1].verbs", ["create"]), "may ['create'] ['pods/log']"),
    (rights.reader_right_problems, adding("Role/matrix/prometheus-finds-pods", "rules[0].resources", "secrets"), "'secrets'"),
    (rights.reader_right_problems, deleting("RoleBinding/matrix/prometheus-finds-pods"), "is not in every namespace"),
    (
        rights.reader_right_problems,
        adding("RoleBinding/matrix/prometheus-finds-pods", "subjects", {"kind": "Group", "name": "everybody", "namespace": ""}),
        "everybody",
    ),
    (rights.backup_right_problems, setting("Role/postgresql-main-first-backup", "rules[1].verbs", ["create", "get", "delete"]), "delete"),
    (rights.backup_right_problems, without("Role/postgresql-main-first-backup", "rules[0].resourceNames"), "clusters"),
    (
        rights.backup_right_problems,
        setting("RoleBinding/postgresql-main-first-backup", "subjects[0].name", "default"),
        "default",
    ),
    (rights.access_problems, adding(EDIT, "rules[0].resources", "failoverquorums"), "change failoverquorums"),
    (rights.access_problems, adding(VIEW, "rules[0].verbs", "patch"), "patch"),
    (rights.access_problems, setting(VIEW, "rules[0].resources", ["clusters"]), "lets people see ['clusters']"),
    (rights.access_problems, without(VIEW, 'metadata.labels."rbac.authorization.k8s.io/aggregate-to-view"'), "people with []"),
]

WAYS: list[tuple[Rule, Break, str]] = [
    (publication.hsts_problems, deleting("Middleware/matrix/hsts"), "not told for a year"),
    (publication.hsts_problems, setting("Middleware/matrix/hsts", "spec.headers.stsIncludeSubdomains", True), "of other hosts"),
    (
        publication.hsts_problems,
        setting("Ingress/matrix", 'metadata.annotations."traefik.ingress.kubernetes.io/router.entrypoints"', "web"),
        "without TLS",
    ),
    (publication.certificate_problems, without("Ingress/matrix", "spec.tls"), "(none)"),
    (publication.certificate_problems, setting("Certificate/matrix-tls", "spec.dnsNames", ["example.com"]), "matrix-tls certifies"),
    (publication.certificate_problems, setting("Certificate/matrix-tls", "spec.privateKey.rotationPolicy", "Never"), "keeps its key"),
    (publication.certificate_problems, setting("Certificate/matrix-tls", "spec.issuerRef.name", "other"), "there is no"),
    (publication.issuer_problems, setting("Issuer/matrix/matrix-platform", "spec.acme.server", "http://ca"), "the directory is"),
    (
        publication.issuer_problems,
        setting("Issuer/matrix/matrix-platform", "spec.acme.solvers[0].http01.ingress.ingressClassName", "other"),
        "answers the authority by",
    ),
    (
        ways_out.way_out_problems,
        without("NetworkPolicy/sygnal", "spec.egress[0].to[0].ipBlock.except"),
        "NetworkPolicy matrix/sygnal lets out to private addresses",
    ),
    (ways_out.way_out_problems, adding("NetworkPolicy/sygnal", "spec.egress", {"ports": [{"port": 443}]}), "lets out to everything"),
    (
        ways_out.way_out_problems,
        adding("NetworkPolicy/secret-generator", "spec.egress", {"ports": [{"port": 6443}]}),
        "matrix/secret-generator lets out to everything",
    ),
]

OTHERWISE: list[tuple[Rule, Break, str]] = [
    (publication.gateway_problems, setting("HTTPRoute/element", "spec.parentRefs[0].name", "other"), "attach to"),
    (publication.gateway_problems, without("HTTPRoute/element", "spec.parentRefs[0].sectionName"), "attaches to every listener"),
    (publication.gateway_problems, setting("HTTPRoute/element", "spec.parentRefs[0].sectionName", "http"), "without TLS"),
    (publication.gateway_problems, deleting("HTTPRoute/to-https"), "by HTTP on to HTTPS"),
    (publication.hsts_problems, without("HTTPRoute/element", "spec.rules[0].filters"), "not told for a year"),
    (publication.hsts_problems, setting("HTTPRoute/to-https", "spec.rules[0].filters[0].requestRedirect.statusCode", 302), "not told"),
    (publication.certificate_problems, setting("Certificate/element-tls", "spec.dnsNames", []), "element.chat.example.org"),
    (
        publication.issuer_problems,
        setting("ClusterIssuer/matrix-platform-chat", "spec.ca.secretName", "other"),
        "no certificate of an authority",
    ),
    (publication.issuer_problems, setting("Certificate/matrix-platform-chat-root", "spec.duration", "2160h"), "is good for 2160h"),
    (promises.promise_problems, setting("HTTPRoute/matrix", "spec.rules[0].timeouts.request", "30s"), "would be cut"),
    (
        promises.promise_problems,
        setting("ExternalSecret/synapse", "spec.target.deletionPolicy", "Delete"),
        "take the Secret from the cluster",
    ),
]


def names(mutations: list[tuple[Rule, Break, str]]) -> list[str]:
    return [f"{rule.__name__}-{mention[:28]}" for rule, _, mention in mutations]


EVERYTHING = [*DATA, *PODS, *ENCRYPTED, *RIGHTS, *WAYS]


@pytest.mark.parametrize(("rule", "change", "mention"), EVERYTHING, ids=names(EVERYTHING))
def test_a_broken_promise_is_noticed(rule: Rule, change: Break, mention: str, everything: Objects) -> None:
    assert_noticed(rule, everything, change, mention)


@pytest.mark.parametrize(("rule", "change", "mention"), OTHERWISE, ids=names(OTHERWISE))
def test_a_broken_promise_of_another_site_is_noticed(rule: Rule, change: Break, mention: str, trees: dict[str, Objects]) -> None:
    assert_noticed(rule, trees["other site"], change, mention)


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (setting("Database/postgresql-main", "spec.owner", "synapse"), "there is no role synapse"),
        (setting("Database/postgresql-main", "spec.cluster.name", "other"), "there is no cluster other"),
        (setting("Database/postgresql-main", "spec.name", "synapse"), "what the cluster is made with"),
        (setting("Database/postgresql-main", "spec.name", "nobodys"), "no program's configuration names nobodys"),
        (without("DatabaseRole/postgresql-main", "spec.login"), "could not log in"),
        (updating("Database/postgresql-main", "spec", databaseReclaimPolicy="delete"), "would be dropped"),
    ],
)
def test_a_further_database_that_nobody_can_use_or_that_could_be_lost_is_noticed(change: Break, mention: str, everything: Objects) -> None:
    def rule(objects: Objects) -> list[str]:
        return postgresql.database_problems(objects) + promises.promise_problems(objects)

    assert_noticed(rule, everything, change, mention)


@pytest.mark.parametrize(
    ("change", "mention"),
    [
        (setting("ExternalSecret/synapse", "spec.data[0].remoteRef.key", "matrix-platform/synapse"), "signing_key is read from"),
        (without("ExternalSecret/synapse", "spec.data[0]"), "makes the keys"),
        (setting("ExternalSecret/synapse", "spec.secretStoreRef.name", "other"), "the stores are"),
        (
            setting("ExternalSecret/object-storage-user-media", "spec.target.template.data.credentials", '{{ index . "key" }}'),
            "composed of key, which is not fetched",
        ),
    ],
)
def test_a_secret_that_is_fetched_from_elsewhere_is_noticed(
    change: Break, mention: str, trees: dict[str, Objects], declared: dict[str, Declared]
) -> None:
    rule = partial(fetched_secrets.fetched_secret_problems, declared=declared["other site"])
    assert_noticed(rule, trees["other site"], change, mention)
