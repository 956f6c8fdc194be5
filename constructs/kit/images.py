"""The image lock: every container image by its short name, with what a pod must know about it."""

import tomllib
from functools import cache
from pathlib import Path

from attrs import evolve, frozen

LOCK_FILE = Path(__file__).parents[2] / "images.toml"


@frozen
class Image:
    """One entry of the lock.

    `user` is the numeric user id (and group id, unless `group` differs) for `runAsUser`: the kubelet refuses
    `runAsNonRoot` for images whose USER is a name. `built`: made from this repository, so its registry is the site's.
    """

    name: str
    repository: str
    tag: str
    licence: str
    user: int
    group: int
    digest: str | None = None
    built: bool = False
    instead: str | None = None
    """The reference of the site's own image, in place of this one."""

    @property
    def containerfile(self) -> str:
        """Where it is made of, if it is built: in the repository, with `services` for its context."""
        return f"services/{self.repository.replace('-', '_')}/Containerfile"

    def reference(self, registry: str, mirror: str | None = None) -> str:
        """What goes into a pod: `registry` holds the images that are built, `mirror` replaces the host of all others."""
        if self.instead:
            return self.instead
        if self.built:
            repository = f"{registry}/{self.repository}"
        elif mirror is None:
            repository = self.repository
        else:
            repository = f"{mirror}/{self.repository.partition('/')[2]}"
        return f"{repository}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


@cache
def image_lock() -> dict[str, Image]:
    """All images by name."""
    entries = tomllib.loads(LOCK_FILE.read_text())
    return {name: Image(name=name, group=entry.pop("group", entry["user"]), **entry) for name, entry in entries.items()}


def pinned(text: str, name: str, digest: str) -> str:
    """The text of the lock with another digest of one image, below its tag; all else stays as it was written."""
    lines, within = [], False
    for line in text.splitlines():
        if line.startswith("["):
            within = line == f"[{name}]"
        if within and line.startswith("digest = "):
            continue
        lines.append(line)
        if within and line.startswith("tag = "):
            lines.append(f'digest = "{digest}"')
    return "\n".join(lines) + "\n"


def image(name: str, instead: str | None = None) -> Image:
    """The image called `name` in images.toml, or the site's own in its place. ValueError if there is none."""
    if name not in image_lock():
        raise ValueError(f"images.toml has no image {name!r}: add it there, with its tag, licence and user")
    return evolve(image_lock()[name], instead=instead)
