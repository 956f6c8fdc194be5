"""The images that a rendering uses, read from its objects alone."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from kit.rendering import Manifest


def used_images(manifests: Iterable[Manifest]) -> list[str]:
    """Every image reference, once, sorted: of pods, and of custom resources from which an operator makes pods."""
    return sorted({reference for manifest in manifests for reference in _references(manifest)})


def release(reference: str) -> str:
    """The release of the program in an image: its tag, without how often it was built here. The whole reference where it has no tag."""
    return re.sub(r"^(v?\d+(?:\.\d+)+)-\d+$", r"\1", _tag(reference)) or reference


def version(reference: str) -> tuple[int, ...]:
    """The numbers that an image's tag begins with; empty where it begins with none."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", _tag(reference))
    return tuple(map(int, found[1].split("."))) if found else ()


def _tag(reference: str) -> str:
    *_, name = reference.partition("@")[0].split("/")
    return name.partition(":")[2]


def _references(value: Any) -> Iterator[str]:
    """`image` (pods, Tenant) and `imageName` (CloudNativePG's Cluster), wherever they stand."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("image", "imageName") and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
