"""The module's section of homeserver.yaml, and what is wrong with it."""

import difflib
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
from attrs import frozen

E = TypeVar("E", bound=enum.StrEnum)


class Mode(enum.StrEnum):
    """When a file is scanned."""

    BLOCK = "block"
    """Before it is stored: the upload waits for the verdict."""
    QUARANTINE = "quarantine"
    """After it is stored: what is found then is quarantined. Remote media is always scanned before it is stored."""


class Unavailable(enum.StrEnum):
    """What happens to a file about which nobody can tell."""

    FAIL_CLOSED = "fail_closed"
    """It is refused."""
    FAIL_OPEN = "fail_open"
    """It is let through, and counted."""


@frozen
class Quarantine:
    """Where Synapse's admin API is, and the file with an administrator's access token."""

    admin_url: str
    token_file: Path


@frozen
class Settings:
    """All settings.

    `url` of the scan workers; `token_file` holds their bearer token (its first line is used); `max_bytes`: larger files have no verdict;
    `timeout_seconds`: the longest that an upload waits, in the queue of scan workers that are busy; `patience_seconds`: the longest while
    nobody can tell at all, about as long as a clamd takes to start elsewhere; `max_concurrent`: files that one process has scanned at once;
    `max_background`: files that may wait for a scan after they are stored, before uploads wait again.
    """

    url: str
    token_file: Path
    max_bytes: int
    mode: Mode = Mode.BLOCK
    when_unavailable: Unavailable = Unavailable.FAIL_CLOSED
    timeout_seconds: float = 90.0
    patience_seconds: float = 20.0
    max_concurrent: int = 32
    max_background: int = 64
    quarantine: Quarantine | None = None


_KEYS = tuple(field.name for field in attrs.fields(Settings))


def parse(section: Mapping[str, Any] | None) -> Settings:
    """Read the section. Raises ValueError that says what to write."""
    section = section or {}
    _check_keys(section, _KEYS, ("url", "token_file", "max_bytes"), "")
    mode = _choice(section, "mode", Mode)
    settings = Settings(
        url=_url(section, "url"),
        token_file=_path(section, "token_file"),
        max_bytes=int(_number(section, "max_bytes", 1, 2**40, whole=True)),
        mode=mode,
        when_unavailable=_choice(section, "when_unavailable", Unavailable),
        timeout_seconds=_number(section, "timeout_seconds", 0.1, 3600),
        patience_seconds=_number(section, "patience_seconds", 0.1, 3600),
        max_concurrent=int(_number(section, "max_concurrent", 1, 1000, whole=True)),
        max_background=int(_number(section, "max_background", 0, 10_000, whole=True)),
        quarantine=_quarantine(section.get("quarantine")),
    )
    if mode is Mode.QUARANTINE and settings.quarantine is None:
        raise ValueError("mode: quarantine needs quarantine.admin_url and quarantine.token_file, with which files are quarantined")
    return settings


def _quarantine(section: Any) -> Quarantine | None:
    if section is None:
        return None
    if not isinstance(section, Mapping):
        raise ValueError("quarantine must be a mapping with admin_url and token_file")
    _check_keys(section, ("admin_url", "token_file"), ("admin_url", "token_file"), "quarantine.")
    return Quarantine(_url(section, "admin_url"), _path(section, "token_file"))


def _check_keys(section: Mapping[str, Any], known: tuple[str, ...], needed: tuple[str, ...], prefix: str) -> None:
    for key in section:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            raise ValueError(
                f"{prefix}{key} is unknown; " + (f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(known)}")
            )
    for key in needed:
        if key not in section:
            raise ValueError(f"{prefix}{key} is missing")


def _url(section: Mapping[str, Any], key: str) -> str:
    value = section[key]
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{key}: {value!r} is no address; give e.g. http://scan-worker:8080")
    return str(value).rstrip("/")


def _path(section: Mapping[str, Any], key: str) -> Path:
    if not isinstance(section[key], str) or not section[key].startswith("/"):
        raise ValueError(f"{key}: give the absolute path of a file that holds the token")
    return Path(section[key])


def _number(section: Mapping[str, Any], key: str, low: float, high: float, *, whole: bool = False) -> float:
    value = _given(section, key)
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        raise ValueError(f"{key}: {value!r} is not possible; give a {'whole ' if whole else ''}number from {low} to {high}")
    return float(value)


def _given(section: Mapping[str, Any], key: str) -> Any:
    return section.get(key, attrs.fields_dict(Settings)[key].default)


def _choice(section: Mapping[str, Any], key: str, kind: type[E]) -> E:
    value = _given(section, key)
    if value not in list(kind):
        raise ValueError(f"{key}: {value!r} is not possible; give {' or '.join(kind)}")
    return kind(value)
