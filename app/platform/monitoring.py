"""What watches the rest: it is created last, for it scrapes all that has been declared."""

from app.platform.infrastructure import Infrastructure, namespaces
from app.site import Site
from infrastructure.object_storage.s3 import Bucket
from kit.installation import Installation
from kit.place import Place
from monitoring.alloy.component import Alloy, Reading
from monitoring.grafana.component import Dashboards, Grafana, Showing
from monitoring.loki.component import Keeping, Loki
from monitoring.options import Mode
from monitoring.prometheus.component import Prometheus, Watching, prometheus_endpoint
from monitoring.prometheus.configuration import INTERVAL_SECONDS
from overlays.profile import Profile


def monitoring(installation: Installation, site: Site, profile: Profile, foundation: Infrastructure) -> None:
    """Create it."""
    place = Place("monitoring", site.namespaces.monitoring)
    if site.monitoring.mode is Mode.OPERATOR:
        Dashboards(installation, place)
    if site.monitoring.mode is Mode.BUNDLED:
        own = tuple(namespace.name for namespace in namespaces(site))
        if foundation.logs:
            _logs(installation, place, site, profile, foundation.logs, own)
        Prometheus(installation, place, Watching(own, retention_days=15, size=profile.monitoring))


def _logs(installation: Installation, place: Place, site: Site, profile: Profile, bucket: Bucket, namespaces: tuple[str, ...]) -> None:
    """What people look at: logs beside metrics."""
    loki = Loki(installation, place, Keeping(site.monitoring.logs, bucket, profile.logs)).http
    # Who looks at other people's messages and keys is in what these say.
    audited_namespaces, audited_jobs = ((site.namespaces.li,), ("key-vault",)) if site.features.li else ((), ())
    Alloy(installation, place, Reading(namespaces, audited_namespaces, audited_jobs, loki, profile.logs))
    allowed = site.ingress.monitoring_source_ranges
    published = (site.host("grafana"), allowed) if allowed else None
    Grafana(installation, place, Showing(prometheus_endpoint(installation, place), loki, INTERVAL_SECONDS, published))
