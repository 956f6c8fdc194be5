"""What the scan for secrets finds in configuration files, and what it leaves in peace."""

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inspection.secret_scan import find_secrets
from kit.secrets import ALPHANUMERIC, HEX
from services.secrets.kubernetes import secret_manifest
from services.secrets.recipes import make

RANDOM = "Zk3vPq8sLw2Xy7TbNc4RmG6hJd1FaQe5"
HEXADECIMAL = "9f86d081884c7d659a2feaa0c55ad015"

SECRETS = {
    "signing key": "ed25519 a_fXyz 0wWqVbPSv7NFgCqbgTZ9oZc0Jm3b7k1h0k8nKk3pD2A",
    "signing key in JSON": '{"key": "ed25519 a_fXyz 0wWqVbPSv7NFgCqbgTZ9oZc0Jm3b7k1h0k8nKk3pD2A\\n"}',
    "private key": "    -----BEGIN PRIVATE KEY-----",
    "RSA private key": "-----BEGIN RSA PRIVATE KEY-----",
    "encrypted private key": "-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "OpenSSH private key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "private key in base64": f"tls.key: {base64.b64encode(b'-----BEGIN EC PRIVATE KEY-----').decode()}",
    "token of a service account": "value: eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg",
    "YAML": f'macaroon_secret_key: "{RANDOM}"',
    "hexadecimal": f"encryption_key: {HEXADECIMAL}",
    "INI": f"aws_secret_access_key = {RANDOM}",
    "shell": f"export MINIO_ROOT_PASSWORD={RANDOM}",
    "JSON": f'{{"secret": "{RANDOM}"}}',
    "coturn": f"static-auth-secret={RANDOM}",
    "redis": f"requirepass {RANDOM}",
    "sentinel": f"sentinel auth-pass mymaster {RANDOM}",
    "key file": f"livekit-api-key: {RANDOM}",
    "environment": f"- name: DB_PASSWORD\n  value: {RANDOM}",
    "weak environment": "- name: DB_PASSWORD\n  value: synapse",
    "weak password": "password: changeme",
    "weak password in JSON": '{"smtp_pass": "hunter2"}',
    "weak password of redis": "requirepass redis",
    "weak password of the replica": "masterauth redis",
    "URL": "uri: postgresql://synapse:synapse@main-rw:5432/synapse",
    "redis URL": "url: redis://:secret@redis:6379/0",
    "comment": f"# secret: {RANDOM}",
}

