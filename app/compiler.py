"""From a site and its profiles to the files of `dist/`."""

from collections.abc import Mapping, Sequence

from cdk8s import App

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
    """All files of `dist/` by path below it: the base, which is the smallest profile, and one overlay per profile."""
    renderings = {profile.name: render(site, profile) for profile in profiles}
    base = next(iter(renderings.values()))
    files = {f"base/{path}": text for path, text in base_files(base).items()}
    for name, rendering in renderings.items():
        files |= {f"overlays/{name}/{path}": text for path, text in overlay_files(base, rendering).items()}
    return files
