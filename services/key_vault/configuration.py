"""What an installation says: a YAML file, environment variables that override it, and files that hold the secrets.

Every problem is reported at once, with what to do; no secret is ever quoted.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from attrs import field, frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from services.key_deposit.envelope import SMALLEST_RSA_BITS, AuthorityKey, read_authority_keys
from services.key_vault.cases import Officer, Role

PREFIX = "KEY_VAULT_"
SETTINGS_VARIABLE = "KEY_VAULT_SETTINGS"
SHORTEST_SECRET = 32

T = TypeVar("T")

OPTIONS = (
    *("database_host", "database_port", "database_name", "database_user", "database_password_file", "database_ca_file"),
    *("synapse_database_host", "synapse_database_port", "synapse_database_name", "synapse_database_user"),
    *("synapse_database_password_file", "synapse_database_ca_file"),
    *("application_role", "secret_key_file", "intake_token_file", "proxy_token_file", "access_token_file"),
    *("authority_public_keys_file", "signing_key_file", "officers", "officer_header", "public_url", "server_name"),
    *("country_code", "owner_identifier", "listen_address", "intake_port", "officer_port", "access_port", "metrics_port"),
    *("threads", "deposits_per_day", "longest_case_days"),
)


class ConfigurationError(Exception):
    """The settings cannot be used. The message has one problem a line."""


@frozen
class Database:
    """A PostgreSQL database. `ca_file`: the certificates that vouch for the server; None: its certificate is not checked."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    ca_file: str | None = None


@frozen
class Ports:
    """What listens for whom. Each caller has a port of its own, so that a network policy can tell them apart."""

    intake: int
    officer: int
    access: int
    metrics: int


@frozen
class Service:
    """All that the running vault must know."""

    secret_key: str = field(repr=False)
    intake_token: str = field(repr=False)
    proxy_token: str = field(repr=False)
    access_token: str = field(repr=False)
    authority_keys: tuple[AuthorityKey, ...]
    signing_key: rsa.RSAPrivateKey = field(repr=False)
    officers: Mapping[str, Officer]
    officer_header: str
    public_url: str
    server_name: str
    country_code: str
    owner_identifier: str
    listen_address: str
    ports: Ports
    threads: int
    deposits_per_day: int
    longest_case_days: int


@frozen
class Source:
    """The raw settings, and the problems that have been found with them."""

    values: Mapping[str, Any]
    problems: list[str] = field(factory=list)

    def text(self, option: str, default: str | None = None, pattern: str = r"\S(.*\S)?") -> str:
        """A text. Without a default it has to be given."""
        value = self.values.get(option, default)
        if value is None or value == "":
            if default == "":
                return ""
            self.problems.append(f"{option} is missing: set it in the file that {SETTINGS_VARIABLE} names, or as {PREFIX}{option.upper()}")
            return ""
        if not re.fullmatch(pattern, str(value)):
            self.problems.append(f"{option}: {str(value)!r} does not have the form {pattern}")
        return str(value)

    def number(self, option: str, default: int, lowest: int, highest: int) -> int:
        """A whole number within limits."""
        value = str(self.values.get(option, default))
        if not (value.isascii() and value.isdigit() and lowest <= int(value) <= highest):
            self.problems.append(f"{option}: {value!r} is not a whole number from {lowest} to {highest}")
            return default
        return int(value)

    def file(self, option: str, read: Callable[[bytes], T], otherwise: T) -> T:
        """What a file holds. `read` raises ValueError with words that follow the file's name and quote none of its content."""
        path = self.text(f"{option}")
        if not path:
            return otherwise
        try:
            return read(Path(path).read_bytes())
        except OSError as error:
            self.problems.append(f"{option}: {path} cannot be read ({error.strerror}): mount the Secret's key there")
        except ValueError as error:
            self.problems.append(f"{option}: {path} {error}")
        return otherwise

    def close(self) -> None:
        """Raise ConfigurationError if there are problems."""
        if self.problems:
            raise ConfigurationError("\n".join(self.problems))


def read_source(environment: Mapping[str, str]) -> Source:
    """Read the settings file, if one is named, and what overrides it. Raises ConfigurationError when the file cannot be read."""
    values: dict[str, Any] = {}
    problems = []
    if path := environment.get(SETTINGS_VARIABLE):
        try:
            document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigurationError(f"{path}, which {SETTINGS_VARIABLE} names, cannot be read: {error}") from None
        if not isinstance(document, dict):
            raise ConfigurationError(f"{path} has to be a YAML mapping of options")
        for option, value in document.items():
            if option in OPTIONS:
                values[option] = value
            else:
                close = difflib.get_close_matches(str(option), OPTIONS, 1)
                problems.append(f"{path}: unknown option {option!r}" + (f"; did you mean {close[0]}?" if close else ""))
    for option in OPTIONS:
        if (value := environment.get(PREFIX + option.upper())) is not None:
            values[option] = value
    return Source(values, problems)


