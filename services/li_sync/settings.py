"""What the program is told: one YAML file without secrets. Each secret is a file that it names, read when it is needed."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cattrs
import yaml
from attrs import field, frozen, validators
from cattrs import transform_error

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")


class InvalidSettings(Exception):  # noqa: N818 - a state of the file
    """The settings file cannot be used. The message names each key that is wrong and says what to write."""


def _positive(_: object, attribute: Any, value: float) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name}: {value} is not positive")


def _not_negative(_: object, attribute: Any, value: float | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"{attribute.name}: {value} is negative; give 0 or more, or null for ever")


def _port(_: object, attribute: Any, value: int) -> None:
    if not 0 < value < 65536:
        raise ValueError(f"{attribute.name}: {value} is no TCP port; give a number from 1 to 65535")


def _identifier(_: object, attribute: Any, value: str) -> None:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{attribute.name}: {value!r} is no name for PostgreSQL; use at most 40 of a-z, 0-9 and _, and begin with a letter"
        )


def _absolute(_: object, attribute: Any, value: Path) -> None:
    if not value.is_absolute():
        raise ValueError(f"{attribute.name}: {str(value)!r} is relative; give the whole path, e.g. /run/secrets/...")


def read_secret(path: Path) -> str:
    """The first line of a secret's file. Raises InvalidSettings, which never quotes it, for one that is missing, unreadable or empty."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read ({type(error).__name__}): mount the Secret there") from None
    if not text:
        raise InvalidSettings(f"{path} is empty: put the secret into it")
    return text


@frozen
class Database:
    """How to reach one PostgreSQL database as one role."""

    host: str
    database: str = field(validator=_identifier)
    user: str = field(validator=_identifier)
    password_file: Path = field(validator=_absolute)
    port: int = field(default=5432, validator=_port)
    sslmode: str = field(default="verify-full", validator=validators.in_(["disable", "require", "verify-ca", "verify-full"]))
    sslrootcert: Path | None = field(default=None, validator=validators.optional(_absolute))
    """The certificate authority that the server's certificate is checked against, as the one who connects sees the file."""
    channel_binding: str = field(default="prefer", validator=validators.in_(["disable", "prefer", "require"]))
    """`require`: the server has to prove that it knows the password and that nobody is between, which stands in for its certificate."""

    def parameters(self) -> dict[str, str]:
        """As libpq wants them, with the password."""
        found = {
            "host": self.host,
            "port": str(self.port),
            "dbname": self.database,
            "user": self.user,
            "password": read_secret(self.password_file),
            "sslmode": self.sslmode,
            "channel_binding": self.channel_binding,
        }
        return found | ({"sslrootcert": str(self.sslrootcert)} if self.sslrootcert else {})


@frozen
class Main:
    """The main instance's database, which is never written to but for identities, publication and grants."""

    owner: Database
    """A role that is a member of the owner of Synapse's tables. Used by `prepare` and `rebuild` alone."""
    replication: Database
    """The role with REPLICATION that LI's PostgreSQL connects as, and that compares both sides. It may only read what is published."""


@frozen
class Li:
    """LI's own database cluster."""

    owner: Database
    """The owner of the database; with CREATEDB, and a member of pg_create_subscription, pg_signal_backend and pg_read_all_stats."""
    synapse_role: str = field(default="synapse_li", validator=_identifier)
    follower_role: str = field(default="li_follow", validator=_identifier)
    reader_role: str | None = field(default=None, validator=validators.optional(_identifier))
    """Who looks up in which rooms people are, for the access check of cases. None: nobody."""
    maintenance_database: str = field(default="postgres", validator=_identifier)
    """Where the locks live, which must outlive the swap of databases."""
    reserved_prefix: str = field(default="", validator=validators.matches_re(r"[a-z0-9._=/-]*"))
    """Accounts whose localpart begins so exist on LI alone: they are no difference, and `rebuild` carries them over. Empty: there are none."""


@frozen
class Subscription:
    """The logical replication from main to LI."""

    name: str = field(default="li", validator=_identifier)
    """Also the publication's, and what names of slots begin with."""
    sslrootcert: Path | None = field(default=None, validator=validators.optional(_absolute))
    """The certificate authority of main's server, as LI's PostgreSQL sees the file. None: as this program sees it."""
    failover: bool = True
    """Let main's standbys have the slot too (PostgreSQL 17: sync_replication_slots), so that it survives their promotion."""
    copy_seconds: float = field(default=86_400, validator=_positive)
    """How long the initial copy may take."""


@frozen
class RedisServer:
    """One Redis or Valkey server."""

    host: str
    port: int = field(default=6379, validator=_port)
    password_file: Path | None = field(default=None, validator=validators.optional(_absolute))
    username: str | None = None

    def password(self) -> str | None:
        """The password, if it wants one."""
        return read_secret(self.password_file) if self.password_file else None

    def url(self) -> str:
        """As Celery wants it, with the password: never to be printed."""
        password = self.password()
        login = f"{quote(self.username or '', safe='')}:{quote(password, safe='')}@" if password else ""
        return f"redis://{login}{self.host}:{self.port}/0"


@frozen
class Follow:
    """The feeder: from LI's database to LI's Synapse."""

    database: Database
    redis: RedisServer
    """The one that LI's Synapse uses, never main's."""
    server_name: str
    """Synapse's, which is the name of the channel."""
    interval_seconds: float = field(default=0.3, validator=_positive)
    main_process: str = "main-master"
    """What LI's `stream_writers` call main's main process, whose own name (`master`) LI's main process has."""
    metrics_port: int = field(default=9108, validator=_port)


