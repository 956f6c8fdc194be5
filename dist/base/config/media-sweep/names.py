"""Which media an object of the bucket belongs to, by its name (synapse/media/filepath.py)."""

import re

from attrs import frozen

_ID = r"(?P<a>[A-Za-z]{2})/(?P<b>[A-Za-z]{2})/(?P<rest>[A-Za-z]+)"
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"local_content/{_ID}",
        rf"local_thumbnails/{_ID}/[^/]+",
        rf"remote_content/(?P<origin>[^/]+)/{_ID}",
        rf"remote_thumbnail/(?P<origin>[^/]+)/{_ID}/[^/]+",
    )
)


@frozen
class Media:
    """One upload, or one copy of another server's. `identifier`: of the latter the name of its file, which is not the one that clients use."""

    origin: str | None
    identifier: str


def media_of(name: str) -> Media | None:
    """The media of an object, or None for a name that Synapse does not give: such an object is nobody's business here."""
    for pattern in _NAMES:
        if found := pattern.fullmatch(name):
            parts = found.groupdict()
            return Media(parts.get("origin"), parts["a"] + parts["b"] + parts["rest"])
    return None
