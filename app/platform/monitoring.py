"""What watches the rest: it is created last, for it scrapes all that has been declared."""

from app.platform.infrastructure import namespaces
from app.site import Site
from kit.installation import Installation
from kit.place import Place
from monitoring.options import Mode
from monitoring.prometheus.component import Prometheus, Watching
from overlays.profile import Profile


def monitoring(installation: Installation, site: Site, profile: Profile) -> None:
    """Create it."""
    place = Place("monitoring", site.namespaces.monitoring)
    if site.monitoring.mode is Mode.BUNDLED:
        own = tuple(namespace.name for namespace in namespaces(site))
        Prometheus(installation, place, Watching(own, retention_days=15, size=profile.monitoring))
