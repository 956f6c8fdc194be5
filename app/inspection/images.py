"""The images that a rendering uses, read from its objects alone."""

from collections.abc import Iterable, Iterator
from typing import Any

from kit.rendering import Manifest


def used_images(manifests: Iterable[Manifest]) -> list[str]:
    """Every image reference, once, sorted: of pods, and of custom resources from which an operator makes pods."""
    return sorted({reference for manifest in manifests for reference in _references(manifest)})


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
