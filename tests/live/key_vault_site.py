"""A key vault as it is deployed, on a real PostgreSQL: two roles, tables made by their owner, gunicorn with its four listeners."""

import contextlib
import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import yaml
from attrs import field, frozen
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from services.key_deposit.envelope import AuthorityKey, authority_key, seal
from tests.live.postgresql import running_postgresql
from tests.live.processes import LOOPBACK, Program, free_ports, running

ROOT = Path(__file__).parents[2]
SERVER_NAME = "example.org"
PUBLIC_HOST = "key-vault.example.org"
ANNA, BORIS, CLARA, DORA = (f"{name}@authority.example" for name in ("anna", "boris", "clara", "dora"))
"""Two investigators, an approver, an auditor."""
OFFICERS = [
    {"id": ANNA, "name": "Anna Adler", "roles": ["investigator"]},
    # Whoever may do both still cannot decide on what they have requested.
    {"id": BORIS, "name": "Boris Berg", "roles": ["investigator", "approver"]},
    {"id": CLARA, "name": "Clara Cohn", "roles": ["approver"]},
    {"id": DORA, "name": "Dora Dietz", "roles": ["auditor"]},
]
OWNER, APPLICATION = "key_vault_owner", "key_vault"


@frozen
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class PostgreSQL:
    """A running server. Its roles log in by password."""

    port: int

    def connect(self, user: str = "postgres", database: str = "key_vault") -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(host=LOOPBACK, port=self.port, user=user, password=f"password-of-{user}", dbname=database, autocommit=True)

    def make_database(self) -> None:
        with self.connect(database="postgres") as connection:
            for role in (OWNER, APPLICATION):
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'password-of-{role}'")
            connection.execute(f"CREATE DATABASE key_vault OWNER {OWNER} ENCODING 'UTF8'")


@contextlib.contextmanager
def running_database() -> Iterator[PostgreSQL]:
    """A PostgreSQL with the vault's roles and its empty database."""
    (port,) = free_ports(1)
    with running_postgresql(port, "postgres", "password-of-postgres", max_connections=120):
        server = PostgreSQL(port)
        server.make_database()
        yield server


