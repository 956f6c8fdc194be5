"""Synapse's configuration files, as dictionaries for the caller to dump as YAML.

Synapse merges its files by top-level key, a later file replacing a whole section (synapse/config/_base.py, read_config_files), so no
section is split over two of them. A process reads, in this order:

1. `homeserver_config`: what all processes share and what changes with the site.
2. `shard_config`: which instance writes and does what. Main's is the one in force: the others take it from the database as they start, and
   start again when it has changed (services/synapse_start).
3. `main_config` or `worker_config`: what one kind of process is alone in. Adding an elastic worker changes no file at all.
4. workers only: one line with the process's own name (process.py).

No file holds a secret; every secret is a file that the configuration names, so `--no-secrets-in-config` accepts them.
Options: https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql.component import Database
from kit.formats import OldSigningKey
from kit.merging import with_extra
from kit.network import Endpoint
from kit.quantities import Resources, mib
from kit.secrets import KeyRef
from main_instance.application_services.configuration import REGISTRATION, secret_name
from main_instance.application_services.options import ApplicationServices
from main_instance.login.configuration import LDAP_MODULE, ldap_module, synapse_providers
from main_instance.login.options import LoginOptions
from main_instance.mail.configuration import synapse_section
from main_instance.mail.options import MailOptions
from main_instance.synapse import process
from main_instance.synapse.options import FederationOptions, HomeserverOptions, MediaOptions, RateLimitOptions, RegistrationOptions
from main_instance.synapse.size import SynapseSize
from main_instance.synapse.topology import Topology
from main_instance.synapse.worker_type import Duty, Listener, WorkerType
from main_instance.synapse.workers import AUTHENTICATING, MAIN

Config = dict[str, Any]

_EVERY_ADDRESS = "0.0.0.0"

CLIENT_PORT = 8008
"""Requests of clients and servers, through the proxy."""
HEALTH_PORT = process.HEALTH_PORT
METRICS_PORT = 9001
"""Prometheus metrics, served by a thread of their own: it answers even when the process hangs, so it is no probe."""
REPLICATION_PORT = 9093
"""Requests of the other processes."""

SHARED_SECRETS = ("signing_key", "macaroon_secret_key", "form_secret", "worker_replication_secret")
"""Secrets that every process reads: the names of Synapse's options without `_path`, and the names of the files."""
MAIN_SECRETS = ("registration_shared_secret",)
"""Secrets that only main reads."""

# Per user or address, and counted by each process for itself, so that several instances let through more. Synapse's defaults suit a
# public server: a colleague who is invited to eleven rooms would wait for hours, and an office shares one address.
RATE_LIMITS: Config = {
    "rc_message": {"per_second": 5, "burst_count": 30},
    "rc_login": {
        "address": {"per_second": 5, "burst_count": 100},
        "account": {"per_second": 0.2, "burst_count": 10},
        "failed_attempts": {"per_second": 0.15, "burst_count": 5},
    },
    "rc_joins": {"local": {"per_second": 1, "burst_count": 50}, "remote": {"per_second": 0.1, "burst_count": 20}},
    "rc_joins_per_room": {"per_second": 5, "burst_count": 100},
    "rc_invites": {
        "per_room": {"per_second": 2, "burst_count": 100},
        "per_user": {"per_second": 0.1, "burst_count": 30},
        "per_issuer": {"per_second": 2, "burst_count": 100},
    },
}


# Addresses that are nobody's on the internet (IANA's registries of special-purpose addresses): what a URL preview must never fetch.
PRIVATE_NETWORKS = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("::1/128", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
)


@frozen
class Paths:
    """Where a process finds its files, and keeps its media."""

    secrets: str = process.SECRETS_FOLDER
    """The folder with the files of SHARED_SECRETS and, for main, MAIN_SECRETS."""
    log_config: str = f"{process.HOMESERVER_FOLDER}/log.yaml"
    database_password: str = process.PASSWORD_FILE
    """A libpq password file, which must belong to the process's user and be closed to all others, or libpq ignores it."""
    database_authority: str = process.DATABASE_AUTHORITY
    redis_password: str = process.REDIS_PASSWORD
    turn_secret: str = process.TURN_SECRET
    login: str = process.LOGIN_FOLDER
    authorities: str = process.AUTHORITIES
    application_services: str = process.APPLICATION_SERVICES_FOLDER
    authentication_secret: str = process.AUTHENTICATION_SECRET
    federation_authority: str = process.FEDERATION_AUTHORITY
    media_cache: str = process.MEDIA_CACHE


