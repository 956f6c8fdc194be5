"""What has been taken over so far, and what has not, with its place and what to do. No secret is in either."""

import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from app.moving_in.given import Given
from app.new_site import Tree, got, mistake, put

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DAY = 86_400


@frozen
class Note:
    """One option of the other installation that is not, or not as it is, in site.yaml. `place`: its file and line."""

    place: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.key}: {self.text}"


@define
class Taking:
    """A site.yaml that grows. `given`: the file that is being read."""

    given: Given
    tree: Tree
    notes: list[Note] = field(factory=list)
    at: str = ""
    """The key of the file that is being read."""

    def say(self, text: str, key: str = "") -> None:
        """Note something about what is being read, or about a part of it."""
        self.notes.append(Note(self.given.place(self.at), f"{self.at}.{key}" if key else self.at, text))

    def take(self, key: str, value: Any, of: str = "") -> bool:
        """Set an option of the site, unless it cannot be said so: that is noted. `of`: the part of what is being read."""
        if problem := mistake(key, value):
            self.say(f"not taken over: {key}: {problem}", of)
            return False
        put(self.tree, key, value)
        return True

    def into(self, key: str, name: str, value: Any, of: str = "") -> bool:
        """Set an entry of an option that is a mapping with free keys, such as `login.providers`."""
        if problem := mistake(key, {name: value}):
            self.say(f"not taken over: {key}: {problem}", of)
            return False
        put(self.tree, key, {**(got(self.tree, key) or {}), name: value})
        return True

    def secret(self, secret: str, key: str, more: str = "", of: str = "") -> None:
        """Note where a secret belongs that is not taken over."""
        self.say(f"a secret: put it into the Secret {secret}, as {key}{f'; {more}' if more else ''}", of)

    def extra(self, key: str, value: Any) -> None:
        """Pass an option of Synapse on as it is; with a secret in it, it belongs into a Secret as a whole."""
        problem = mistake("homeserver.extra", {key: value})
        if problem is None:
            put(self.tree, "homeserver.extra", _joined(got(self.tree, "homeserver.extra") or {}, {key: value}))
        elif "secret" in problem:
            self.whole_in_secret()
        else:
            self.say(f"not taken over: {problem}")

    def whole_in_secret(self, of: str = "") -> None:
        """Note that a section is to be given as a file with secrets in it, and have the site ask for that."""
        put(self.tree, "homeserver.extra_secret", True)
        self.say("has a secret: put the whole section into extra.yaml of the Secret synapse-extra (homeserver.extra_secret is set)", of)


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(one)
    for key, value in other.items():
        mine = joined.get(key)
        joined[key] = _joined(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return joined


def seconds(value: object) -> float | None:
    """A duration as Synapse reads it (synapse/config/_base.py, parse_duration), in seconds; a bare number is of milliseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value / 1000
    match = re.fullmatch(r"(\d{1,15})([smhdwy]?)", value) if isinstance(value, str) else None
    return None if match is None else int(match[1]) * _UNITS[match[2]] if match[2] else int(match[1]) / 1000


def days(value: object) -> str | None:
    """A duration in days, or None where it is not one of whole days."""
    found = seconds(value)
    return f"{int(found // _DAY)}d" if found and found % _DAY == 0 else None


def delay(value: object) -> str | None:
    """A duration in seconds, or None where it is not one of whole seconds."""
    found = seconds(value)
    return f"{int(found)}s" if found and found % 1 == 0 else None


def size(value: object) -> str | None:
    """A size as Synapse reads it (parse_size), in the units of site.yaml; rounded up to whole KiB."""
    if isinstance(value, int) and not isinstance(value, bool):
        count = value
    elif isinstance(value, str) and (match := re.fullmatch(r"(\d{1,15})([KMGT]?)", value)):
        count = int(match[1]) * _SIZES.get(match[2], 1)
    else:
        return None
    unit, per = next(((unit, per) for unit, per in (("Gi", 1024**3), ("Mi", 1024**2)) if count % per == 0), ("Ki", 1024))
    return f"{-(-count // per)}{unit}" if count > 0 else None
