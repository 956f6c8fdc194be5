"""Grafana Alloy as configuration: which pods it reads, what the lines are called, and what does not leave them."""

import json

from attrs import frozen

from kit.files import rendered
from monitoring.loki.configuration import AUDIT, PLATFORM

KEPT = (
    ("namespace", "namespace"),
    ("pod", "pod_name"),
    ("container", "pod_container_name"),
    ("job", "pod_label_app_kubernetes_io_name"),
)
"""Label of a line, and what it is of a pod. `job` is what the metrics of the pod are called by."""

OWNERS = ("cnpg_io_cluster", "v1_min_io_tenant")
"""Labels of CloudNativePG and of the MinIO operator."""

SECRETS = (
    # Access tokens of Synapse (syt_), and those of the authentication service and of old sessions (mat_, mar_, mct_, mcr_).
    r"\b((?:syt|mat|mar|mct|mcr)_[A-Za-z0-9_=-]{10,})",
    # In a URL, as clients that are years old send it.
    r"(?i)(?:access_token|logintoken|refresh_token|client_secret)=([^&\s\"\\<]+)",
    # In a header.
    r"(?i)\b(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})",
    # In JSON, also where it is quoted once more.
    r"(?i)\\*\"(?:password|passphrase|access_token|refresh_token|client_secret|registration_shared_secret)\\*\"\s*:\s*\\*\"([^\"\\]+)",
    # Of OpenID, of LiveKit and of Kubernetes.
    r"\b(eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*)",
    # Keys of S3 in a signed URL.
    r"(?i)X-Amz-(?:Signature|Credential|Security-Token)=([^&\s\"\\]+)",
)
"""What is a secret wherever it stands; the groups are what is taken out. RE2, which Python reads the same."""

LEVEL = r"\b(?P<in_text>DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|CRITICAL|FATAL|PANIC|ALERT)\b"

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Python's, which is Synapse's; the others' words are translated."""

_WORDS = {
    "TRACE": "DEBUG",
    "LOG": "INFO",
    "NOTICE": "INFO",
    "STATEMENT": "INFO",
    "DETAIL": "INFO",
    "HINT": "INFO",
    "WARN": "WARNING",
    "ALERT": "WARNING",
    "ERR": "ERROR",
    "DPANIC": "CRITICAL",
    "FATAL": "CRITICAL",
    "PANIC": "CRITICAL",
}

NAMED = (
    '{{ $said := coalesce .in_record .in_json .in_text "INFO" | toString | upper }}'
    f"{{{{ $words := dict {' '.join(chr(34) + word + chr(34) for pair in _WORDS.items() for word in pair)} }}}}"
    "{{ get $words $said | default $said }}"
)
"""A template of Go with the functions of sprig (internal/component/loki/process/stages/template.go)."""


@frozen
class AlloySpec:
    """`namespaces`: whose pods are read. `loki`: its URL. `audited`: namespaces, and jobs, whose lines go to the tenant for audits."""

    namespaces: tuple[str, ...]
    loki: str
    audited_namespaces: tuple[str, ...]
    audited_jobs: tuple[str, ...]


def alloy_config(spec: AlloySpec) -> str:
    """config.alloy."""
    audited = (("namespace", "|".join(spec.audited_namespaces)), ("job", "|".join(spec.audited_jobs)))
    return rendered(
        __package__,
        "config.alloy",
        spec=spec,
        namespaces=json.dumps(spec.namespaces),
        kept=KEPT,
        owners=OWNERS,
        secrets=SECRETS,
        level=LEVEL,
        named=NAMED,
        platform=PLATFORM,
        audit=AUDIT,
        audited=[(label, pattern) for label, pattern in audited if pattern],
    )