@frozen
class Deposit:
    """Where recovery keys go that clients deposit, the page that tells users of it, and the Secrets by which they are sealed and sent."""

    intake: Endpoint
    notice_url: str
    token: KeyRef
    fingerprint_key: KeyRef
    authority: KeyRef


@frozen
class Module:
    """A module that processes load: its class, its configuration, and the processes by the names of their types, or `main`; none for all."""

    path: str
    config: Mapping[str, Any] = field(hash=False)
    processes: frozenset[str] = frozenset()

    def loaded_by(self, name: str) -> bool:
        """Whether a process loads it."""
        return not self.processes or name in self.processes


def chosen_modules(options: HomeserverOptions) -> tuple[Module, ...]:
    """The modules of a site's own."""
    return tuple(Module(of.path, of.config.data, frozenset(of.processes)) for _, of in options.modules)


@frozen
class HomeserverSpec:
    """What one site's Synapse must know."""

    server_name: str
    """The name in user ids. It never changes."""
    host: str
    """Where clients find it."""
    database: Database
    """Reached with a verified certificate: its `host` must stand in the server's as it is written, without a final dot."""
    redis: Endpoint
    """What leads to the primary: Synapse knows no Sentinel."""
    bucket: Bucket
    """Where media is kept. Credentials come from AWS_SHARED_CREDENTIALS_FILE, a private CA from AWS_CA_BUNDLE."""
    size: SynapseSize
    media: MediaOptions = field(factory=MediaOptions)
    registration: RegistrationOptions = field(factory=RegistrationOptions)
    options: HomeserverOptions = field(factory=HomeserverOptions)
    login: LoginOptions = field(factory=LoginOptions)
    """Of the Matrix Authentication Service's concern where there is one."""
    application_services: ApplicationServices = ()
    modules: tuple[Module, ...] = ()
    """In the order in which Synapse asks them."""
    federation: FederationOptions | None = None
    """None: no other server can reach it, nor it any other."""
    old_signing_keys: tuple[tuple[str, OldSigningKey], ...] = ()
    turn: tuple[str, ...] = ()
    """The URIs of the TURN server for calls between two, such as `turn:turn.example.com?transport=udp`; it shares a secret with Synapse."""
    calls_host: str | None = None
    """Where clients find LiveKit and, for their token, lk-jwt-service."""
    authentication: Endpoint | None = None
    """The Matrix Authentication Service, which every process asks whose an access token is. None: Synapse logs people in itself."""
    reachable_networks: tuple[str, ...] = ()
    """Private CIDR ranges that Synapse may call all the same, e.g. of a push gateway in the cluster."""
    mail: MailOptions | None = None
    """None: it sends no mail."""
    client: str = ""
    """Where a mail leads to: the URL of the client for the browser."""
    reserved_prefix: str = ""
    """User names that begin so are nobody's. Empty: there are none."""
    deposit: Deposit | None = None
    """None: nobody can deposit recovery keys."""
    keeps_originals: bool = False
    """Whether what people have taken back is kept for ever."""
    paths: Paths = Paths()