@frozen
class Bucket:
    """One S3 bucket, as one user."""

    endpoint: str = field(validator=validators.matches_re(r"https?://[^/]+/?"))
    name: str
    keys: Path = field(validator=_absolute)
    """A folder with the files `access-key` and `secret-key`."""
    region: str = "us-east-1"
    path_style: bool = True
    ca_file: Path | None = field(default=None, validator=validators.optional(_absolute))
    prefix: str = ""


@frozen
class Media:
    """Main's media and LI's own copy of it."""

    source: Bucket
    target: Bucket
    keep_deleted_seconds: float | None = field(default=0.0, validator=_not_negative)
    """How long LI keeps media that is deleted on main, from when `mirror_media` finds it deleted; null: for ever."""
    largest_bytes: int = field(default=5 * 1024**3, validator=_positive)
    """A larger object is an error: one upload cannot hold more than 5 GiB."""
    threads: int = field(default=4, validator=_positive)


@frozen
class Workload:
    """LI's Synapse in Kubernetes, restarted as `kubectl rollout restart` does."""

    namespace: str
    name: str
    kind: str = field(default="deployments", validator=validators.in_(["deployments", "statefulsets"]))
    api: str = "https://kubernetes.default.svc"
    account: Path = field(default=Path("/var/run/secrets/kubernetes.io/serviceaccount"), validator=_absolute)


@frozen
class Refresh:
    """How LI's Synapse is restarted."""

    health: str
    """The URL that answers 200 once it serves, e.g. http://synapse-li:8008/health."""
    workload: Workload | None = None
    command: list[str] | None = None
    """What to run where there is no Kubernetes."""
    seconds: float = field(default=300, validator=_positive)

    def __attrs_post_init__(self) -> None:
        if (self.workload is None) == (self.command is None):
            raise ValueError("refresh: give either `workload` or `command`")


@frozen
class Schedule:
    """When tasks run by themselves. Intervals in seconds; null: not by itself."""

    watch: float | None = 10
    prepare: float | None = 3600
    verify: float | None = 300
    mirror_new_media: float | None = 5
    mirror_media: float | None = 3600
    refresh: str | None = "30 3 * * *"
    """In cron's five fields (minute, hour, day of month, month, day of week), UTC."""

    def __attrs_post_init__(self) -> None:
        for name in ("watch", "prepare", "verify", "mirror_new_media", "mirror_media"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"schedule.{name}: {value} is less than a second; give a longer interval, or null for never")
        if self.refresh is not None and len(self.refresh.split()) != 5:
            raise ValueError(f"schedule.refresh: {self.refresh!r} has not five fields; write e.g. 30 3 * * *, or null for never")


@frozen
class Verify:
    """How closely both sides are compared."""

    sample_rows: int = field(default=200, validator=_positive)
    """Rows of each table whose hashes are compared, on each side."""
    count_up_to: int = field(default=2_000_000, validator=validators.ge(0))
    """Tables with more rows than this (by the planner's estimate) are not counted; their samples are compared all the same."""
    seconds: float = field(default=120, validator=_positive)
    """How long LI may take to reach main's position."""


@frozen
class Settings:
    """Everything."""

    state: Path = field(validator=_absolute)
    """The folder of checkpoints, on a volume."""
    broker: RedisServer
    """Celery's own Redis."""
    main: Main
    li: Li
    follow: Follow
    media: Media
    refresh: Refresh
    subscription: Subscription = Subscription()
    schedule: Schedule = Schedule()
    verify: Verify = Verify()
    pg_dump: str = "pg_dump"
    """Of main's PostgreSQL version or newer."""
    statement_seconds: float = field(default=600, validator=_positive)
    """The longest that one SQL statement may take, other than the initial copy."""


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    # YAML gives typed scalars, so that a number in place of a name is a mistake and not its spelling.
    for kind, what in ((str, "a text"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(kind, _exactly(kind, what))
    converter.register_structure_hook(float, lambda value, _: float(_exactly((int, float), "a number")(value, float)))
    converter.register_structure_hook(Path, lambda value, _: Path(_exactly(str, "a path")(value, str)))
    return converter


def _exactly(kind: type | tuple[type, ...], what: str) -> Any:
    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{value!r} is not {what}")
        return value

    return structure


def parse_settings(text: str, name: str = "settings") -> Settings:
    """Settings from a YAML document. Raises InvalidSettings with every mistake that it has."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidSettings(f"{name} is no YAML: {error}") from None
    if not isinstance(document, dict):
        raise InvalidSettings(f"{name} has to be a mapping; services/li_sync/README.md shows one")
    try:
        return _converter().structure(document, Settings)
    except Exception as error:
        problems = "\n".join("  " + problem.replace("@ .", "@ ") for problem in transform_error(error, path="", format_exception=_problem))
        raise InvalidSettings(f"{name} cannot be used:\n{problems}") from None


def _problem(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing: give it"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(error.extra_fields))}; services/li_sync/README.md lists the keys"
    return str(error) or f"is not {kind}"


def read_settings(path: Path) -> Settings:
    """Settings from a file. Raises InvalidSettings."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {type(error).__name__}") from None
    return parse_settings(text, str(path))
