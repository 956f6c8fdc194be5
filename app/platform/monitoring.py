"""What watches the rest: it is created after all else, for it scrapes what has been declared."""

from app.platform import volumes
from app.platform.infrastructure import Infrastructure, namespaces
from app.site import Site
from infrastructure.object_storage.s3 import Bucket
from infrastructure.operators import CERT_MANAGER, CERT_MANAGER_METRICS
from kit.installation import Installation
from kit.network import Endpoint, Pods
from kit.place import Place
from monitoring.alertmanager.component import Alerting, Alertmanager
from monitoring.alerts import alerts as of_the_platform
from monitoring.alloy.component import Alloy, Reading
from monitoring.grafana.component import Dashboards, Grafana, Showing
from monitoring.kube_state_metrics.component import KubeStateMetrics
from monitoring.loki.component import Keeping, Loki
from monitoring.node_exporter.component import NodeExporter
from monitoring.options import Mode
from monitoring.prometheus.alerts import ALERTS
from monitoring.prometheus.component import Prometheus, Watching, prometheus_endpoint
from monitoring.prometheus.configuration import INTERVAL_SECONDS
from monitoring.prometheus.monitors import Monitors, OwnSpec
from overlays.profile import Profile


def monitoring(installation: Installation, site: Site, profile: Profile, foundation: Infrastructure) -> None:
    """Create it."""
    place, options = Place("monitoring", site.namespaces.monitoring), site.monitoring
    if options.mode is Mode.OPERATOR:
        Monitors(installation, place, OwnSpec(options.operator, options.runbooks))
        Dashboards(installation, place)
        return
    own = tuple(namespace.name for namespace in namespaces(site))
    if foundation.storage.logs:
        _logs(installation, place, site, profile, foundation.storage.logs, own)
    KubeStateMetrics(installation, place, own)
    NodeExporter(installation, place)
    alerts = (*(alert for _, alert in installation.declared.alerts), *of_the_platform(installation.declared.scrapes), *ALERTS)
    alertmanager = Alertmanager(installation, place, Alerting(options.alerts, alerts, profile.monitoring.alertmanagers))
    watching = Watching(
        namespaces=own,
        retention=options.retention,
        size=volumes.monitoring(site, profile),
        pages=options.runbooks,
        alertmanagers=alertmanager.hosts,
        alerting=alertmanager.http,
        beside={CERT_MANAGER.name: _cert_manager(installation, site)},
        keda=options.keda.namespace if options.keda else None,
    )
    Prometheus(installation, place, watching)


def asked_by_keda(installation: Installation, site: Site) -> str | None:
    """The URL of the Prometheus that KEDA asks how busy workers are; None where their use of processors says how many there are."""
    options = site.monitoring
    if not (site.features.monitoring and options.keda):
        return None
    if options.mode is Mode.OPERATOR:
        return options.operator.url
    return f"http://{prometheus_endpoint(installation, Place('monitoring', site.namespaces.monitoring)).address}"


def _cert_manager(installation: Installation, site: Site) -> Endpoint:
    """The metrics of cert-manager's controller, by the Service of its chart."""
    namespace = site.tls.cert_manager_namespace
    host = installation.facts.service_host(CERT_MANAGER.name, namespace)
    return Endpoint(Pods(CERT_MANAGER.name, namespace, ()), host, CERT_MANAGER_METRICS.number, CERT_MANAGER_METRICS)


def _logs(installation: Installation, place: Place, site: Site, profile: Profile, bucket: Bucket, namespaces: tuple[str, ...]) -> None:
    """What people look at: logs beside metrics."""
    loki = Loki(installation, place, Keeping(site.monitoring.logs, bucket, profile.logs)).http
    # Who looks at other people's messages and keys is in what these say.
    audited_namespaces, audited_jobs = ((site.namespaces.li,), ("key-vault",)) if site.features.li else ((), ())
    Alloy(installation, place, Reading(namespaces, audited_namespaces, audited_jobs, loki, profile.logs))
    allowed = site.ingress.monitoring_source_ranges
    published = (site.host("grafana"), allowed) if allowed else None
    Grafana(installation, place, Showing(prometheus_endpoint(installation, place), loki, INTERVAL_SECONDS, published))
