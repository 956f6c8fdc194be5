"""Synapse's configuration files, as dictionaries for the caller to dump as YAML.

Synapse merges its files by top-level key, a later file replacing a whole section (synapse/config/_base.py, read_config_files), so no
section is split over two of them. A process reads, in this order:

1. `homeserver_config`: what all processes share and what changes with the site.
2. `shard_config`: which instance writes and does what. A change of it means a restart of every process.
3. `main_config` or `worker_config`: what one kind of process is alone in. Adding an elastic worker changes no file at all.
4. workers only: one line with the process's own name (process.py).

No file holds a secret; every secret is a file that the configuration names, so `--no-secrets-in-config` accepts them.
Options: https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from kit.quantities import Bytes, mib
from main_instance.synapse.topology import Topology
from main_instance.synapse.worker_type import Duty, Listener, WorkerType

Config = dict[str, Any]

CLIENT_PORT = 8008
"""Requests of clients and servers, through the proxy."""
HEALTH_PORT = 8080
"""`/health` and nothing else: a probe never waits behind requests of users."""
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
class Database:
    """A PostgreSQL database, reached with a verified certificate and a password from a libpq password file.

    `passfile` must belong to the process's user and be closed to all others, or libpq ignores it. Every process opens `pool_minimum` to
    `pool_maximum` connections. `host` must stand in the server's certificate as it is written here, without a final dot.
    """

    host: str
    name: str
    user: str
    passfile: str
    root_certificate: str
    port: int = 5432
    pool_minimum: int = 1
    pool_maximum: int = 10

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.pool_minimum <= self.pool_maximum:
            raise ValueError(f"a pool of {self.pool_minimum} to {self.pool_maximum} connections: need 1 <= minimum <= maximum")


@frozen
class Redis:
    """The Redis primary, by one address that follows it: Synapse knows no Sentinel. `password_path`: a file with the password."""

    host: str
    password_path: str
    port: int = 6379


@frozen
class S3Bucket:
    """Where media is kept. Credentials come from AWS_SHARED_CREDENTIALS_FILE, a private CA from AWS_CA_BUNDLE."""

    bucket: str
    endpoint_url: str
    region: str
    prefix: str = ""


@frozen
class Media:
    """Files that users upload: kept in `storage`, with a cache in the folder `cache` of each media worker.

    `modules`: Synapse modules that the media workers load, e.g. to inspect uploads.
    """

    storage: S3Bucket
    cache: str
    max_upload_size: Bytes = field(default=mib(100))
    modules: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)


@frozen
class Federation:
    """Other servers may reach this one. `domains`: only these (None: all). `trusted_key_servers`: asked for the keys of other servers."""

    domains: tuple[str, ...] | None = None
    trusted_key_servers: tuple[str, ...] = ()


@frozen
class Turn:
    """A TURN server for calls between two: `uris` such as `turn:turn.example.com?transport=udp`; the secret is shared with it."""

    uris: tuple[str, ...]
    shared_secret_path: str
    user_lifetime: str = "1h"


@frozen
class MatrixRtc:
    """Group calls over LiveKit. `livekit_service_url`: where clients get their token for the SFU (lk-jwt-service); `url`: the SFU itself."""

    livekit_service_url: str
    url: str
    max_event_delay: str = "24h"


@frozen
class AuthenticationService:
    """The Matrix Authentication Service, which has the accounts' passwords and sessions in place of Synapse.

    `endpoint`: its URL within the cluster, which every process calls to learn whose an access token is. `secret_path`: a file with the
    secret by which the two know each other.
    """

    endpoint: str
    secret_path: str


@frozen
class UrlPreviews:
    """Synapse fetches the pages that messages link to, but none in PRIVATE_NETWORKS or in `blocked_networks` (CIDR ranges)."""

    blocked_networks: tuple[str, ...] = ()


@frozen
class HomeserverSpec:
    """What one site's Synapse must know. Paths are as the processes see them."""

    server_name: str
    """The name in user ids. It never changes."""
    public_baseurl: str
    """Where clients find it: an https URL."""
    secrets: str
    """The folder with the files of SHARED_SECRETS and, for main, MAIN_SECRETS."""
    log_config: str
    """The file with `log_config()`."""
    database: Database
    redis: Redis
    media: Media
    cache_factor: float = 1.0
    """Multiplies the sizes of all caches of every process."""
    registration: bool = False
    """Whether people may sign up themselves, with a token that an administrator has given them."""
    presence: bool = True
    """Whether users see who is online: the one most expensive feature."""
    federation: Federation | None = None
    """None: no other server can reach it, nor it any other."""
    turn: Turn | None = None
    calls: MatrixRtc | None = None
    authentication: AuthenticationService | None = None
    """None: Synapse logs people in itself."""
    url_previews: UrlPreviews | None = None
    reachable_networks: tuple[str, ...] = ()
    """Private CIDR ranges that Synapse may call all the same, e.g. of a push gateway in the cluster."""
    redaction_retention: str | None = "7d"
    """How long the original of a redacted message is kept; None: for ever."""
    message_lifetime: str | None = None
    """After what time all messages are deleted, e.g. `365d`; None: never."""
    search_all_users: bool = True
    """Whether the user directory finds everybody, or only people in public or shared rooms."""
    push_message_content: bool = False
    """Whether push notifications carry the text of unencrypted messages to the push gateways of Apple and Google."""
    rate_limits: Mapping[str, Any] = field(default=RATE_LIMITS, hash=False)
    experimental_features: Mapping[str, Any] = field(factory=dict, hash=False)
    """Switches of unfinished features; those that group calls and the authentication service need are set already."""
    bind_address: str = "0.0.0.0"
    """`::` in clusters with IPv6 only."""
    extra: Mapping[str, Any] = field(factory=dict, hash=False)
    """Further top-level options, e.g. `oidc_providers`. Options that this module writes are refused."""

    def __attrs_post_init__(self) -> None:
        if not self.public_baseurl.startswith("https://"):
            raise ValueError(f"public_baseurl {self.public_baseurl!r} is no https URL")
        if self.registration and self.authentication:
            raise ValueError("registration: where the authentication service has the accounts, people sign up there")


