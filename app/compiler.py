"""From a site and its profiles to the files of `dist/`."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING

from app.site import Site
from kit.rendering import Rendering
from overlays import Profile, ProfileError

if TYPE_CHECKING:
    from kit.installation import ObjectCache

Files = Mapping[str, str]
"""Path to text."""


def render(site: Site, profile: Profile, cache: "ObjectCache | None" = None) -> Rendering:
    """The platform of one site in one size, as data. ProfileError says what cannot be deployed in that size, and why."""
    # Here, not above: loading cdk8s takes half a second, in which `compile_site` has the other process load it too.
    from cdk8s import App

    from app.platform import assemble

    try:
        return assemble(App(), site, profile, cache).rendering()
    except ValueError as error:
        raise ProfileError("\n".join(f"profile {profile.name}: {reason}" for reason in str(error).splitlines())) from error


def render_all(site: Site, profiles: Sequence[Profile]) -> dict[str, Rendering]:
    """Profile name to rendering. What is the same in several of them is built once."""
    from kit.installation import ObjectCache

    cache = ObjectCache()
    return {profile.name: render(site, profile, cache) for profile in profiles}


def compile_site(site: Site, profiles: Sequence[Profile]) -> Files:
    """All files of `dist/` by path below it: the base, which is the smallest profile, and one overlay per profile.

    Profiles do not depend on each other, so a second process renders every other one, where there is a second core.
    """
    if len(profiles) > 1 and len(os.sched_getaffinity(0)) > 1:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as second:
            others = second.submit(render_all, site, profiles[1::2])
            renderings = render_all(site, profiles[0::2]) | others.result()
    else:
        renderings = render_all(site, profiles)
    return _files({profile.name: renderings[profile.name] for profile in profiles})


def _files(renderings: Mapping[str, Rendering]) -> Files:
    from app.layout import base_files
    from app.overlay import overlay_files

    base = next(iter(renderings.values()))
    files = {f"base/{path}": text for path, text in base_files(base).items()}
    for name, rendering in renderings.items():
        files |= {f"overlays/{name}/{path}": text for path, text in overlay_files(base, rendering).items()}
    return files
