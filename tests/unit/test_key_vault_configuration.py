"""The vault's settings: every mistake is reported at once, with what to do, and without quoting a secret."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from services.key_vault.configuration import ConfigurationError, Service, read_database, read_service, read_source

TOKEN = "0123456789abcdef0123456789abcdef"


@cache
def keys() -> tuple[bytes, bytes]:
    """A private key and its public half, in PEM."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    pem = serialization.Encoding.PEM
    return (
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
    )


def settings(folder: Path, files: Mapping[str, bytes] | None = None, **changes: Any) -> dict[str, str]:
    """The environment of a site that is in order, but for what is changed. An option that is changed to None is left out."""
    private, public = keys()
    content = {"signing": private, "authority": public, "password": b"not-so-secret\n"}
    content |= {f"{name}_token": f"{name}{TOKEN}".encode() for name in ("intake", "proxy", "access")}
    content |= {"secret_key": TOKEN.encode(), **(files or {})}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    document = {
        "database_host": "vault-rw",
        "database_password_file": f"{folder}/password",
        **{f"{name}_token_file": f"{folder}/{name}_token" for name in ("intake", "proxy", "access")},
        "secret_key_file": f"{folder}/secret_key",
        "authority_public_keys_file": f"{folder}/authority",
        "signing_key_file": f"{folder}/signing",
        "officers": [{"id": "anna@example.org", "name": "Anna", "roles": ["investigator"]}],
        "public_url": "https://key-vault.example.org",
        "server_name": "example.org",
        "country_code": "DE",
        "owner_identifier": "example",
        **changes,
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    return {"KEY_VAULT_SETTINGS": f"{folder}/settings.yaml"}


def read(environment: Mapping[str, str]) -> Service:
    source = read_source(environment)
    read_database(source)
    service = read_service(source)
    source.close()
    return service


def test_a_site_in_order_is_read(tmp_path: Path) -> None:
    service = read(settings(tmp_path))
    assert service.ports.intake == 8000
    assert service.officers["anna@example.org"].name == "Anna"
    assert service.intake_token == f"intake{TOKEN}"


def test_an_environment_variable_overrides_the_file(tmp_path: Path) -> None:
    assert read({**settings(tmp_path), "KEY_VAULT_SERVER_NAME": "other.org"}).server_name == "other.org"


def test_no_secret_stands_in_what_is_printed_of_the_settings(tmp_path: Path) -> None:
    environment = settings(tmp_path)
    assert TOKEN not in repr(read(environment))
    assert "not-so-secret" not in repr(read_database(read_source(environment)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"database_host": None},
            "database_host is missing: set it in the file that KEY_VAULT_SETTINGS names, or as KEY_VAULT_DATABASE_HOST",
        ),
        ({"databse_host": "x"}, "unknown option 'databse_host'; did you mean database_host?"),
        ({"intake_port": 8001}, "have to differ"),
        ({"intake_port": 0}, "intake_port: '0' is not a whole number from 1 to 65535"),
        (
            {"intake_token_file": "/nowhere"},
            "intake_token_file: /nowhere cannot be read (No such file or directory): mount the Secret's key there",
        ),
        ({"officers": []}, "officers is missing or empty"),
        ({"officers": [{"id": "anna"}]}, "officers, item 1"),
        ({"officers": [{"id": "anna", "name": "Anna", "roles": ["boss"]}]}, "unknown role 'boss': investigator, approver, auditor"),
        ({"officers": [{"id": "an,na", "name": "Anna", "roles": ["auditor"]}]}, "without blanks and commas"),
        ({"officers": [{"id": "system", "name": "Anna", "roles": ["auditor"]}]}, "an id is printable"),
        ({"officers": [{"id": "a", "name": "A", "roles": ["auditor"]}] * 2}, "a is listed twice"),
        ({"public_url": "http://key-vault.example.org"}, "public_url"),
        ({"country_code": "Germany"}, "country_code: 'Germany'"),
        ({"longest_case_days": "many"}, "longest_case_days: 'many'"),
    ],
)
def test_a_mistake_is_reported_with_what_to_do(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(settings(tmp_path, **change))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("intake_token", b"short-secret", "shorter than 32"),
        ("intake_token", "secret-ä".encode() * 8, "not ASCII"),
        ("password", b"\n", "is empty"),
        ("password", b"secret\xff", "not UTF-8"),
        ("signing", b"secret", "is not an RSA private key in PEM"),
        ("authority", b"secret", "no public key"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_and_not_quoted(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(settings(tmp_path, {name: content}))
    assert message in str(caught.value)
    assert f"{tmp_path}/{name}" in str(caught.value)
    assert "secret\n" not in str(caught.value)
    assert "short-secret" not in str(caught.value)


def test_the_authoritys_private_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must never come near the cluster"):
        read(settings(tmp_path, {"authority": keys()[0]}))


def test_callers_cannot_share_a_token(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="different tokens"):
        read(settings(tmp_path, {"proxy_token": f"intake{TOKEN}".encode()}))


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(settings(tmp_path, database_host=None, server_name=None, country_code="x"))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("content", ["[1]", "a: [", "\tx"])
def test_a_file_that_is_not_a_mapping_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.yaml").write_text(content)
    with pytest.raises(ConfigurationError, match=r"settings\.yaml"):
        read({"KEY_VAULT_SETTINGS": f"{tmp_path}/settings.yaml"})
