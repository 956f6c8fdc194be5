"""What Prometheus is told. One process serves a pod (server.py), so its counters are the pod's."""

import logging
from collections.abc import Iterator

from django.db import Error
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily

disable_created_metrics()  # type: ignore[no-untyped-call]  # The library has left its types out there.
REGISTRY = CollectorRegistry()
_OPERATIONS = Counter("key_vault_operations", "What officers and synapse-li's proxy asked for", ["operation", "outcome"], registry=REGISTRY)
_DEPOSITS = Counter("key_vault_deposits", "Recovery keys that Synapse handed in", ["outcome"], registry=REGISTRY)
_UNTRUSTED = Counter("key_vault_untrusted_requests", "Requests without the token of their listener", ["listener"], registry=REGISTRY)
_SECONDS = Histogram("key_vault_request_seconds", "How long answers took", ["listener", "status"], registry=REGISTRY)
UNKNOWN_OFFICER = "unknown-officer"

# What people are told of from the first time on stands at 0 before: Prometheus sees no increase in a series that begins at 1.
for _listener in ("intake", "officer", "access"):
    _UNTRUSTED.labels(_listener)
for _operation in ("access.allowed", "officer.unknown"):
    _OPERATIONS.labels(_operation, UNKNOWN_OFFICER)
_DEPOSITS.labels("refused")


def operation(name: str, outcome: str) -> None:
    """Count an operation. `outcome`: `done`, or the code of a refusal."""
    _OPERATIONS.labels(name, outcome).inc()


def deposit(outcome: str) -> None:
    """Count a deposit: `stored`, `known`, `refused` or `too-many`."""
    _DEPOSITS.labels(outcome).inc()


def untrusted(listener: str) -> None:
    """Count a request that did not come by the trusted hop."""
    _UNTRUSTED.labels(listener).inc()


def answered(listener: str, status: int, seconds: float) -> None:
    """Note how long an answer took."""
    _SECONDS.labels(listener, str(status)).observe(seconds)


def exposition() -> bytes:
    """The metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


class _Stored:
    """What the database holds, asked at each scrape. Without a database only that it is not there is said."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        from services.key_vault import ledger
        from services.key_vault.models import StoredCase, StoredKey

        up = GaugeMetricFamily("key_vault_database_up", "Whether the database answers")
        try:
            values = {
                "key_vault_audit_head": ("The number of the newest entry of the audit log", ledger.head().sequence),
                "key_vault_recovery_keys": ("Recovery keys that are stored", StoredKey.objects.count()),
                "key_vault_cases": ("Cases, whatever became of them", StoredCase.objects.count()),
            }
        except Error:
            logging.getLogger("key_vault").warning("the database does not answer")
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        for name, (meaning, value) in values.items():
            gauge = GaugeMetricFamily(name, meaning)
            gauge.add_metric([], value)
            yield gauge

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: the registry must not ask the database when it is made."""
        return []


REGISTRY.register(_Stored())