def homeserver_config(spec: HomeserverSpec) -> Config:
    """What all processes share. Raises ValueError when `spec.extra` sets an option that is set here or in another of the files."""
    config: Config = {
        "server_name": spec.server_name,
        "public_baseurl": spec.public_baseurl,
        # Whoever serves the domain's website answers for it; the answer is not this process's to give.
        "serve_server_wellknown": False,
        "report_stats": False,
        **{f"{name}_path": f"{spec.secrets}/{name}" for name in SHARED_SECRETS},
        "log_config": spec.log_config,
        "worker_log_config": spec.log_config,
        "enable_metrics": True,
        "database": _database(spec.database),
        "redis": {"enabled": True, "host": spec.redis.host, "port": spec.redis.port, "password_path": spec.redis.password_path},
        "caches": {"global_factor": spec.cache_factor},
        "presence": {"enabled": spec.presence},
        # Accounts are made by an administrator or by single sign-on.
        "enable_registration": spec.registration,
        **({"registration_requires_token": True} if spec.registration else {}),
        "allow_guest_access": False,
        "require_auth_for_profile_requests": True,
        "user_directory": {"enabled": True, "search_all_users": spec.search_all_users},
        "push": {"include_content": spec.push_message_content},
        "redaction_retention_period": spec.redaction_retention,
        # Media belongs to the workers of that type alone, whose own file says true.
        "enable_media_repo": False,
        # Every process says in /capabilities whether there are previews, so this is no option of the media workers alone.
        "url_preview_enabled": spec.url_previews is not None,
        "ip_range_whitelist": list(spec.reachable_networks),
        **_federation(spec.federation),
        **spec.rate_limits,
        **_authentication(spec.authentication),
        **_calls(spec),
    }
    if features := _experimental_features(spec):
        config["experimental_features"] = features
    if spec.message_lifetime:
        config["retention"] = {"enabled": True, "default_policy": {"max_lifetime": spec.message_lifetime}}
    if spec.url_previews:
        config["url_preview_ip_range_blacklist"] = [*PRIVATE_NETWORKS, *spec.url_previews.blocked_networks]
    if spec.turn:
        config |= {
            "turn_uris": list(spec.turn.uris),
            "turn_shared_secret_path": spec.turn.shared_secret_path,
            "turn_user_lifetime": spec.turn.user_lifetime,
            "turn_allow_guests": False,
        }
    taken = sorted(spec.extra.keys() & (config.keys() | _OTHER_FILES))
    if taken:
        raise ValueError(f"extra: {', '.join(taken)}: these options are set from the other fields of the specification")
    return config | dict(spec.extra)


def shard_config(topology: Topology, address: Callable[[str], str]) -> Config:
    """Which instance writes each stream and does each duty, and where the others find it.

    `address`: the host name of an instance, given its name (`main` for the main process). Elastic workers do not appear.
    """
    return {
        "instance_map": {name: {"host": address(name), "port": REPLICATION_PORT} for name in ("main", *topology.replicating)},
        "stream_writers": {stream.value: list(names) for stream, names in topology.writers.items()},
        **{duty.value: list(names) if duty.takes_list else names[0] for duty, names in topology.duties.items()},
    }


def main_config(spec: HomeserverSpec) -> Config:
    """What the main process is alone in."""
    resources = ["client"]
    if spec.federation:
        resources.append("federation")
    elif spec.calls:
        # The service that hands out tokens for calls asks by federation who a user is (/_matrix/federation/v1/openid/userinfo).
        resources.append("openid")
    return {
        **{f"{name}_path": f"{spec.secrets}/{name}" for name in MAIN_SECRETS},
        "listeners": [_public_listener(resources, spec.bind_address), *_internal_listeners(spec.bind_address, replicates=True)],
    }


