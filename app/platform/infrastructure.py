"""What the instances stand on: namespaces, object storage, PostgreSQL and Redis."""

from attrs import frozen

from app.site import Site
from infrastructure.access import OperatorAccess
from infrastructure.foundation import Foundation, Namespace
from infrastructure.object_storage.buckets import Buckets, BucketsSpec
from infrastructure.object_storage.external import ExternalStorage
from infrastructure.object_storage.minio import MinioOperatorRelease, MinioTenant
from infrastructure.object_storage.options import ExternalOptions
from infrastructure.object_storage.policies import (
    BACKUPS,
    LOGS,
    MEDIA,
    MEDIA_COPY,
    MEDIA_READER,
    MEDIA_SOURCE,
    MEDIA_SWEEP,
    BucketUser,
    ProvisionedBucket,
)
from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql.component import PostgresCluster, PostgresSpec
from infrastructure.postgresql.external import ExternalPostgresql
from infrastructure.redis.component import RedisSentinel
from infrastructure.redis.external import ExternalRedis
from kit.installation import Installation
from kit.place import Place
from overlays.profile import Profile

LI_SYNC = "li-sync"
"""The user of main's object storage that copies media to the lawful-intercept instance."""


@frozen
class LiStorage:
    """The buckets of the lawful-intercept instance: `mirror` and `reader` are two users of its copy of `source`, main's bucket of media."""

    source: Bucket
    mirror: Bucket
    reader: Bucket
    backups: Bucket


@frozen
class Storage:
    """The buckets, each as its user sees it."""

    media: Bucket
    backups: Bucket | None
    """None: the platform has no database of its own."""
    media_sweep: Bucket | None
    """That of media, as the user sees it who removes what was deleted; None where nobody does."""
    logs: Bucket | None
    """None: nobody keeps logs."""
    li: LiStorage | None
    """None: there is no lawful-intercept instance."""


@frozen
class Infrastructure:
    """What the instances stand on."""

    postgresql: PostgresCluster | ExternalPostgresql
    redis: RedisSentinel | ExternalRedis
    storage: Storage


def infrastructure(installation: Installation, site: Site, profile: Profile) -> Infrastructure:
    """Create it. The lawful-intercept instance has object storage of its own."""
    main, lawful = place(site), Place("infrastructure", site.namespaces.li, "-li")
    root = Place("", site.namespaces.main)
    Foundation(installation, root, namespaces(site))
    OperatorAccess(installation, root)

    if external := site.object_storage.external:
        storage = _external(installation, main, lawful, site, external)
    else:
        storage = _minio(installation, main, lawful, site, profile)
    return Infrastructure(_postgresql(installation, main, site, profile, storage), _redis(installation, main, site, profile), storage)


def further_connections(site: Site, profile: Profile) -> int:
    """Of the database, beside those of Synapse: all replicas of the authentication service, and one more that comes as another goes."""
    return profile.synapse.connections.light * (profile.haproxy.replicas + 1) if site.features.authentication_service else 0


def _postgresql(
    installation: Installation, place: Place, site: Site, profile: Profile, storage: Storage
) -> PostgresCluster | ExternalPostgresql:
    if storage.backups is None:
        assert site.postgresql.external  # noqa: S101 - it must be given with its backend
        return ExternalPostgresql(installation, place, site.postgresql.external)
    others = further_connections(site, profile)
    return PostgresCluster(installation, place, PostgresSpec(profile.postgresql, site.backups, storage.backups, further_connections=others))


def _redis(installation: Installation, place: Place, site: Site, profile: Profile) -> RedisSentinel | ExternalRedis:
    if external := site.redis.external:
        return ExternalRedis(installation, place, external)
    return RedisSentinel(installation, place, profile.redis, measured=site.features.monitoring)


def place(site: Site) -> Place:
    """Where the main instance's own infrastructure stands, and what all instances share."""
    return Place("infrastructure", site.namespaces.main)


