"""Every field of every custom resource is held by a rule, or is named here with the reason why it may have any value.

Each field is taken out, and given another value, one by one: a rule must notice. So a field that promises something cannot be changed in the
generator with nothing but another `dist/` to show for it.
"""

import tomllib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.kustomize import ROOT
from tests.manifests.rules import (
    availability,
    budget,
    choices,
    consistency,
    fetched_secrets,
    images,
    lifecycle,
    monitors,
    pods,
    postgresql,
    promises,
    publication,
    references,
    schemas,
    security,
    tenants,
)
from tests.manifests.rules.leaves import Slip, unnoticed
from tests.manifests.rules.objects import Declared, Object, Objects, Rule

LOCK: dict[str, Any] = tomllib.loads((ROOT / "images.toml").read_text())
HAPROXY, ELEMENT = "haproxy:8008", {"/": "element-web:8080"}
MATRIX = dict.fromkeys(("/_matrix", "/_synapse/client"), HAPROXY)
WELL_KNOWN = {"/.well-known/matrix": HAPROXY}
LI_PROXY = "li-proxy:8008"
AUTHENTICATION_ADMIN = "matrix-authentication-service:8082"

CHOSEN = {
    "full site": choices.Choices(
        hosts={
            "example.com": WELL_KNOWN | {"/.well-known/element": HAPROXY},
            "matrix.example.com": MATRIX,
            "element.example.com": ELEMENT,
            # What tools of administrators ask of the client API, and the administration itself by another port.
            "admin.example.com": {"/_synapse/admin": "haproxy:8009", "/_matrix/client": HAPROXY, "/_matrix/media": HAPROXY}
            | {"/": "synapse-admin:8080", "/api/admin": AUTHENTICATION_ADMIN},
            "auth.example.com": {"/": "matrix-authentication-service:8080", "/api/admin": AUTHENTICATION_ADMIN},
            "matrix-li.example.com": dict.fromkeys(("/_matrix", "/_synapse/admin"), LI_PROXY),
            "element-li.example.com": {"/": "element-web-li:8080", "/_matrix": LI_PROXY},
            "admin-li.example.com": {"/": "synapse-admin-li:8080", "/_matrix": LI_PROXY, "/_synapse/admin": LI_PROXY},
            "cases-li.example.com": {"/": "li-proxy:8009"},
            "rtc.example.com": dict.fromkeys(("/sfu/get", "/get_token", "/delegate_delayed_leave"), "lk-jwt-service:8080")
            | dict.fromkeys(("/rtc", "/twirp/livekit.RoomService"), "livekit:7880"),
            "grafana.example.com": {"/": "grafana:3000"},
        },
        images=frozenset(images.references(LOCK, "registry.example.com/matrix")),
        admin_sources=("192.0.2.0/24",),
        certificates={
            "example.com": "well-known-tls",
            "matrix.example.com": "matrix-tls",
            "element.example.com": "element-tls",
            "admin.example.com": "admin-tls",
            "auth.example.com": "auth-tls",
            "rtc.example.com": "rtc-tls",
            "grafana.example.com": "grafana-tls",
            **{f"{name}-li.example.com": f"{name}-li-tls" for name in ("matrix", "element", "admin", "cases")},
        },
        sizes={
            "postgresql-main": "20Gi",
            "postgresql-main/wal": "8Gi",
            "postgresql-li": "20Gi",
            "postgresql-li/wal": "4Gi",
            "minio-main": "4 x 2 x 20Gi",
            "minio-li": "4 x 2 x 8Gi",
        },
    ),
    "other site": choices.Choices(
        hosts={"chat.example.org": WELL_KNOWN, "matrix.chat.example.org": MATRIX, "element.chat.example.org": ELEMENT},
        images=frozenset(images.references(LOCK, "registry.example.org", mirror="registry.example.org/mirror")),
        certificates={
            "chat.example.org": "well-known-tls",
            "matrix.chat.example.org": "matrix-tls",
            "element.chat.example.org": "element-tls",
        },
        database_class="local",
        pull_secrets=("registry-credentials",),
        region="eu-1",
        gateway=("gateways", "public"),
        store=("ClusterSecretStore", "vault"),
        sizes={"postgresql-main": "20Gi", "postgresql-main/wal": "8Gi", "postgresql-li": "20Gi", "postgresql-li/wal": "4Gi"},
    ),
}
"""What the sites of conftest.py have chosen, or have by default (docs/site-reference.md)."""

TASTE = "a matter of tuning: it promises nothing, and may follow what is measured"
RULE = "a rule of Prometheus: tests/live/test_alert_rules.py asks promtool of the same ones (tests/manifests/test_monitoring.py)"
SIZE = "a size of the profile: the envelope, the quota and the limit bound it"
LI = "tests/manifests/test_li_instance.py says what it is"
COMPOSED = "it is composed of keys that a rule compares, and a wrong one keeps its program from logging in"

