"""Prometheus as configuration: what it scrapes and how the series are called. Pure functions of what the components have declared."""

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from kit.monitoring import Scrape

INTERVAL_SECONDS = 30
"""Between two looks at a pod, and between two at the rules."""


@frozen
class PrometheusSpec:
    """`scrapes`: what the components offer. `namespaces`: where their pods are."""

    scrapes: tuple[Scrape, ...]
    namespaces: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        jobs = [scrape.job for scrape in self.scrapes]
        if twice := sorted({job for job in jobs if jobs.count(job) > 1}):
            raise ValueError(f"two scrapes are called {', '.join(twice)}: each needs a name of its own, by which its series are known")


def configuration(spec: PrometheusSpec) -> dict[str, Any]:
    """prometheus.yaml."""
    interval = f"{INTERVAL_SECONDS}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": "10s", "evaluation_interval": interval},
        "scrape_configs": [_of_pods(scrape, spec.namespaces) for scrape in spec.scrapes],
    }


def _of_pods(scrape: Scrape, namespaces: Iterable[str]) -> dict[str, Any]:
    """The pods of one scrape. All jobs look for pods in the same words, so that Prometheus asks the API server once for all of them."""
    return {
        "job_name": scrape.job,
        "metrics_path": scrape.path,
        "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": list(namespaces)}}],
        "relabel_configs": [
            _keep("namespace", scrape.pods.namespace),
            *(_keep(f"pod_label_{_identifier(label)}", value) for label, value in scrape.pods.labels),
            _keep("pod_container_port_number", str(scrape.port.number)),
            # Pods that have ended keep their address for a while, which may be another's by now.
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
            _name("namespace", "namespace"),
            _name("pod_name", "pod"),
            # The address of a pod is another one after each restart; its name is what people know it by.
            _name("pod_name", "instance"),
            # Synapse's own dashboards tell the processes of a job apart by it: the ordinal of a StatefulSet's pod.
            _name(f"pod_label_{_identifier('apps.kubernetes.io/pod-index')}", "index"),
        ],
    }


def _keep(meta: str, value: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{meta}"], "regex": value.replace(".", r"\."), "action": "keep"}


def _name(meta: str, label: str) -> dict[str, Any]:
    return {"source_labels": [f"__meta_kubernetes_{meta}"], "target_label": label}


def _identifier(label: str) -> str:
    """A label of Kubernetes as a name of Prometheus (util/strutil, SanitizeLabelName)."""
    return "".join(character if character.isascii() and character.isalnum() else "_" for character in label)
