"""The scan worker's settings file: what is right is read, what is wrong is said."""

from pathlib import Path

import pytest
import yaml

from services.scan_worker.configuration import Cache, ConfigurationError, IcapSettings, parse, read

GOOD = {"token_file": "/secrets/token", "max_bytes": 52428800, "clamd": {"addresses": ["clamav:3310"]}}


def test_the_shortest_file_has_safe_defaults() -> None:
    settings = parse(yaml.safe_dump(GOOD))
    assert settings.clamd
    assert (settings.listen.port, settings.concurrency.scans, settings.clamd.reply_seconds) == (8080, 10, 75.0)
    assert (settings.cache, settings.icap, settings.allow_list_file) == (None, [], None)


def test_every_section_is_read() -> None:
    settings = parse(
        yaml.safe_dump(
            {
                **GOOD,
                "icap": [{"name": "other", "url": "icap://av:1344/scan"}],
                "cache": {"host": "redis", "password_file": "/secrets/redis", "keep_seconds": 60},
                "allow_list_file": "/etc/allowed",
            }
        )
    )
    assert settings.icap == [IcapSettings("other", "icap://av:1344/scan")]
    assert settings.cache == Cache("redis", password_file=Path("/secrets/redis"), keep_seconds=60)
    assert settings.allow_list_file == Path("/etc/allowed")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"token_file": None}, "None is not a path"),
        ({"max_bytes": "50M"}, "'50M' is not a whole number"),
        ({"max_bytes": True}, "True is not a whole number"),
        ({"max_bytes": 2**31}, "max_bytes: 2147483648 is not possible; give 1 to 2147483647"),
        ({"clamd": {"addresses": []}}, "give at least one address, e.g. clamav:3310"),
        ({"clamd": {"addresses": ["clamav"]}}, "'clamav' is no address: write host:port"),
        ({"clamd": {"addresses": ["clamav:99999"]}}, "'clamav:99999' is no address"),
        ({"clamd": {}}, "addresses is missing"),
        ({"clamd": {"addresses": ["a:1"], "adresses": ["b:1"]}}, "unknown: adresses; known are addresses, connect_seconds"),
        ({"clamd": None}, "there is no engine: give clamd.addresses, or icap"),
        ({"icap": [{"name": "x", "url": "http://av/scan"}]}, "is no address of an ICAP service: write icap://host:1344/service"),
        ({"icap": [{"name": "clamav", "url": "icap://av/scan"}]}, "'clamav' is not possible"),
        ({"icap": [{"name": "x", "url": "icap://av/a"}, {"name": "x", "url": "icap://av/b"}]}, "two services have the same name"),
        ({"concurrency": {"scans": 0}}, "scans: 0 is not possible; give 1 to 1000"),
        ({"cache": {"port": 1}}, "host is missing"),
        ({"colour": "red"}, "unknown: colour; known are token_file, max_bytes"),
    ],
)
def test_a_mistake_is_said_with_what_to_write(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(yaml.safe_dump({**GOOD, **change}))
    assert words in str(error.value)


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(yaml.safe_dump({"max_bytes": "big", "clamd": {"addresses": ["x"]}}))
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("text", ["", "- a", "a: [", "just words"])
def test_what_is_no_mapping_is_said(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)


def test_a_file_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: FileNotFoundError"):
        read(tmp_path / "none.yaml")