NO_SECRETS = {
    "path": "worker_replication_secret_path: /secrets/synapse/worker_replication_secret",
    "name with hash": "secretName: synapse-config-7g5k2m9h8f",
    "reference": "secretKeyRef: {name: main-app, key: password}",
    "projected": "secret:\n  secretName: matrix-platform-secrets",
    "section": "password_config:\n  enabled: false",
    "shell variable": 'requirepass "${REDIS_PASSWORD}"',
    "Grafana file": "password: $__file{/etc/grafana/password}",
    "template": 'aws_secret_access_key = {{ index . "CONSOLE_SECRET_KEY" }}',
    "URL with a variable": "uri: postgresql://synapse:$(PASSWORD)@main-rw:5432/synapse",
    "URL without a password": "redirect: https://example.org:8448/_matrix/client",
    "nothing": 'password: ""',
    "null": "smtp_pass: null",
    "digest": "image: registry.example/secret-store:1.2@sha256:0f3c1d8b5a6e7f9012b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f70819",
    "verify key": 'old_signing_keys: {"ed25519:a_fXyz": {"key": "0wWqVbPSv7NFgCqbgTZ9oZc0Jm3b7k1h0k8nKk3pD2A", "expired_ts": 1}}',
    "public key": "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo",
    "certificate": "caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=",
    "label": "app.kubernetes.io/managed-by: matrix-platform-secrets",
    "remote": "remoteRef: {key: matrix-platform/matrix/synapse, property: macaroon_secret_key}",
    "camel case": "passwordSecretKeyReferenceNamespaceSelector: automountServiceAccountToken",
    "option": "token_endpoint_auth_method: client_secret_basic",
    "SQL setting": "password_encryption: scram-sha-256",
    "verbs": "secrets: [create, get]",
    "prose": "# password: the one that the operator of the site has set",
    "revision": "checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_found_in_every_language_of_configuration(text: str) -> None:
    findings = find_secrets({"a.yaml": f"first: line\n{text}\nlast: line\n"})
    assert len(findings) == 1
    assert findings[0].line == 1 + len(text.splitlines())


@pytest.mark.parametrize("text", NO_SECRETS.values(), ids=NO_SECRETS.keys())
def test_what_only_speaks_of_secrets_is_left_in_peace(text: str) -> None:
    assert find_secrets({"a.yaml": text}) == ()


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_a_finding_does_not_tell_the_secret(text: str) -> None:
    told = " ".join(map(str, find_secrets({"a.yaml": text})))
    assert not any(word in told for word in (RANDOM, HEXADECIMAL, "hunter2", "0wWqVbPSv7NFgCqb", "changeme"))


def test_a_secret_object_with_values_is_found_and_one_without_is_not() -> None:
    with_values = "apiVersion: v1\ndata:\n  a: YQ==\nkind: Secret\n"
    assert find_secrets({"a.yaml": "kind: Secret\nstringData:\n  a: b\n"})
    assert find_secrets({"a.yaml": "kind: Secret\ndata:\n  a: YQ==\n"})
    assert find_secrets({"a.yaml": with_values}), "keys stand in any order"
    assert find_secrets({"a.yaml": "kind: Secret\nmetadata:\n  name: a\n---\nkind: ConfigMap\ndata:\n  a: b\n"}) == ()
    assert find_secrets({"a.yaml": "kind: ExternalSecret\nspec:\n  data: []\n"}) == ()


def test_every_kind_of_value_that_the_generator_makes_is_found_in_its_manifest_and_beside_its_key() -> None:
    for recipe in ({"recipe": "synapse-signing-key"}, {"recipe": "rsa-private-key", "bits": 2048}):
        assert find_secrets({"config": make(recipe)})
    manifest = secret_manifest("matrix", "synapse", "Opaque", {"key": b"value"})
    text = "\n".join(f"{key}: {value}" for key, value in manifest.items())
    assert find_secrets({"a.yaml": text})


@given(st.sampled_from([ALPHANUMERIC, HEX]), st.integers(24, 64))
def test_random_values_are_told_from_names(alphabet: str, length: int) -> None:
    """Of forty values, at the most six are missed: by chance one in a hundred short ones looks like a name."""
    values = [make({"recipe": "random-text", "length": length, "alphabet": alphabet}).decode() for _ in range(40)]
    found = find_secrets({f"{number}": f"client_secret: {value}" for number, value in enumerate(values)})
    assert len(found) >= 34


@given(st.lists(st.text(string.ascii_lowercase, min_size=2, max_size=9), min_size=1, max_size=5), st.integers(0, 99))
def test_names_are_told_from_random_values(words: list[str], number: int) -> None:
    camel = "".join(word.capitalize() for word in words if len(word) > 4)
    for name in ("-".join(words), "_".join(words), f"{''.join(words)}{number}", camel, f"/{'/'.join(words)}", ".".join(words)):
        assert find_secrets({"a": f"client_secret_name: {name}"}) == ()


def test_programs_may_name_their_variables_password() -> None:
    assert find_secrets({"module.py": "password: str = read()\n"}) == ()
    assert find_secrets({"module.py": f'secret = "{RANDOM}"\n'})


def test_bytes_that_are_no_text_are_scanned_too() -> None:
    assert find_secrets({"a.bin": b"\xff\x00-----BEGIN PRIVATE KEY-----"})
