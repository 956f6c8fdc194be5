"""The module's section of homeserver.yaml: what is right is read, what is wrong is said."""

from pathlib import Path
from typing import Any

import pytest

from services.synapse_antivirus.configuration import Mode, Quarantine, Settings, Unavailable, parse

GOOD: dict[str, Any] = {"url": "http://scan-worker:8080/", "token_file": "/secrets/token", "max_bytes": 52428800}


def test_the_shortest_section_blocks_and_fails_closed() -> None:
    assert parse(GOOD) == Settings("http://scan-worker:8080", Path("/secrets/token"), 52428800, Mode.BLOCK, Unavailable.FAIL_CLOSED)


def test_every_setting_is_read() -> None:
    quarantine = {"admin_url": "http://haproxy:8008", "token_file": "/secrets/admin"}
    more = {"mode": "quarantine", "when_unavailable": "fail_open", "timeout_seconds": 10, "max_concurrent": 3, "max_background": 0}
    settings = parse({**GOOD, **more, "quarantine": quarantine})
    assert (settings.mode, settings.when_unavailable) == (Mode.QUARANTINE, Unavailable.FAIL_OPEN)
    assert (settings.timeout_seconds, settings.max_concurrent, settings.max_background) == (10.0, 3, 0)
    assert settings.quarantine == Quarantine("http://haproxy:8008", Path("/secrets/admin"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"moed": "block"}, r"moed is unknown; did you mean mode\?"),
        ({"colour": 1}, "colour is unknown; known are url"),
        ({"mode": "allow"}, "mode: 'allow' is not possible; give block or quarantine"),
        ({"when_unavailable": True}, "when_unavailable: True is not possible; give fail_closed or fail_open"),
        ({"url": "scan-worker:8080"}, "url: .* is no address; give e.g. http://scan-worker:8080"),
        ({"url": 5}, "url: 5 is no address"),
        ({"url": "http://user@host"}, "is no address"),
        ({"token_file": "token"}, "token_file: give the absolute path"),
        ({"max_bytes": "50M"}, "max_bytes: '50M' is not possible; give a whole number"),
        ({"max_bytes": True}, "max_bytes: True is not possible"),
        ({"timeout_seconds": 0}, "timeout_seconds: 0 is not possible; give a number from 0.1 to 3600"),
        ({"max_concurrent": 0}, "max_concurrent: 0 is not possible"),
        ({"mode": "quarantine"}, "mode: quarantine needs quarantine.admin_url and quarantine.token_file"),
        ({"quarantine": []}, "quarantine must be a mapping"),
        ({"quarantine": {"admin_url": "http://x"}}, "quarantine.token_file is missing"),
        ({"quarantine": {"admin_ulr": "http://x"}}, r"did you mean quarantine\.admin_url\?"),
    ],
)
def test_a_mistake_is_said_with_what_to_write(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse({**GOOD, **change})


@pytest.mark.parametrize("section", [None, {}])
def test_an_empty_section_says_what_is_missing(section: dict[str, Any] | None) -> None:
    with pytest.raises(ValueError, match="url is missing"):
        parse(section)