def read_database(source: Source, kind: str = "") -> Database:
    """The database that the options `<kind>database_...` name."""
    option = f"{kind}database_"
    return Database(
        host=source.text(f"{option}host"),
        port=source.number(f"{option}port", 5432, 1, 65535),
        name=source.text(f"{option}name", None if kind else "key_vault"),
        user=source.text(f"{option}user", None if kind else "key_vault"),
        password=source.file(f"{option}password_file", _password, ""),
        ca_file=source.text(f"{option}ca_file", "") or None,
    )


def read_service(source: Source) -> Service:
    """All settings of the running vault. Problems are noted in the source."""
    ports = Ports(*(source.number(f"{name}_port", 8000 + i, 1, 65535) for i, name in enumerate(("intake", "officer", "access", "metrics"))))
    if len({ports.intake, ports.officer, ports.access, ports.metrics}) < 4:
        source.problems.append("intake_port, officer_port, access_port and metrics_port have to differ: the port tells who calls")
    tokens = {name: source.file(f"{name}_token_file", _secret, "") for name in ("intake", "proxy", "access")}
    given = [token for token in tokens.values() if token]
    if len(given) != len(set(given)):
        source.problems.append("intake_token_file, proxy_token_file and access_token_file have to hold different tokens")
    return Service(
        secret_key=source.file("secret_key_file", _secret, ""),
        intake_token=tokens["intake"],
        proxy_token=tokens["proxy"],
        access_token=tokens["access"],
        authority_keys=source.file("authority_public_keys_file", read_authority_keys, ()),
        signing_key=source.file("signing_key_file", read_signing_key, None),  # type: ignore[arg-type]  # `close` raises where it is None.
        officers=_officers(source),
        officer_header=source.text("officer_header", "X-Auth-Request-User", r"[A-Za-z0-9-]+"),
        public_url=_public_url(source),
        server_name=source.text("server_name", None, r"[A-Za-z0-9.\[\]:-]+"),
        country_code=source.text("country_code", None, r"[A-Z]{2}"),
        owner_identifier=source.text("owner_identifier"),
        listen_address=source.text("listen_address", "0.0.0.0", r"[0-9A-Fa-f.:\[\]]+"),
        ports=ports,
        threads=source.number("threads", 8, 1, 64),
        deposits_per_day=source.number("deposits_per_day", 10, 1, 1000),
        longest_case_days=source.number("longest_case_days", 90, 1, 3650),
    )


def read_signing_key(pem: bytes) -> rsa.RSAPrivateKey:
    """The key that signs exports. Raises ValueError, which does not quote it."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise ValueError("is not an RSA private key in PEM without a passphrase") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < SMALLEST_RSA_BITS:
        raise ValueError(f"is not an RSA private key of {SMALLEST_RSA_BITS} bits or more")
    return key


@cache
def service() -> Service:
    """The settings of this process. Raises ConfigurationError."""
    source = read_source(os.environ)
    read_database(source)  # Django's settings read it again; here its problems are reported with the others.
    settings = read_service(source)
    source.close()
    return settings


def _public_url(source: Source) -> str:
    url = source.text("public_url", None, r"https://[A-Za-z0-9.-]+(:[0-9]+)?/?")
    return f"https://{urlsplit(url).netloc}"


def _officers(source: Source) -> Mapping[str, Officer]:
    listed = source.values.get("officers")
    advice = "officers has to be a list of {id: ..., name: ..., roles: [investigator|approver|auditor]}"
    if isinstance(listed, str):
        source.problems.append("officers can only be set in the settings file")
        return {}
    if not isinstance(listed, list) or not listed:
        source.problems.append(f"officers is missing or empty: {advice}")
        return {}
    officers: dict[str, Officer] = {}
    for number, item in enumerate(listed, 1):
        if not isinstance(item, dict) or item.keys() != {"id", "name", "roles"} or not isinstance(item["roles"], list) or not item["roles"]:
            source.problems.append(f"officers, item {number}: {advice}")
            continue
        unknown = [role for role in item["roles"] if role not in list(Role)]
        if unknown:
            source.problems.append(f"officers, item {number}: unknown role {unknown[0]!r}: {', '.join(Role)}")
            continue
        officer = Officer(str(item["id"]), str(item["name"]), frozenset(map(Role, item["roles"])))
        if not re.fullmatch(r"[!-+\--~]{1,255}", officer.id) or officer.id == "system" or not officer.name.strip():
            source.problems.append(f"officers, item {number}: an id is printable ASCII without blanks and commas, and a name is not empty")
        elif officer.id in officers:
            source.problems.append(f"officers, item {number}: {officer.id} is listed twice")
        officers[officer.id] = officer
    return officers


def _secret(raw: bytes) -> str:
    try:
        text = raw.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError("is not ASCII") from None
    if len(text) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} characters")
    return text


def _password(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if not text:
        raise ValueError("is empty")
    return text
