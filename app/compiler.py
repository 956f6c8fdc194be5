"""From a site and its profiles to the files of `dist/`."""

from collections.abc import Mapping, Sequence

from cdk8s import App

from app.gitops.argocd import argocd_files
from app.gitops.flux import flux_files
from app.gitops.operators import operator_files
from app.layout import base_files
from app.overlay import overlay_files
from app.platform import assemble
from app.site import Site
from kit.options import OptionError
from kit.rendering import Rendering
from overlays import Profile, ProfileError

Files = Mapping[str, str]
"""Path to text."""


def render(site: Site, profile: Profile) -> Rendering:
    """The platform of one site in one size, as data.

    OptionError says which choice of the site cannot be deployed, ProfileError what cannot be in that size, and why.
    """
    try:
        return assemble(App(), site, profile).rendering()
    except OptionError:
        raise
    except ValueError as error:
        raise ProfileError("\n".join(f"profile {profile.name}: {reason}" for reason in str(error).splitlines())) from error


def compile_site(site: Site, profiles: Sequence[Profile]) -> Files:
    """All files of `dist/` by path below it: the base, which is the smallest profile, one overlay per profile, and what installs them."""
    renderings = {profile.name: render(site, profile) for profile in profiles}
    base = next(iter(renderings.values()))
    files = {f"base/{path}": text for path, text in base_files(base).items()}
    for name, rendering in renderings.items():
        files |= {f"overlays/{name}/{path}": text for path, text in overlay_files(base, rendering).items()}
    return files | {f"operators/{path}": text for path, text in operator_files(site).items()} | _gitops_files(site, renderings)


def _gitops_files(site: Site, renderings: Mapping[str, Rendering]) -> dict[str, str]:
    if site.gitops is None:
        return {}
    for name, cluster in site.gitops.clusters:
        if cluster.profile not in renderings:
            raise OptionError(
                f"gitops.clusters.{name}.profile", f"there is no profile {cluster.profile} (profiles: {', '.join(renderings)})"
            )
    return {
        **{f"argocd/{path}": text for path, text in argocd_files(site, site.gitops, renderings).items()},
        **{f"flux/{path}": text for path, text in flux_files(site, site.gitops).items()},
    }
