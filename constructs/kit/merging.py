"""A site's own options of another program, beside those that the platform sets."""

from collections.abc import Mapping
from typing import Any

from kit.options import OptionError, Settings

Config = dict[str, Any]

_ELSEWHERE = "it follows from the rest of the site, and cannot be set here; remove it"


def with_extra(config: Config, extra: Settings, option: str, use: Mapping[str, str] | None = None) -> Config:
    """The configuration with a site's own options, mapping by mapping. Neither replaces what the other says.

    `option`: the key of `extra` in site.yaml. `use`: dotted options of the program to the option of the site that sets each. Raises
    OptionError, at the place in site.yaml, for what the platform sets.
    """
    return _joined(config, extra.data, option, use or {}, ())


def _joined(ours: Config, theirs: Mapping[str, Any], option: str, use: Mapping[str, str], above: tuple[str, ...]) -> Config:
    joined = dict(ours)
    for key, value in theirs.items():
        path = (*above, key)
        if key not in ours:
            joined[key] = value
        elif isinstance(ours[key], dict) and isinstance(value, Mapping):
            joined[key] = _joined(ours[key], value, option, use, path)
        else:
            raise OptionError(".".join((option, *path)), f"the platform sets {'.'.join(path)}: {_advice(path, use)}")
    return joined


def _advice(path: tuple[str, ...], use: Mapping[str, str]) -> str:
    """The option of the site for an option of the program, or for the section that it is in."""
    above = (".".join(path[:length]) for length in range(len(path), 0, -1))
    found = next((use[name] for name in above if name in use), None)
    return f"use {found}" if found else _ELSEWHERE
