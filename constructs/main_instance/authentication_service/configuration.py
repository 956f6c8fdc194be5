"""The configuration of the Matrix Authentication Service, as a dictionary for the caller to dump as YAML.

It holds no secret; every secret is a file that it names. Options, and their defaults where none is set here:
https://element-hq.github.io/matrix-authentication-service/reference/configuration.html (docs/config.schema.json of release 1.22.0).
"""

from typing import Any

from attrs import field, frozen

from infrastructure.postgresql.component import Database
from kit.merging import with_extra
from kit.options import Settings
from main_instance.login.configuration import service_providers
from main_instance.login.options import LoginOptions
from main_instance.mail.configuration import service_section
from main_instance.mail.options import MailOptions
from main_instance.synapse.options import RegistrationOptions

Config = dict[str, Any]

PUBLIC_PORT = 8080
"""People and clients, and Synapse's questions about tokens."""
INTERNAL_PORT = 8081
"""`/health`, which asks the database, and `/metrics`."""
ADMINISTRATION_PORT = 8082
"""The administration API (`/api/admin/`), where a site lets administrators in."""

SECRETS_FOLDER = "/secrets/authentication-service"
ENCRYPTION_KEY, SIGNING_KEY, SHARED_SECRET = "encryption", "rsa.pem", "homeserver"
"""The files there, and the keys of the Secret: 64 hexadecimal digits and no more, an RSA key, and what Synapse knows as well."""
DATABASE_PASSWORD = "/secrets/database/password"
DATABASE_AUTHORITY = "/secrets/database-ca/ca.crt"
LOGIN_FOLDER = "/secrets/login"
"""A folder for each Secret of an identity provider."""

# An office shares one address, and the defaults let in three people and then one in twenty seconds, and one new account in twenty
# minutes. Each replica counts for itself. What protects an account is the limit per account, which stays as it is, and a password
# that is not guessed in 10^8 attempts (passwords.minimum_complexity).
RATE_LIMITS: Config = {
    "login": {"per_ip": {"burst": 100, "per_second": 1.0}},
    "registration": {"burst": 50, "per_second": 0.1},
}

# The highest version hashes new passwords. Version 1 is how Synapse has hashed: passwords that are brought over go on to work, and are
# hashed anew when their owner logs in. Numbers stand beside every hash in the database and must keep their meaning.
PASSWORD_SCHEMES: list[Config] = [
    {"version": 1, "algorithm": "bcrypt", "unicode_normalization": True},
    {"version": 2, "algorithm": "argon2id"},
]

_USE = {
    "account.password_registration_enabled": "registration.enabled",
    "http.public_base": "hosts.auth",
    "http.trusted_proxies": "ingress.trusted_proxies and cluster.pod_cidrs",
    "passwords.enabled": "login.passwords",
    "upstream_oauth2": "login.providers",
}


@frozen
class ServiceSpec:
    """What one site's service must know. `host`: where people find it; `homeserver_url`: where it finds Synapse, administration included.

    `database_connections`: the most that one replica opens. `registration`: whether people may sign up, with a token.
    """

    server_name: str
    host: str
    homeserver_url: str
    database: Database
    database_connections: int
    registration: RegistrationOptions
    login: LoginOptions = field(factory=LoginOptions)
    administration: bool = False
    """Whether administrators come in."""
    extra: Settings = field(factory=Settings)
    """Further options of the service."""
    mail: MailOptions | None = None
    """None: it sends no mail, so no address can be confirmed, and no password recovered by mail."""
    trusted_proxies: tuple[str, ...] = ()
    """Address ranges of the proxies between a client and the service. It takes a client for the last address of X-Forwarded-For that is
    none of these, or else for who has connected (crates/cli/src/app_state.rs, infer_client_ip)."""
    bind_address: str = field(default="0.0.0.0")
    """`[::]` in clusters with IPv6 only."""


def service_config(spec: ServiceSpec) -> Config:
    """The file `config.yaml`. Raises OptionError when the site's own options set what is set here."""
    config: Config = {
        "http": {
            "public_base": f"https://{spec.host}/",
            "trusted_proxies": list(spec.trusted_proxies),
            "listeners": [
                _listener("public", ("discovery", "human", "oauth", "compat", "graphql", "assets"), f"{spec.bind_address}:{PUBLIC_PORT}"),
                _listener("internal", ("health", "prometheus"), f"{spec.bind_address}:{INTERNAL_PORT}"),
                *(
                    [_listener("administration", ("adminapi",), f"{spec.bind_address}:{ADMINISTRATION_PORT}")]
                    if spec.administration
                    else []
                ),
            ],
        },
        "database": {
            "host": spec.database.host,
            "port": spec.database.port,
            "username": spec.database.user,
            "password_file": DATABASE_PASSWORD,
            "database": spec.database.name,
            "ssl_mode": "verify-full",
            "ssl_ca_file": DATABASE_AUTHORITY,
            "max_connections": spec.database_connections,
        },
        "matrix": {
            "kind": "synapse",
            "homeserver": spec.server_name,
            "endpoint": spec.homeserver_url,
            "secret_file": f"{SECRETS_FOLDER}/{SHARED_SECRET}",
        },
        "secrets": {
            "encryption_file": f"{SECRETS_FOLDER}/{ENCRYPTION_KEY}",
            "keys": [{"key_file": f"{SECRETS_FOLDER}/{SIGNING_KEY}"}],
        },
        "passwords": {"enabled": spec.login.passwords, "schemes": PASSWORD_SCHEMES},
        **({"upstream_oauth2": {"providers": providers}} if (providers := service_providers(spec.login, LOGIN_FOLDER)) else {}),
        "account": {
            "password_registration_enabled": spec.registration.enabled,
            "password_registration_token_required": True,
            "password_registration_email_required": False,
            "email_change_allowed": spec.mail is not None,
            "password_recovery_enabled": spec.mail is not None,
        },
        **({"email": service_section(spec.mail)} if spec.mail else {}),
        "rate_limiting": RATE_LIMITS,
        "telemetry": {"metrics": {"exporter": "prometheus"}},
    }
    return with_extra(config, spec.extra, "authentication_service.extra", _USE)


def _listener(name: str, resources: tuple[str, ...], address: str) -> Config:
    return {"name": name, "resources": [{"name": resource} for resource in resources], "binds": [{"address": address}]}
