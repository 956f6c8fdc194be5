"""The scaling profiles: one module each, holding `PROFILE`. A module added here is a size more; nothing else has to change."""

import pkgutil
from functools import cache
from importlib import import_module

from overlays.profile import Profile, ProfileError

__all__ = ["Profile", "ProfileError", "profiles"]


@cache
def profiles() -> tuple[Profile, ...]:
    """All profiles, smallest first. ProfileError if a module breaks a rule, is no profile, or two have one size."""
    files = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "profile"]
    if strays := [name for name in files if not name.startswith("ccu_")]:
        raise ProfileError(
            "\n".join(f"overlays/{name}.py: is no profile by its name; call it ccu_<users>.py, or remove it" for name in strays)
        )
    modules = files
    found = sorted(map(_profile, modules), key=lambda profile: profile.concurrent_users)
    names = [profile.name for profile in found]
    if len(set(names)) != len(names):
        raise ProfileError(f"two profiles have the same number of concurrent users: {', '.join(names)}")
    return tuple(found)


def _profile(module: str) -> Profile:
    file = f"overlays/{module}.py"
    try:
        profile = getattr(import_module(f"overlays.{module}"), "PROFILE", None)
    except ProfileError as error:
        raise ProfileError(f"{file}: {error}") from error
    except Exception as error:
        # A profile is written by hand: whatever is wrong with it, its author should see the file's name.
        raise ProfileError(f"{file}: {type(error).__name__}: {error}") from error
    if not isinstance(profile, Profile):
        raise ProfileError(f"{file}: has no PROFILE; write PROFILE = Profile(...)")
    return profile
