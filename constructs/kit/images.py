"""The image lock: every container image by its short name, with what a pod must know about it."""

import re
import tomllib
from datetime import date
from functools import cache
from pathlib import Path

from attrs import evolve, frozen

LOCK_FILE = Path(__file__).parents[2] / "images.toml"


@frozen
class Image:
    """One entry of the lock.

    `user` is the numeric user id (and group id, unless `group` differs) for `runAsUser`: the kubelet refuses
    `runAsNonRoot` for images whose USER is a name. `built`: made from this repository, so its registry is the site's.
    `released`: the day of this release, where it is known and its tag does not say it.
    """

    name: str
    repository: str
    tag: str
    licence: str
    user: int
    group: int
    digest: str | None = None
    built: bool = False
    released: date | None = None
    instead: str | None = None
    """The reference of the site's own image, in place of this one."""

    @property
    def containerfile(self) -> str:
        """Where it is made of, if it is built: in the repository, with `services` for its context."""
        return f"services/{self.repository.replace('-', '_')}/Containerfile"

    @property
    def day(self) -> date | None:
        """When it was released, as far as that is known."""
        told = re.search(r"20\d{2}-\d{2}-\d{2}", self.tag)
        return self.released or (date.fromisoformat(told[0]) if told else None)

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


LONG_WITHOUT_RELEASE = 150
"""Days after which somebody should look whether a repository still has releases: the one of object storage was renamed, and nothing said so."""


def without_release(today: date) -> list[str]:
    """The images whose release is old, with what to do: one line each."""
    ages = {image: (today - image.day).days for image in image_lock().values() if image.day}
    return [
        f"images.toml: {image.repository}:{image.tag} is {days} days old: look whether there is a newer one, or whether the repository has moved"
        for image, days in ages.items()
        if days > LONG_WITHOUT_RELEASE
    ]
