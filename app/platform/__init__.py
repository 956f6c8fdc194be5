"""The whole system on one screen: its layers, and what each is given. One module of this package wires one layer."""

from cdk8s import App

from app.platform.antivirus import antivirus
from app.platform.edge import edge
from app.platform.infrastructure import infrastructure
from app.platform.li_instance import interception, li_instance
from app.platform.main_instance import fleet_of, main_instance
from app.platform.monitoring import monitoring
from app.site import Site
from kit.installation import Installation
from overlays.profile import Profile


def assemble(app: App, site: Site, profile: Profile) -> Installation:
    """Create every component of one installation and wire it: each is given the endpoints that it may call, and no more."""
    installation = Installation(app, profile.name, site.facts)
    foundation = infrastructure(installation, site, profile)
    scanners = antivirus(installation, site, profile, foundation) if site.features.antivirus else None
    between = interception(installation, site, profile, foundation, foundation.li_storage) if foundation.li_storage else None
    main_instance(installation, site, profile, foundation, scanners, between)
    if between:
        li_instance(installation, site, profile, foundation, between, fleet_of(site, profile).topology)
    if site.features.monitoring:
        monitoring(installation, site, profile, foundation)
    edge(installation, site)
    return installation
