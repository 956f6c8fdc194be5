"""What no component of ours says of itself: its pods, their volumes, and certificates. By kube-state-metrics, kubelets and cert-manager."""

from collections.abc import Iterable

from kit.monitoring import Alert, Scrape, Severity


def alerts(scrapes: Iterable[Scrape]) -> tuple[Alert, ...]:
    """All of them, of a site in which these are scraped."""
    return (_gone(scrapes), *_ALERTS)


def _gone(scrapes: Iterable[Scrape]) -> Alert:
    """Whoever has no pod has no series either: every expression about it is silent. Others' jobs may come and go in the same Prometheus."""
    found = [(scrape.pods.namespace, scrape.job) for scrape in scrapes]
    namespaces, jobs = ("|".join(dict.fromkeys(names)) for names in zip(*found, strict=True))
    up = f'up{{namespace=~"{namespaces}",job=~"{jobs}"}}'
    return Alert(
        "WorkloadGone",
        f"group by (namespace, job) (last_over_time({up}[1d])) unless on (namespace, job) group by (namespace, job) ({up})",
        10,
        Severity.CRITICAL,
        "{{ $labels.job }} had pods within the last day, and has none: what else is said of it is not said any more.",
    )


_ALERTS = (
    Alert(
        "TargetDown",
        "up == 0",
        5,
        Severity.WARNING,
        "{{ $labels.instance }} of {{ $labels.job }} gives no metrics.",
    ),
    Alert(
        "PodCrashLoops",
        "max by (namespace, pod, container) (increase(kube_pod_container_status_restarts_total[15m])) > 3",
        0,
        Severity.WARNING,
        "{{ $labels.container }} of {{ $labels.pod }} has started {{ $value | humanize }} times in a quarter of an hour.",
    ),
    Alert(
        "WorkloadIncomplete",
        "kube_statefulset_status_replicas_ready < kube_statefulset_replicas"
        " or kube_deployment_status_replicas_ready < kube_deployment_spec_replicas"
        " or kube_daemonset_status_number_ready < kube_daemonset_status_desired_number_scheduled",
        15,
        Severity.WARNING,
        "{{ with $labels.statefulset }}{{ . }}{{ end }}{{ with $labels.deployment }}{{ . }}{{ end }}{{ with $labels.daemonset }}{{ . }}{{ end }}"
        " has fewer pods that are ready than it should: {{ $value }}.",
    ),
    Alert(
        "JobFailed",
        'max by (namespace, job_name) (kube_job_failed{condition="true"}) > 0',
        0,
        Severity.WARNING,
        "The Job {{ $labels.job_name }} has given up.",
    ),
    Alert(
        "VolumeFull",
        "min by (namespace, persistentvolumeclaim) (kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes) < 0.1",
        5,
        Severity.CRITICAL,
        "The volume {{ $labels.persistentvolumeclaim }} has {{ $value | humanizePercentage }} left.",
        ("VolumeFillsUp",),
    ),
    Alert(
        "VolumeFillsUp",
        "min by (namespace, persistentvolumeclaim) (predict_linear(kubelet_volume_stats_available_bytes[6h], 4 * 86400)) < 0"
        " and min by (namespace, persistentvolumeclaim)"
        " (kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes) < 0.4",
        60,
        Severity.WARNING,
        "At this rate the volume {{ $labels.persistentvolumeclaim }} is full within four days.",
    ),
    Alert(
        "CertificateExpires",
        "min by (namespace, name) (certmanager_certificate_expiration_timestamp_seconds) - time() < 10 * 86400",
        60,
        Severity.CRITICAL,
        "The certificate {{ $labels.name }} ends in {{ $value | humanizeDuration }}, and was not renewed.",
    ),
    Alert(
        "CertificateNotReady",
        'max by (namespace, name) (certmanager_certificate_ready_status{condition="False"}) == 1',
        30,
        Severity.WARNING,
        "The certificate {{ $labels.name }} could not be made.",
    ),
)