def homeserver_config(spec: HomeserverSpec) -> Config:
    """What all processes share. Raises OptionError when the site's own options set what is set here or in another of the files."""
    options, paths = spec.options, spec.paths
    registration = spec.registration.enabled and not spec.authentication
    config: Config = {
        "server_name": spec.server_name,
        "public_baseurl": f"https://{spec.host}/",
        # Whoever serves the domain's website answers for it; the answer is not this process's to give.
        "serve_server_wellknown": False,
        "report_stats": False,
        **{f"{name}_path": f"{paths.secrets}/{name}" for name in SHARED_SECRETS},
        "log_config": paths.log_config,
        "worker_log_config": paths.log_config,
        "enable_metrics": True,
        "redis": {"enabled": True, "host": spec.redis.host, "port": spec.redis.port, "password_path": paths.redis_password},
        "presence": {"enabled": options.presence},
        # Accounts are made by an administrator or by single sign-on.
        "enable_registration": registration,
        **({"registration_requires_token": True} if registration else {}),
        "allow_guest_access": False,
        "require_auth_for_profile_requests": True,
        "user_directory": {"enabled": True, "search_all_users": options.search_all_users},
        "push": {"include_content": options.push_message_content},
        "redaction_retention_period": None if spec.keeps_originals else options.redaction_retention,
        # Media belongs to the workers of that type alone, whose own file says true.
        "enable_media_repo": False,
        # Every process says in /capabilities whether there are previews, so this is no option of the media workers alone.
        "url_preview_enabled": options.url_previews,
        "ip_range_whitelist": list(spec.reachable_networks),
        **_federation(spec.federation),
        **_rate_limits(options.rate_limits),
        "encryption_enabled_by_default_for_room_type": options.encryption.value,
        **_authentication(spec),
        **_passwords(spec),
        **_calls(spec.calls_host),
    }
    if features := _experimental_features(spec):
        config["experimental_features"] = features
    if spec.application_services:
        config["app_service_config_files"] = [
            f"{paths.application_services}/{secret_name(name)}/{REGISTRATION}" for name, _ in spec.application_services
        ]
    if options.message_lifetime:
        config["retention"] = {"enabled": True, "default_policy": {"max_lifetime": options.message_lifetime}}
    if spec.mail:
        config["email"] = synapse_section(spec.mail, spec.client)
    if options.url_previews:
        config["url_preview_ip_range_blacklist"] = list(PRIVATE_NETWORKS)
    if spec.turn:
        config |= {
            "turn_uris": list(spec.turn),
            "turn_shared_secret_path": paths.turn_secret,
            "turn_user_lifetime": "1h",
            "turn_allow_guests": False,
        }
    lifetimes = {"local_media_lifetime": spec.media.local_lifetime, "remote_media_lifetime": spec.media.remote_lifetime}
    if kept := {name: lifetime for name, lifetime in lifetimes.items() if lifetime}:
        config["media_retention"] = kept
    if spec.old_signing_keys:
        config["old_signing_keys"] = {name: {"key": key.public, "expired_ts": key.ended_ms} for name, key in spec.old_signing_keys}
    if options.auto_join_rooms:
        config |= {"auto_join_rooms": list(options.auto_join_rooms), "autocreate_auto_join_rooms": True}
    if notices := options.server_notices:
        config["server_notices"] = {
            "system_mxid_localpart": notices.account,
            "system_mxid_display_name": notices.display_name,
            "room_name": notices.room_name,
        }
    joined = with_extra(config | dict.fromkeys(OTHER_FILES), options.extra, "homeserver.extra", USE)
    return {name: value for name, value in joined.items() if name not in OTHER_FILES}


def shard_config(topology: Topology, address: Callable[[str], str]) -> Config:
    """Which instance writes each stream and does each duty, and where the others find it.

    `address`: the host name of an instance, given its name (`main` for the main process). Elastic workers do not appear.
    """
    return {
        "instance_map": {name: {"host": address(name), "port": REPLICATION_PORT} for name in ("main", *topology.replicating)},
        "stream_writers": {stream.value: list(names) for stream, names in topology.writers.items()},
        **{duty.value: list(names) if duty.takes_list else names[0] for duty, names in topology.duties.items()},
        # All that a process asks of another server it asks through these: keys, joins, files.
        "outbound_federation_restricted_to": list(topology.duties[Duty.SEND_FEDERATION]),
    }


def main_config(spec: HomeserverSpec) -> Config:
    """What the main process is alone in."""
    resources = ["client"]
    if spec.federation:
        resources.append("federation")
    elif spec.calls_host:
        # The service that hands out tokens for calls asks by federation who a user is (/_matrix/federation/v1/openid/userinfo).
        resources.append("openid")
    return {
        **{f"{name}_path": f"{spec.paths.secrets}/{name}" for name in MAIN_SECRETS},
        **_share(spec, spec.size.main, spec.size.connections.main),
        "listeners": [_public_listener(resources), *_internal_listeners(replicates=True)],
        **_own(spec, MAIN),
    }