def namespaces(site: Site) -> tuple[Namespace, ...]:
    """Those of the features that are on."""
    names = site.namespaces
    calls = Namespace(
        names.rtc,
        "privileged",
        "LiveKit and coturn are in the network of their nodes, because clients reach thousands of their UDP ports; they have no other rights.",
    )
    return (
        Namespace(names.main),
        *([Namespace(names.li)] if site.features.li else []),
        *([calls] if site.features.calls else []),
        *([Namespace(names.monitoring)] if site.features.monitoring else []),
    )


def _external(installation: Installation, main: Place, lawful: Place, site: Site, options: ExternalOptions) -> Storage:
    """Object storage that others run: media, backups and logs of the main instance, and what the other one has."""
    names = site.object_storage.buckets
    storage = ExternalStorage(installation, main, options)
    media, backups = storage.bucket(names.media, "media"), None if site.postgresql.external else storage.bucket(names.backups, "backups")
    sweep = storage.bucket(names.media, "media-sweep", "list, with versions, and delete from") if site.media.remove_deleted else None
    logs = storage.bucket(names.logs, "logs") if site.keeps_logs else None
    if not site.features.li:
        return Storage(media, backups, sweep, logs, None)
    own = ExternalStorage(installation, lawful, options)
    source, reader = own.bucket(names.media, "source", "read and list"), own.bucket(names.media_li, "reader", "read")
    theirs = LiStorage(source, own.bucket(names.media_li, "mirror"), reader, own.bucket(names.backups_li, "backups"))
    return Storage(media, backups, sweep, logs, theirs)


def _minio(installation: Installation, main: Place, lawful: Place, site: Site, profile: Profile) -> Storage:
    """The same in MinIO: a tenant for each instance, whose users may do what they must and no more."""
    MinioOperatorRelease(installation, main)
    names, options = site.object_storage.buckets, site.object_storage.minio
    tenant = MinioTenant(installation, main, profile.minio, options)
    media, backups = tenant.bucket(names.media, "media"), None if site.postgresql.external else tenant.bucket(names.backups, "backups")
    made, users = [ProvisionedBucket(media.name)], [(BucketUser("media", media.name, MEDIA), media)]
    if backups:
        made.append(_kept(backups.name))
        users.append((BucketUser("backups", backups.name, BACKUPS), backups))
    sweep = tenant.bucket(media.name, "media-sweep") if site.media.remove_deleted else None
    if sweep:
        users.append((BucketUser("media-sweep", sweep.name, MEDIA_SWEEP), sweep))
    logs = tenant.bucket(names.logs, "logs") if site.keeps_logs else None
    if logs:
        made.append(ProvisionedBucket(logs.name))
        users.append((BucketUser("logs", logs.name, LOGS), logs))
    li_storage = None
    if site.features.li:
        own = MinioTenant(installation, lawful, profile.minio_li, options)
        source = tenant.bucket(names.media, LI_SYNC)
        users.append((BucketUser(LI_SYNC, names.media, MEDIA_SOURCE), source))
        li_storage = LiStorage(
            tenant.seen_from(lawful.namespace, source),
            own.bucket(names.media_li, "mirror"),
            own.bucket(names.media_li, "reader"),
            own.bucket(names.backups_li, "backups"),
        )
        theirs = (
            (BucketUser("mirror", names.media_li, MEDIA_COPY), li_storage.mirror),
            (BucketUser("reader", names.media_li, MEDIA_READER), li_storage.reader),
            (BucketUser("backups", names.backups_li, BACKUPS), li_storage.backups),
        )
        copies = (ProvisionedBucket(names.media_li), _kept(names.backups_li))
        Buckets(installation, own, BucketsSpec(copies, theirs))
    Buckets(installation, tenant, BucketsSpec(tuple(made), tuple(users)))
    return Storage(media, backups, sweep, logs, li_storage)


def _kept(backups: str) -> ProvisionedBucket:
    """A bucket of backups: who has its keys cannot destroy them at once."""
    return ProvisionedBucket(backups, keep_deleted_days=7)
