"""The key vault's settings, as services/key_vault/README.md lists them, and where its secrets are mounted."""

from typing import Any

from attrs import frozen

from infrastructure.postgresql.component import Database
from kit.formats import OfficerRoles

FOLDER = "/etc/key-vault"
SECRETS_FOLDER = "/secrets/key-vault"
"""One file a secret, called like the key of the Secret."""
AUTHORITY = "/secrets/authority/authority.pem"
OWNER, APPLICATION, READER = "key_vault_owner", "key_vault", "key_vault_reader"
"""Who owns the vault's tables, who adds rows to them, and who looks up members of rooms on the other side."""

SETTINGS, MIGRATION_SETTINGS = "settings.yaml", "env-config.yaml"
OWN_SECRETS = ("intake_token", "proxy_token", "access_token", "secret_key", "signing_key")

Config = dict[str, Any]


@frozen
class KeyVaultSpec:
    """What the vault must know. `host`: of the officers' pages.

    `owner`, `application`: its own database as two roles see it. `reader`: the database of synapse-li.
    """

    server_name: str
    host: str
    officers: tuple[tuple[str, OfficerRoles], ...]
    country_code: str
    operator: str
    owner: Database
    application: Database
    reader: Database


def settings(spec: KeyVaultSpec) -> Config:
    """What the server reads."""
    reader = spec.reader
    return {
        **_database(spec.application),
        "synapse_database_host": reader.host,
        "synapse_database_name": reader.name,
        "synapse_database_user": reader.user,
        "synapse_database_password_file": "/secrets/synapse-database/password",
        **{f"{name}_token_file": f"{SECRETS_FOLDER}/{name}_token" for name in ("intake", "proxy", "access")},
        "secret_key_file": f"{SECRETS_FOLDER}/secret_key",
        "authority_public_keys_file": AUTHORITY,
        "signing_key_file": f"{SECRETS_FOLDER}/signing_key",
        "officers": [{"id": name, "name": officer.name, "roles": list(officer.roles)} for name, officer in spec.officers],
        "public_url": f"https://{spec.host}",
        "server_name": spec.server_name,
        # Each holds connections to both databases.
        "threads": 4,
        "country_code": spec.country_code,
        "owner_identifier": spec.operator,
    }


def migration_settings(spec: KeyVaultSpec) -> Config:
    """What the Job reads that makes and updates the tables."""
    return {**_database(spec.owner), "application_role": spec.application.user}


def _database(database: Database) -> Config:
    return {
        "database_host": database.host,
        "database_name": database.name,
        "database_user": database.user,
        "database_password_file": "/secrets/database/password",
        "database_ca_file": "/secrets/database-ca/ca.crt",
    }
