"""Loki's configuration: every option is one that Loki has, each tenant keeps its logs as long as the site says, and no key is in it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from infrastructure.object_storage.s3 import Authority, Bucket, Credentials, credentials_secret, peer
from kit.quantities import gib
from kit.secrets import Fixed, RandomText, Shared
from monitoring.loki.configuration import AUDIT, PLATFORM, LokiSpec, loki_config, overrides
from monitoring.options import LogOptions

OPTIONS = frozenset(Path(__file__).with_name("loki_options.txt").read_text().split("\n\n", 1)[1].split())
"""Made of docs/sources/shared/configuration.md of Loki 3.7.6, whose head says how."""

KEYS = credentials_secret("minio-main-user-logs", "matrix", Fixed("logs"), RandomText(40), Fixed("us-east-1"))
BUCKET = Bucket(
    "matrix-logs", "http://minio.matrix.svc.cluster.local", "us-east-1", Credentials(KEYS), peer("object-storage", "http://minio", None)
)
SPEC = LokiSpec(LogOptions(), BUCKET, 1, "loki-members.monitoring.svc.cluster.local", gib(1), None)


def paths(document: object, place: str = "") -> Iterator[str]:
    """Every option that is set, dotted; `[]` for the entries of a list."""
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from paths(value, f"{place}.{key}" if place else key)
    elif isinstance(document, list) and document and isinstance(document[0], Mapping):
        for entry in document:
            yield from paths(entry, place)
    else:
        yield place


def unknown(document: Mapping[str, Any]) -> set[str]:
    return set(paths(document)) - OPTIONS


def test_loki_has_every_option_that_is_set() -> None:
    private = evolve(SPEC, authority="/secrets/ca.crt", servers=3)
    assert unknown(loki_config(SPEC)) == set()
    assert unknown(loki_config(private)) == set()
    limits = overrides(LogOptions())["overrides"][AUDIT]
    assert unknown({"limits_config": limits}) == set()


def test_an_option_that_loki_does_not_have_is_noticed() -> None:
    assert unknown({"limits_config": {"retention": "30d"}}) == {"limits_config.retention"}


def test_each_tenant_keeps_its_logs_as_long_as_the_site_says() -> None:
    options = LogOptions(retention="3w", audit_retention="2y")
    config = loki_config(evolve(SPEC, options=options))
    assert config["limits_config"]["retention_period"] == "3w"
    assert overrides(options)["overrides"] == {AUDIT: {"retention_period": "2y"}}
    assert AUDIT != PLATFORM
    assert config["compactor"]["retention_enabled"], "or nothing is ever deleted"
    assert config["auth_enabled"], "or all tenants are one"
    # Retention needs it (docs/sources/operations/storage/retention.md).
    assert {entry["index"]["period"] for entry in config["schema_config"]["configs"]} == {"24h"}


def test_three_servers_have_each_line_three_times() -> None:
    assert loki_config(evolve(SPEC, servers=3))["common"]["replication_factor"] == 3
    assert loki_config(SPEC)["common"]["replication_factor"] == 1


def test_the_bucket_is_asked_as_its_storage_wants_it() -> None:
    plain = loki_config(SPEC)["common"]["storage"]["s3"]
    assert (plain["insecure"], plain["s3forcepathstyle"], "http_config" in plain) == (True, True, False)
    private = evolve(SPEC, bucket=evolve(BUCKET, endpoint="https://s3.example.com", authority=Authority("ca", "ca.crt")), authority="/ca")
    encrypted = loki_config(private)["common"]["storage"]["s3"]
    assert (encrypted["insecure"], encrypted["http_config"]) == (False, {"ca_file": "/ca"})


def test_a_client_in_another_namespace_has_a_secret_of_its_own_with_the_same_keys() -> None:
    copy = BUCKET.credentials.within("monitoring").spec
    assert (copy.name, copy.namespace) == (KEYS.name, "monitoring")
    assert dict(copy.keys)["secret-key"] == Shared(KEYS.key("secret-key"))
    assert dict(copy.keys)["access-key"] == Fixed("logs")
    assert BUCKET.credentials.within("matrix") is BUCKET.credentials
