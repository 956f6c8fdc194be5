"""The scaling profiles: one module each, holding `PROFILE`. A module added here is a size more; nothing else has to change."""

import pkgutil
from functools import cache
from importlib import import_module

from overlays.profile import Profile, ProfileError

__all__ = ["Profile", "ProfileError", "profiles"]


@cache
def profiles() -> tuple[Profile, ...]:
    """All profiles, smallest first. ProfileError if a module breaks a rule or two have one size."""
    modules = [import_module(f"overlays.{module.name}") for module in pkgutil.iter_modules(__path__) if module.name.startswith("ccu_")]
    found = sorted((module.PROFILE for module in modules), key=lambda profile: profile.concurrent_users)
    names = [profile.name for profile in found]
    if len(set(names)) != len(names):
        raise ProfileError(f"two profiles have the same number of concurrent users: {', '.join(names)}")
    return tuple(found)
