"""Places in a structure, written as people write them: `spec.pools[0].servers`; `[]` is every item of a list.

A key with dots in it stands in quotes: `metadata.labels."app.kubernetes.io/name"`. Of a workload, `pod` is short for the specification
of its pods, and `container` for the first container of that.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Key: TypeAlias = str | int
Path: TypeAlias = tuple[Key, ...]

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "nothing"})()
"""What `find` gives for a key that an item of a list does not have."""

_STEP = re.compile(r'"([^"]+)"|\[(\d+)\]|(\[\])|([^.\[\]"]+)')
_SHORT = {"pod": ("spec", "template", "spec"), "container": ("spec", "template", "spec", "containers", 0)}


def parse(path: str) -> Path:
    """The keys of a path. `[]` stays as it is."""
    steps: list[Key] = []
    for quoted, index, every, key in _STEP.findall(path):
        steps.append(int(index) if index else quoted or every or key)
    short = _SHORT.get(str(steps[0]), ()) if steps else ()
    return (*short, *steps[1:]) if short else tuple(steps)


def dotted(path: Path) -> str:
    """A path as people write it, with `[]` for any place in a list."""
    return "".join("[]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def at(value: Any, path: Path) -> Any:
    """The one value at a path; KeyError or IndexError where it leads nowhere."""
    for key in path:
        value = value[key]
    return value


def find(value: Any, path: str) -> list[Any]:
    """The values at a path; none where it leads nowhere. An item of a list that lacks what the path names counts as ABSENT."""
    return _find(value, parse(path), inside_list=False)


def _find(value: Any, keys: Path, *, inside_list: bool) -> list[Any]:
    if not keys:
        return [value]
    key, *rest = keys
    if key == "[]":
        return [found for item in value for found in _find(item, tuple(rest), inside_list=True)]
    there = key in value if isinstance(value, Mapping) else isinstance(value, list) and isinstance(key, int) and key < len(value)
    if not there:
        return [ABSENT] if inside_list else []
    return _find(value[key], tuple(rest), inside_list=inside_list)