def worker_config(kind: WorkerType, spec: HomeserverSpec) -> Config:
    """What one worker type is alone in; all its instances read the same file."""
    resources = [listener.value for listener in kind.listeners if spec.federation or listener is not Listener.FEDERATION]
    public = [_public_listener(resources, spec.bind_address)] if resources else []
    return {
        "worker_app": "synapse.app.generic_worker",
        "worker_listeners": [*public, *_internal_listeners(spec.bind_address, replicates=kind.replicates)],
        **kind.settings,
        **(_media(spec.media) if Listener.MEDIA in kind.listeners else {}),
    }


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


# Options of the other files, which `extra` must not set: the files are merged, so one of the two would be lost.
_OTHER_FILES = frozenset(
    {
        "instance_map",
        "stream_writers",
        "listeners",
        "worker_app",
        "worker_listeners",
        "worker_name",
        "media_store_path",
        "media_storage_providers",
        "max_upload_size",
        "modules",
        *(duty.value for duty in Duty),
        *(f"{name}_path" for name in MAIN_SECRETS),
    }
)


def _database(database: Database) -> Config:
    return {
        "name": "psycopg2",
        "args": {
            "host": database.host,
            "port": database.port,
            "dbname": database.name,
            "user": database.user,
            "passfile": database.passfile,
            "sslmode": "verify-full",
            "sslrootcert": database.root_certificate,
            # The environment's PGAPPNAME, a pod's name, goes before it.
            "fallback_application_name": "synapse",
            # A primary that vanished without a word is noticed within a minute.
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "cp_min": database.pool_minimum,
            "cp_max": database.pool_maximum,
        },
    }


def _federation(federation: Federation | None) -> Config:
    servers = federation.trusted_key_servers if federation else ()
    config: Config = {
        # Unset, it would be matrix.org.
        "trusted_key_servers": [{"server_name": name} for name in servers],
        "suppress_key_server_warning": True,
    }
    if federation is None:
        # An empty list is the documented way to switch federation off.
        return config | {"federation_domain_whitelist": [], "allow_profile_lookup_over_federation": False}
    if federation.domains is not None:
        config["federation_domain_whitelist"] = list(federation.domains)
    return config


def _authentication(service: AuthenticationService | None) -> Config:
    if service is None:
        return {}
    # That Synapse has no login of its own beside it needs not be said: it would refuse to start (synapse/config/mas.py).
    return {"matrix_authentication_service": {"enabled": True, "endpoint": service.endpoint, "secret_path": service.secret_path}}


def _calls(spec: HomeserverSpec) -> Config:
    if spec.calls is None:
        return {}
    return {
        # Newer clients read `url`, older ones the other (synapse/config/matrixrtc.py).
        "matrix_rtc": {"transports": [{"type": "livekit", "url": spec.calls.url, "livekit_service_url": spec.calls.livekit_service_url}]},
        # A client schedules its own "left the call" and puts it off for as long as it lives (MSC4140), a few times a minute.
        "max_event_delay_duration": spec.calls.max_event_delay,
        # Those who hand this over to lk-jwt-service share a limit: it comes from its address, without their access token.
        "rc_delayed_event_mgmt": {"per_second": 10, "burst_count": 100},
    }


def _experimental_features(spec: HomeserverSpec) -> Config:
    features: Config = {}
    if spec.calls:
        # The transports' endpoint, and the state that a call needs from /sync.
        features |= {"msc4143_enabled": True, "msc4222_enabled": True}
    if spec.authentication:
        # Signing in by a QR code that another device of the user shows.
        features |= {"msc4108_enabled": True}
    return features | dict(spec.experimental_features)


def _media(media: Media) -> Config:
    storage = media.storage
    config: Config = {
        # Each worker writes here first, then to the bucket before it answers; what another worker has stored is fetched from there.
        "media_store_path": media.cache,
        "media_storage_providers": [
            {
                "module": "s3_storage_provider.S3StorageProviderBackend",
                "store_local": True,
                "store_remote": True,
                # Otherwise an upload is answered before, and whether, it reaches the bucket.
                "store_synchronous": True,
                "config": {
                    "bucket": storage.bucket,
                    "prefix": storage.prefix,
                    "endpoint_url": storage.endpoint_url,
                    "region_name": storage.region,
                },
            }
        ],
        "max_upload_size": media.max_upload_size.count,
    }
    if media.modules:
        config["modules"] = [dict(module) for module in media.modules]
    return config


def _public_listener(resources: list[str], address: str) -> Config:
    # The proxy logs the same id, so that a request can be followed through both.
    return _http(CLIENT_PORT, resources, address) | {"x_forwarded": True, "request_id_header": "X-Request-ID"}


def _internal_listeners(address: str, *, replicates: bool) -> list[Config]:
    return [
        *([_http(REPLICATION_PORT, ["replication"], address)] if replicates else []),
        {"type": "metrics", "port": METRICS_PORT, "bind_addresses": [address]},
        _http(HEALTH_PORT, ["health"], address),
    ]


def _http(port: int, resources: list[str], address: str) -> Config:
    return {"type": "http", "port": port, "bind_addresses": [address], "resources": [{"names": resources}]}
