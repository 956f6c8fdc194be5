"""What the key vault's metrics tell people (services/key_vault/metrics.py)."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "KeyVaultDown",
        'max by (namespace) (up{job="key-vault"}) < 1',
        2,
        Severity.CRITICAL,
        "No process of the key vault answers: officers read nothing, and recovery keys are not taken.",
    ),
    Alert(
        "KeyVaultNoDatabase",
        "max by (namespace) (key_vault_database_up) < 1",
        5,
        Severity.CRITICAL,
        "The key vault does not reach its database: officers read nothing, and recovery keys are not taken.",
        ("KeyVaultErrors",),
    ),
    Alert(
        "KeyVaultLogShrank",
        # One of two pods may have been asked before the newest entry was written.
        "max by (namespace) (key_vault_audit_head) < max by (namespace) (max_over_time(key_vault_audit_head[1d]))",
        5,
        Severity.CRITICAL,
        "The key vault's log ends at entry {{ $value }}, and was longer within the last day: somebody has cut it, or an old backup is in place.",
    ),
    Alert(
        "KeyVaultStranger",
        'sum by (namespace) (increase(key_vault_operations_total{outcome="unknown-officer"}[1h])) > 0',
        0,
        Severity.WARNING,
        "Somebody whom the authority has given a certificate, and who is no officer of the key vault, has asked it for something.",
    ),
    Alert(
        "KeyVaultUntrustedRequests",
        "sum by (namespace, listener) (increase(key_vault_untrusted_requests_total[1h])) > 0",
        0,
        Severity.WARNING,
        "Somebody reaches the key vault's port {{ $labels.listener }} without its token: {{ $value | humanize }} requests in an hour.",
    ),
    Alert(
        "KeyVaultKeysRefused",
        'sum by (namespace) (increase(key_vault_deposits_total{outcome="refused"}[1h])) > 0',
        0,
        Severity.WARNING,
        "The key vault has refused {{ $value | humanize }} recovery keys in an hour: they are not sealed for its authority.",
    ),
    Alert(
        "KeyVaultErrors",
        'sum by (namespace, listener) (rate(key_vault_request_seconds_count{status=~"5..",listener!="metrics"}[15m])) > 0',
        15,
        Severity.WARNING,
        "The key vault answers with errors of its own on the port {{ $labels.listener }}.",
    ),
)