FREE = {
    "Cluster spec.resources.requests.cpu": SIZE,
    "ScaledObject spec.maxReplicaCount": SIZE,
    "ExternalSecret spec.target.template.data.pgpass": COMPOSED,
    "ExternalSecret spec.target.template.data.username": COMPOSED,
    "ExternalSecret spec.target.template.data.valkey.conf": COMPOSED,
    "PodMonitor spec.selector.matchLabels.app.kubernetes.io/component": "of a component with one kind of pods that run",
    "Cluster spec.postgresql.parameters.log_error_verbosity": LI,
    "Cluster spec.bootstrap.initdb.postInitSQL[]": LI,
    "DatabaseRole spec.replication": LI,
    "DatabaseRole spec.inRoles[]": LI,
    "TLSOption spec.clientAuth.clientAuthType": LI,
    "TLSOption spec.clientAuth.secretNames[]": LI,
    "TLSOption spec.minVersion": LI,
    "Middleware spec.passTLSClientCert.info.subject.commonName": LI,
    "Cluster spec.postgresql.parameters.checkpoint_completion_target": TASTE,
    "Cluster spec.postgresql.parameters.checkpoint_timeout": TASTE,
    "Cluster spec.postgresql.parameters.effective_io_concurrency": TASTE,
    "Cluster spec.postgresql.parameters.random_page_cost": TASTE,
    "Cluster spec.postgresql.parameters.wal_compression": TASTE,
    "Cluster spec.postgresql.parameters.log_autovacuum_min_duration": TASTE,
    "Cluster spec.postgresql.parameters.log_lock_waits": TASTE,
    "Cluster spec.postgresql.parameters.log_min_duration_statement": TASTE,
    "Cluster spec.postgresql.parameters.log_temp_files": TASTE,
    "Cluster spec.postgresql.parameters.pg_stat_statements.max": TASTE,
    "Cluster spec.postgresql.parameters.pg_stat_statements.track": TASTE,
    "ObjectStore spec.instanceSidecarConfiguration.resources.requests.cpu": SIZE,
    "ObjectStore spec.instanceSidecarConfiguration.resources.requests.memory": SIZE,
    "ObjectStore spec.instanceSidecarConfiguration.resources.limits.memory": SIZE,
    "Tenant spec.pools[].resources.requests.cpu": SIZE,
    "Tenant spec.pools[].resources.requests.memory": SIZE,
    "Tenant spec.pools[].resources.limits.memory": SIZE,
    "PrometheusRule spec.groups[].name": RULE,
    "PrometheusRule spec.groups[].rules[].alert": RULE,
    "PrometheusRule spec.groups[].rules[].expr": RULE,
    "PrometheusRule spec.groups[].rules[].for": RULE,
    "PrometheusRule spec.groups[].rules[].labels.severity": RULE,
    "PrometheusRule spec.groups[].rules[].annotations.summary": RULE,
    "PrometheusRule spec.groups[].rules[].annotations.runbook_url": RULE,
}
"""Fields that no rule holds: why."""


def custom_resources(objects: Objects) -> list[Object]:
    return [o for o in objects if schemas.group(o["apiVersion"]) not in schemas.BUILT_IN]


def rules(tree: str, declared: Declared) -> list[Rule]:
    """What is asked of custom resources, the quick ones first."""
    return [
        promises.promise_problems,
        postgresql.connection_security_problems,
        postgresql.durability_problems,
        postgresql.tuning_problems,
        postgresql.client_service_problems,
        postgresql.spread_problems,
        postgresql.database_problems,
        postgresql.archive_problems,
        tenants.tenant_problems,
        publication.hsts_problems,
        publication.certificate_problems,
        publication.issuer_problems,
        publication.gateway_problems,
        partial(fetched_secrets.fetched_secret_problems, declared=declared),
        partial(choices.choice_problems, chosen=CHOSEN[tree]),
        monitors.monitor_problems,
        pods.priority_problems,
        availability.quorum_problems,
        availability.zone_problems,
        consistency.autoscaler_problems,
        lifecycle.autoscaling_problems,
        budget.postgresql_problems,
        budget.backup_problems,
        budget.erasure_problems,
        security.pod_security_problems,
        security.resource_problems,
        security.publication_problems,
        references.ingress_problems,
        partial(references.secret_problems, declared=declared),
        partial(references.provider_problems, declared=declared),
    ]


def loose(tree: str, objects: Objects, declared: Declared) -> Iterator[Slip]:
    """Slips that no rule notices."""
    asked = rules(tree, declared)
    for rule in asked:
        assert rule(objects) == []
    for o in custom_resources(objects):
        yield from unnoticed(o, objects, asked)


@pytest.fixture(scope="module")
def slips(trees: dict[str, Objects], declared: dict[str, Declared]) -> list[Slip]:
    """What no rule notices, in sites that have between them every kind of custom resource that there is."""
    return [slip for tree in CHOSEN for slip in loose(tree, trees[tree], declared[tree])]


def test_every_field_of_every_custom_resource_is_held_by_a_rule_or_named_here(slips: list[Slip]) -> None:
    assert [str(slip) for slip in slips if slip.field not in FREE] == []


def test_no_field_is_named_here_that_a_rule_holds(slips: list[Slip]) -> None:
    assert FREE.keys() - {slip.field for slip in slips} == set()


def test_both_sites_together_have_every_kind_of_custom_resource(trees: dict[str, Objects]) -> None:
    seen = {o["kind"] for tree in CHOSEN for o in custom_resources(trees[tree])}
    assert seen == {o["kind"] for objects in trees.values() for o in custom_resources(objects)}
    assert {
        "Cluster",
        "Tenant",
        "ClusterIssuer",
        "Issuer",
        "ExternalSecret",
        "HTTPRoute",
        "Middleware",
        "Database",
        "PodMonitor",
        "PrometheusRule",
    } <= seen


def test_a_field_that_nobody_holds_is_noticed(trees: dict[str, Objects], declared: dict[str, Declared]) -> None:
    tree = "other site"
    backup = next(o for o in trees[tree] if o["kind"] == "ScheduledBackup")
    novel = backup | {"spec": backup["spec"] | {"novelty": True}}
    found = unnoticed(novel, [novel if o is backup else o for o in trees[tree]], rules(tree, declared[tree]))
    assert {(slip.field, slip.what) for slip in found} == {
        ("ScheduledBackup spec.novelty", "is gone"),
        ("ScheduledBackup spec.novelty", "has another value"),
    }