@frozen
class VaultSite:
    """The files and the environment of a vault, and the keys that are outside the cluster."""

    folder: Path
    ports: Mapping[str, int]
    environment: Mapping[str, str]
    authority_private_key: rsa.RSAPrivateKey = field(repr=False)

    @property
    def authority(self) -> AuthorityKey:
        return authority_key(self.authority_private_key.public_key())

    def token(self, name: str) -> str:
        return (self.folder / f"{name}_token").read_text()

    def command(
        self, *words: str, user: str = APPLICATION, expect: int | None = 0, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of the vault's, as one of its roles."""
        done = subprocess.run(
            [sys.executable, "-m", "services.key_vault", *words],
            env={**os.environ, **self.environment, **_role(self.folder, user), **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert expect is None or done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done


@frozen
class Vault:
    """A running vault."""

    site: VaultSite
    program: Program

    def ask(self, listener: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, with exactly these headers besides Host and Content-Length."""
        connection = http.client.HTTPConnection(LOOPBACK, self.site.ports[listener], timeout=30)
        try:
            connection.request(method, path, body, {"Host": PUBLIC_HOST, **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def deposit(self, user_id: str, fingerprint: str | None = None, *, key: AuthorityKey | None = None, token: str | None = None) -> Answer:
        envelope = seal(
            "EsTc recovery key", key or self.site.authority, user_id=user_id, secret_storage_key_id="abc", sealed_at=1_770_000_000
        )
        body = {"user_id": user_id, "fingerprint": fingerprint or secrets.token_hex(32), "envelope": envelope.compact}
        return self.deposit_raw(json.dumps(body).encode(), token)

    def deposit_raw(self, body: bytes, token: str | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {token or self.site.token('intake')}", "Content-Type": "application/json"}
        return self.ask("intake", "POST", "/v1/recovery-keys", body, headers)

    def officer(self, officer: str, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """A request of an officer, as the authenticating proxy hands it on."""
        hop = {"X-Key-Vault-Proxy-Token": self.site.token("proxy"), "X-Auth-Request-User": officer}
        data = None if body is None else json.dumps(body).encode()
        return self.ask("officer", method, path, data, {**hop, **({"Content-Type": "application/json"} if data else {}), **headers})

    def request_case(self, officer: str = ANNA, **changes: Any) -> Answer:
        return self.officer(officer, "POST", "/api/v1/cases", case_request(**changes))

    def step(self, officer: str, case_id: str, step: str) -> Answer:
        return self.officer(officer, "POST", f"/api/v1/cases/{case_id}/{step}", {"reason": f"test: {step}"})

    def open_case(self, **changes: Any) -> str:
        """A case that Anna requested, Clara approved, and who acts first in it opened."""
        case = self.request_case(**changes).json()
        assert self.step(CLARA, case["id"], "approve").status == 200
        assert self.step(case["acting"][0], case["id"], "open").status == 200
        return str(case["id"])

    def release(self, officer: str, case_id: str, target: str) -> Answer:
        return self.officer(officer, "POST", f"/api/v1/cases/{case_id}/keys/release", {"target": target})

    def access(self, officer: str, method: str, uri: str, token: str | None = None) -> Answer:
        headers = {"X-Original-Method": method, "X-Original-URI": uri, "X-Auth-Request-User": officer}
        return self.ask("access", "GET", "/v1/access", None, {"Authorization": f"Bearer {token or self.site.token('access')}", **headers})

    def metric(self, name: str) -> float:
        """A metric's value; 0 if there is no such series."""
        for line in self.ask("metrics", "GET", "/metrics").body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0.0


def case_request(*, seconds: float = 3600, delay: float = 0, **changes: Any) -> dict[str, Any]:
    """A request that is in order, but for what is changed. The window begins now, or `delay` seconds later."""
    start = datetime.now(UTC) + timedelta(seconds=delay)
    order = {
        "AuthorisationReference": "12 Gs 345/26",
        "AuthorisationLegalType": "StPO 100a",
        "AuthorisationLegalEntity": "Amtsgericht Musterstadt",
        "AuthorisationManualInformation": "Messages of one suspect",
        "DocumentName": "order-345.pdf",
        "DocumentSHA256": "ab" * 32,
    }
    return {
        "order": order,
        "AuthorisationTimespan": {"StartTime": start.isoformat(), "EndTime": (start + timedelta(seconds=seconds)).isoformat()},
        "targets": [f"@mallory:{SERVER_NAME}"],
        "acting": [ANNA],
        **changes,
    }


def write_site(folder: Path, database: PostgreSQL, **settings: Any) -> VaultSite:
    """Write a vault's files."""
    names = ("intake", "officer", "access", "metrics")
    ports = dict(zip(names, free_ports(4), strict=True))
    authority, signing = (rsa.generate_private_key(public_exponent=65537, key_size=3072) for _ in range(2))
    pem = serialization.Encoding.PEM
    secret_files = {
        "authority.pem": authority.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
        "signing.pem": signing.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        **{name: secrets.token_urlsafe(32).encode() for name in ("intake_token", "proxy_token", "access_token", "secret_key")},
        **{f"{role}.password": f"password-of-{role}".encode() for role in (OWNER, APPLICATION)},
    }
    for name, content in secret_files.items():
        (folder / name).write_bytes(content)
    document = {
        "database_host": LOOPBACK,
        "database_port": database.port,
        "application_role": APPLICATION,
        **{f"{name}_token_file": f"{folder}/{name}_token" for name in ("intake", "proxy", "access")},
        "secret_key_file": f"{folder}/secret_key",
        "authority_public_keys_file": f"{folder}/authority.pem",
        "signing_key_file": f"{folder}/signing.pem",
        "officers": OFFICERS,
        "public_url": f"https://{PUBLIC_HOST}",
        "server_name": SERVER_NAME,
        "country_code": "DE",
        "owner_identifier": "example-operator",
        "listen_address": LOOPBACK,
        **{f"{name}_port": port for name, port in ports.items()},
        **settings,
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(document))
    environment = {"KEY_VAULT_SETTINGS": f"{folder}/settings.yaml", "PYTHONWARNINGS": "ignore"}
    return VaultSite(folder, ports, environment, authority)


@contextlib.contextmanager
def serving(site: VaultSite, user: str = APPLICATION) -> Iterator[Vault]:
    """The vault's server, ready."""
    command = [sys.executable, "-m", "services.key_vault", "serve"]
    with running(command, name="key-vault", environment={**site.environment, **_role(site.folder, user)}, folder=ROOT) as program:
        vault = Vault(site, program)
        program.ready(lambda: vault.ask("metrics", "GET", "/health/live").status == 200, 60)
        yield vault


def _role(folder: Path, user: str) -> dict[str, str]:
    return {"KEY_VAULT_DATABASE_USER": user, "KEY_VAULT_DATABASE_PASSWORD_FILE": f"{folder}/{user}.password"}