def monolith_config(spec: HomeserverSpec, resources: Resources, *, stores_media: bool) -> Config:
    """What a homeserver has beside `homeserver_config` that is one process. Without `stores_media` it only fetches from the bucket."""
    return {
        **_share(spec, resources, spec.size.connections.main),
        "listeners": [_public_listener(["client", "media"]), *_internal_listeners(replicates=False)],
        "enable_media_repo": True,
        **_media(spec, stores=stores_media),
    }


def worker_config(worker: WorkerType, spec: HomeserverSpec) -> Config:
    """What one worker type is alone in; all its instances read the same file."""
    resources = [listener.value for listener in worker.listeners if spec.federation or listener is not Listener.FEDERATION]
    public = [_public_listener(resources)] if resources else []
    return {
        "worker_app": "synapse.app.generic_worker",
        **_share(spec, spec.size.of(worker.load), spec.size.connections.of(worker.load)),
        "worker_listeners": [*public, *_internal_listeners(replicates=worker.replicates)],
        **worker.settings,
        **(_media(spec) if Listener.MEDIA in worker.listeners else {}),
        **_own(spec, worker.name),
        **(_authority(spec) if calls_other_servers(worker) else {}),
    }


def calls_other_servers(worker: WorkerType) -> bool:
    """Whether it is the type that speaks to other servers itself; all others do through it."""
    return Duty.SEND_FEDERATION in worker.duties


def _authority(spec: HomeserverSpec) -> Config:
    # It takes the place of the public authorities, also for `.well-known` (synapse/crypto/context_factory.py).
    return {"federation_custom_ca_list": [spec.paths.federation_authority]} if spec.federation and spec.federation.ca_secret else {}


def log_config(level: str = "INFO", *, structured: bool = True) -> Config:
    """What is logged, to standard output: one JSON object a line, or plain text.

    `level`: a name of Python's logging. SQL is not logged at any level: it has access tokens in it.
    """
    if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError(f"log level {level!r}: one of DEBUG, INFO, WARNING, ERROR")
    formatter = (
        {"class": "synapse.logging.TerseJsonFormatter"}
        if structured
        else {"format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s"}
    )
    return {
        "version": 1,
        "formatters": {"line": formatter},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
        "loggers": {"synapse.storage.SQL": {"level": "WARNING"}},
        "root": {"level": level, "handlers": ["console"]},
        "disable_existing_loggers": False,
    }


USE = {
    "app_service_config_files": "application_services",
    "auto_join_rooms": "homeserver.auto_join_rooms",
    "enable_registration": "registration.enabled",
    "email": "mail",
    "encryption_enabled_by_default_for_room_type": "homeserver.encryption",
    "federation_domain_whitelist": "federation.allowed_domains",
    "max_upload_size": "media.max_upload_size",
    "media_retention": "media.local_lifetime and media.remote_lifetime",
    "modules": "homeserver.modules",
    "oidc_providers": "login.providers",
    "old_signing_keys": "old_signing_keys",
    "password_config": "login.passwords and homeserver.password_policy",
    "presence": "homeserver.presence",
    "public_baseurl": "hosts.matrix",
    "push": "homeserver.push_message_content",
    "rc_invites": "homeserver.rate_limits",
    "rc_joins": "homeserver.rate_limits",
    "rc_login": "homeserver.rate_limits",
    "rc_message": "homeserver.rate_limits",
    "redaction_retention_period": "homeserver.redaction_retention",
    "registration_requires_token": "registration.enabled",
    "retention": "homeserver.message_lifetime",
    "server_name": "server_name",
    "server_notices": "homeserver.server_notices",
    "trusted_key_servers": "federation.key_servers",
    "turn_uris": "features.calls",
    "url_preview_enabled": "homeserver.url_previews",
    "user_directory": "homeserver.search_all_users",
}
"""Options of Synapse to the option of the site that sets each. What is not here follows from several."""

OTHER_FILES = frozenset(
    {
        "daemonize",
        "pid_file",
        "manhole_settings",
        "send_federation",
        "start_pushers",
        "tls_certificate_path",
        "tls_private_key_path",
        "caches",
        "database",
        "instance_map",
        "stream_writers",
        "outbound_federation_restricted_to",
        "federation_custom_ca_list",
        "email",
        "listeners",
        "worker_app",
        "worker_listeners",
        "worker_name",
        "media_store_path",
        "media_storage_providers",
        "max_upload_size",
        "modules",
        "oidc_providers",
        *(duty.value for duty in Duty),
        *(f"{name}_path" for name in MAIN_SECRETS),
    }
)
"""Options of the other files, and of the command line, which `extra` must not set: the files are merged, so one of the two would be lost. And
those by which a process would be another one than its pod is."""


