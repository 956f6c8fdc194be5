"""The whole system on one screen: its layers, and what each is given. One module of this package wires one layer."""

from difflib import get_close_matches

from attrs import evolve
from cdk8s import App

from app.platform.antivirus import antivirus
from app.platform.edge import edge
from app.platform.infrastructure import infrastructure
from app.platform.li_instance import interception, li_instance
from app.platform.main_instance import fleet_of, main_instance
from app.platform.monitoring import monitoring
from app.site import Site
from kit.installation import Installation
from kit.options import OptionError
from kit.rendering import Manifest
from overlays import Profile, profiles


def assemble(app: App, site: Site, profile: Profile) -> Installation:
    """Create every component of one installation and wire it: each is given the endpoints that it may call, and no more."""
    installation = Installation(app, profile.name, site.facts)
    foundation = infrastructure(installation, site, profile)
    scanners = antivirus(installation, site, profile, foundation) if site.features.antivirus else None
    between = interception(installation, site, profile, foundation, foundation.storage.li) if foundation.storage.li else None
    main_instance(installation, site, profile, foundation, scanners, between)
    if between:
        li_instance(installation, site, profile, foundation, between, fleet_of(site, profile).topology)
    if site.features.monitoring:
        monitoring(installation, site, profile, foundation)
    edge(installation, site, _left(site, profile))
    _check_placement(installation, site)
    return installation


def _left(site: Site, profile: Profile) -> tuple[Manifest, ...]:
    """The objects of the size that is being left, where it is a larger one."""
    if not site.shrinking_from:
        return ()
    sizes = {size.name: size for size in profiles()}
    if site.shrinking_from not in sizes:
        raise OptionError("shrinking_from", f"there is no profile {site.shrinking_from} (profiles: {', '.join(sizes)})")
    larger = sizes[site.shrinking_from]
    if larger.concurrent_users <= profile.concurrent_users:
        return ()
    return tuple(assemble(App(), evolve(site, shrinking_from=None), larger).rendering().manifests())


def _check_placement(installation: Installation, site: Site) -> None:
    """Refuse a placement of pods that there are none of, with the name that was probably meant."""
    known = installation.declared.workloads
    for name, _ in site.placement:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(sorted(known))}"
            raise OptionError(f'placement["{name}"]', f"this site has no such component or workload; {meant}")
