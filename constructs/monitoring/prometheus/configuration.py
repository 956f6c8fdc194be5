"""Prometheus as configuration: what it scrapes and how the series are called. Pure functions of what the components have declared."""

from typing import Any

from attrs import frozen

from kit.monitoring import Scrape
from monitoring.prometheus.relabelling import check_jobs, identifier, names

INTERVAL_SECONDS = 30
"""Between two looks at a pod, and between two at the rules."""
ALERTS = "alerts-*.yaml"
"""The files with rules, beside prometheus.yaml."""
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@frozen
class PrometheusSpec:
    """`scrapes`: what the components offer. `namespaces`: where their pods are. `alertmanagers`: `host:port` of each.

    `beside`: the `host:port` of programs that others run for the platform, by job.
    """

    scrapes: tuple[Scrape, ...]
    namespaces: tuple[str, ...]
    alertmanagers: tuple[str, ...]
    beside: tuple[tuple[str, str], ...]

    def __attrs_post_init__(self) -> None:
        check_jobs(self.scrapes)


def configuration(spec: PrometheusSpec) -> dict[str, Any]:
    """prometheus.yaml."""
    interval = f"{INTERVAL_SECONDS}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": "10s", "evaluation_interval": interval},
        "rule_files": [ALERTS],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(spec.alertmanagers)}]}]},
        "scrape_configs": [
            *(_of_pods(scrape, spec.namespaces) for scrape in spec.scrapes),
            *({"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in spec.beside),
            _of_volumes(spec.namespaces),
        ],
    }


def _of_pods(scrape: Scrape, namespaces: tuple[str, ...]) -> dict[str, Any]:
    """The pods of one scrape. All jobs look for pods in the same words, so that Prometheus asks the API server once for all of them."""
    options: dict[str, Any] = {}
    if scrape.parameters:
        options["params"] = {name: [value] for name, value in scrape.parameters}
    if scrape.of_others:
        options["honor_labels"] = True
    return {
        "job_name": scrape.job,
        "metrics_path": scrape.path,
        **options,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": list(namespaces)}}],
        "relabel_configs": [
            _keep("namespace", scrape.pods.namespace),
            *(_keep(f"pod_label_{identifier(label)}", value) for label, value in scrape.pods.labels),
            _keep("pod_container_port_number", str(scrape.port.number)),
            # Pods that have ended keep their address for a while, which may be another's by now.
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
            *({"source_labels": [f"__meta_kubernetes_{name.found}"], "target_label": name.label} for name in names()),
        ],
    }


def _keep(meta: str, value: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{meta}"], "regex": value.replace(".", r"\."), "action": "keep"}


def _of_volumes(namespaces: tuple[str, ...]) -> dict[str, Any]:
    """How full volumes are: the kubelet of each node knows, and nobody else does of those of databases."""
    return {
        "job_name": "kubelet",
        "scheme": "https",
        "kubernetes_sd_configs": [{"role": "node"}],
        "authorization": {"credentials_file": f"{_ACCOUNT}/token"},
        # Most kubelets have made their certificate themselves. What a stranger at a node's address could get of it is a token that sees names.
        "tls_config": {"insecure_skip_verify": True},
        "relabel_configs": [{"source_labels": ["__meta_kubernetes_node_name"], "target_label": label} for label in ("instance", "node")],
        "metric_relabel_configs": [
            {"source_labels": ["__name__"], "regex": "kubelet_volume_stats_(available|capacity)_bytes", "action": "keep"},
            {"source_labels": ["namespace"], "regex": "|".join(namespaces), "action": "keep"},
        ],
    }
