"""The settings file of the scan worker, and what is wrong with it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import cattrs
import yaml
from attrs import Attribute, field, frozen

from services.scan_worker import clamd, icap
from services.scan_worker.engines import address

N = TypeVar("N", int, float)


class ConfigurationError(Exception):
    """The settings file cannot be used. Its text has a line for each mistake."""


def _between(low: N, high: N) -> Callable[[Any, "Attribute[N]", N], None]:
    def check(_: Any, attribute: "Attribute[N]", value: N) -> None:
        if not low <= value <= high:
            raise ValueError(f"{attribute.name}: {value} is not possible; give {low} to {high}")

    return check


def _addresses(_: Any, attribute: "Attribute[Sequence[str]]", value: Sequence[str]) -> None:
    if not value:
        raise ValueError(f"{attribute.name}: give at least one address, e.g. clamav:3310")
    for one in value:
        address(one)


def _service(_: Any, __: "Attribute[str]", value: str) -> None:
    icap.service(value)


def _name(_: Any, attribute: "Attribute[str]", value: str) -> None:
    if not value or not value.replace("-", "").isalnum() or value == clamd.Clamd.name:
        raise ValueError(f"{attribute.name}: {value!r} is not possible; give letters, digits and dashes, and not {clamd.Clamd.name!r}")


@frozen
class Listen:
    """Where the service listens."""

    host: str = "0.0.0.0"
    port: int = field(default=8080, validator=_between(1, 65535))


@frozen
class Concurrency:
    """How many files are scanned at once, how many wait, how long one may wait, and when those that were turned away shall come back."""

    scans: int = field(default=10, validator=_between(1, 1000))
    queue: int = field(default=200, validator=_between(0, 10_000))
    queue_seconds: float = field(default=30.0, validator=_between(0.1, 600.0))
    retry_after_seconds: int = field(default=2, validator=_between(1, 600))


@frozen
class Receive:
    """How long a sender may send nothing, and how long it may take for a file."""

    idle_seconds: float = field(default=10.0, validator=_between(0.1, 600.0))
    total_seconds: float = field(default=120.0, validator=_between(0.1, 3600.0))


@frozen
class ClamdSettings:
    """Where clamd is. Names may resolve to several addresses; each is one clamd.

    `reply_seconds` must be longer than clamd's MaxScanTime. `probe_seconds`: the longest that clamd may take for the probe, which waits
    behind the files that it has been given.
    """

    addresses: list[str] = field(validator=_addresses)
    connect_seconds: float = field(default=2.0, validator=_between(0.1, 60.0))
    probe_seconds: float = field(default=20.0, validator=_between(0.1, 600.0))
    reply_seconds: float = field(default=75.0, validator=_between(0.1, 3600.0))


@frozen
class IcapSettings:
    """An ICAP service: a name for logs and metrics, and its address."""

    name: str = field(validator=_name)
    url: str = field(validator=_service)
    connect_seconds: float = field(default=2.0, validator=_between(0.1, 60.0))
    reply_seconds: float = field(default=75.0, validator=_between(0.1, 3600.0))


@frozen
class Cache:
    """The Redis in which verdicts are kept, and for how long."""

    host: str
    port: int = field(default=6379, validator=_between(1, 65535))
    username: str | None = None
    password_file: Path | None = None
    keep_seconds: int = field(default=7 * 86400, validator=_between(1, 366 * 86400))
    timeout_seconds: float = field(default=0.5, validator=_between(0.05, 60.0))


@frozen
class Configuration:
    """All settings. `max_bytes`: the largest file, the same number as clamd's StreamMaxLength and Synapse's max_upload_size."""

    token_file: Path
    max_bytes: int = field(validator=_between(1, clamd.LARGEST_FILE))
    listen: Listen = Listen()
    concurrency: Concurrency = Concurrency()
    receive: Receive = Receive()
    clamd: ClamdSettings | None = None
    icap: list[IcapSettings] = field(factory=list)
    cache: Cache | None = None
    allow_list_file: Path | None = None
    check_seconds: float = field(default=5.0, validator=_between(0.1, 600.0))

    def __attrs_post_init__(self) -> None:
        if self.clamd is None and not self.icap:
            raise ValueError("there is no engine: give clamd.addresses, or icap")
        names = [one.name for one in self.icap]
        if len(set(names)) < len(names):
            raise ValueError("icap: two services have the same name")


def _only(kind: type, what: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        # A boolean is an integer to Python, and never one that somebody meant.
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return structure


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook(int, _only(int, "a whole number"))
    converter.register_structure_hook(str, _only(str, "a text"))
    number = _only((int, float), "a number")  # type: ignore[arg-type]
    converter.register_structure_hook(float, lambda value, kind: float(number(value, kind)))
    text = _only(str, "a path")
    converter.register_structure_hook(Path, lambda value, kind: Path(text(value, kind)))
    return converter


def _explain(error: BaseException, kind: type | None) -> str:
    match error:
        case KeyError():
            return f"{error.args[0]} is missing"
        case cattrs.errors.ForbiddenExtraKeysError():
            known = ", ".join(one.name for one in attrs.fields(error.cl))
            return f"unknown: {', '.join(sorted(error.extra_fields))}; known are {known}"
        case ValueError():
            return str(error)
    return f"not what is expected here ({type(error).__name__})" if kind is None else f"must be {kind}"


def parse(text: str) -> Configuration:
    """Read the text of a settings file. Raises ConfigurationError with all mistakes."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"not YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigurationError("must be a mapping, with at least token_file, max_bytes and clamd")
    try:
        return _converter().structure(document, Configuration)
    except Exception as error:
        # The library raises groups of errors by class, and single ones of any kind from below.
        mistakes = cattrs.transform_error(error, path="settings", format_exception=_explain)
        raise ConfigurationError("\n".join(mistakes)) from None


def read(path: Path) -> Configuration:
    """Read a settings file. Raises ConfigurationError."""
    try:
        return parse(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot be read: {type(error).__name__}") from None