LOST_SERVER: Config = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "connect_timeout": 10,
}
"""By these libpq notices within a minute that a primary has vanished without a word: when it waits for it, when what it has sent is not acknowledged
(`tcp_user_timeout`, in ms; keepalives are not sent then, and Linux repeats it for a quarter of an hour), and when it connects."""


def _share(spec: HomeserverSpec, resources: Resources, connections: int) -> Config:
    """What a process of this size may take: of the database's connections, and of its own memory for caches."""
    limit = resources.memory_limit.count // mib(1).count
    return {
        "database": _database(spec, connections),
        "caches": {
            "global_factor": spec.size.cache_factor,
            # Measured by jemalloc (process.ENVIRONMENT): over the first, caches shrink until the second is reached. The rest of the limit is
            # for requests: what a large room's state takes while it is read is no cache's.
            "cache_autotuning": {
                "max_cache_memory_usage": f"{limit * 70 // 100}M",
                "target_cache_memory_usage": f"{limit * 55 // 100}M",
                "min_cache_ttl": "5m",
            },
        },
    }


def _database(spec: HomeserverSpec, connections: int) -> Config:
    database = spec.database
    return {
        "name": "psycopg2",
        "args": {
            "host": database.host,
            "port": database.port,
            "dbname": database.name,
            "user": database.user,
            "passfile": spec.paths.database_password,
            "sslmode": "verify-full",
            "sslrootcert": spec.paths.database_authority,
            # The environment's PGAPPNAME, a pod's name, goes before it.
            "fallback_application_name": "synapse",
            **LOST_SERVER,
            "cp_min": 1,
            "cp_max": connections,
        },
    }


def _federation(federation: FederationOptions | None) -> Config:
    if federation is None:
        # An empty list is the documented way to switch federation off.
        return {**_key_servers(()), "federation_domain_whitelist": [], "allow_profile_lookup_over_federation": False}
    config = _key_servers(federation.key_servers)
    if federation.allowed_domains:
        config["federation_domain_whitelist"] = list(federation.allowed_domains)
    return config


def _key_servers(names: tuple[str, ...]) -> Config:
    # Unset, it would be matrix.org, of which Synapse warns.
    return {"trusted_key_servers": [{"server_name": name} for name in names], "suppress_key_server_warning": True}


def _authentication(spec: HomeserverSpec) -> Config:
    if spec.authentication is None:
        return {}
    service = {"enabled": True, "endpoint": f"http://{spec.authentication.address}/", "secret_path": spec.paths.authentication_secret}
    # That Synapse has no login of its own beside it needs not be said: it would refuse to start (synapse/config/mas.py).
    return {"matrix_authentication_service": service}


def _rate_limits(chosen: RateLimitOptions) -> Config:
    limits: Config = {name: dict(of) for name, of in RATE_LIMITS.items()}
    for limit, section, part in (
        (chosen.messages, "rc_message", ""),
        (chosen.logins_per_address, "rc_login", "address"),
        (chosen.logins_per_account, "rc_login", "account"),
        (chosen.failed_logins, "rc_login", "failed_attempts"),
        (chosen.joins, "rc_joins", "local"),
        (chosen.invites_per_user, "rc_invites", "per_user"),
    ):
        if limit:
            said = {"per_second": limit.per_second, "burst_count": limit.burst}
            limits[section] = limits[section] | {part: said} if part else said
    return limits


def _passwords(spec: HomeserverSpec) -> Config:
    """Synapse asks no module for passwords either where `enabled` is false (synapse/handlers/auth.py, _validate_userid_login)."""
    if spec.authentication:
        return {}
    config: Config = {"enabled": spec.login.passwords or spec.login.ldap is not None, "localdb_enabled": spec.login.passwords}
    if policy := spec.options.password_policy:
        config["policy"] = {
            "enabled": True,
            "minimum_length": policy.minimum_length,
            "require_digit": policy.digit,
            "require_symbol": policy.symbol,
            "require_lowercase": policy.lower_case,
            "require_uppercase": policy.upper_case,
        }
    return {"password_config": config}


def _own(spec: HomeserverSpec, name: str) -> Config:
    """What a process alone knows because of what it does: whom it asks who somebody is, and its modules."""
    config: Config = {}
    asks = name in AUTHENTICATING and not spec.authentication
    if asks and spec.login.providers:
        config["oidc_providers"] = synapse_providers(spec.login, spec.paths.login)
    modules = [{"module": module.path, "config": dict(module.config)} for module in _modules(spec) if module.loaded_by(name)]
    if asks and spec.login.ldap:
        authority = spec.paths.authorities if spec.login.ca_secret else None
        modules.insert(0, {"module": LDAP_MODULE, "config": ldap_module(spec.login.ldap, spec.paths.login, authority)})
    return config | ({"modules": modules} if modules else {})


def _calls(host: str | None) -> Config:
    if host is None:
        return {}
    return {
        # Newer clients read `url`, older ones the other (synapse/config/matrixrtc.py).
        "matrix_rtc": {"transports": [{"type": "livekit", "url": f"wss://{host}", "livekit_service_url": f"https://{host}"}]},
        # A client schedules its own "left the call" and puts it off for as long as it lives (MSC4140), a few times a minute.
        "max_event_delay_duration": "24h",
        # Those who hand this over to lk-jwt-service share a limit: it comes from its address, without their access token.
        "rc_delayed_event_mgmt": {"per_second": 10, "burst_count": 100},
    }


def _modules(spec: HomeserverSpec) -> tuple[Module, ...]:
    """All that its processes load: those of the site and of the antivirus, and what lawful interception needs."""
    modules = spec.modules
    if spec.reserved_prefix:
        # Each process takes registrations.
        modules += (Module("services.reserved_names.module.ReservedNames", {"prefix": spec.reserved_prefix}),)
    if deposit := spec.deposit:
        config = {
            "vault_url": f"http://{deposit.intake.address}",
            "notice_url": deposit.notice_url,
            "token_file": process.DEPOSIT_TOKEN,
            "fingerprint_key_file": process.FINGERPRINT_KEY,
            "authority_public_keys_file": process.AUTHORITY_KEYS,
        }
        modules += (Module("services.key_deposit.module.KeyDeposit", config, frozenset({MAIN})),)
    return modules


def _experimental_features(spec: HomeserverSpec) -> Config:
    features: Config = {}
    if spec.calls_host:
        # The transports' endpoint, and the state that a call needs from /sync.
        features |= {"msc4143_enabled": True, "msc4222_enabled": True}
    if spec.authentication:
        # Signing in by a QR code that another device of the user shows.
        features |= {"msc4108_enabled": True}
    return features


def _media(spec: HomeserverSpec, *, stores: bool = True) -> Config:
    bucket = spec.bucket
    return {
        # Each worker writes here first, then to the bucket before it answers; what another worker has stored is fetched from there.
        "media_store_path": spec.paths.media_cache,
        "media_storage_providers": [
            {
                "module": "s3_storage_provider.S3StorageProviderBackend",
                "store_local": stores,
                "store_remote": stores,
                # Otherwise an upload is answered before, and whether, it reaches the bucket.
                "store_synchronous": True,
                "config": {
                    "bucket": bucket.name,
                    "prefix": "",
                    "endpoint_url": bucket.endpoint,
                    "region_name": bucket.region,
                },
            }
        ],
        "max_upload_size": spec.media.max_upload_size.count,
    }


def _public_listener(resources: list[str]) -> Config:
    # The proxy logs the same id, so that a request can be followed through both.
    return _http(CLIENT_PORT, resources) | {"x_forwarded": True, "request_id_header": "X-Request-ID"}


def _internal_listeners(*, replicates: bool) -> list[Config]:
    return [
        *([_http(REPLICATION_PORT, ["replication"])] if replicates else []),
        {"type": "metrics", "port": METRICS_PORT, "bind_addresses": [_EVERY_ADDRESS]},
        _http(HEALTH_PORT, ["health"]),
    ]


def _http(port: int, resources: list[str]) -> Config:
    return {"type": "http", "port": port, "bind_addresses": [_EVERY_ADDRESS], "resources": [{"names": resources}]}
