"""What the instances stand on: namespaces, object storage, PostgreSQL and Redis."""

from attrs import frozen

from app.platform import volumes
from app.platform.room import UNDELETED_DAYS, UNDELETED_DAYS_OF_A_COPY, Room, Rooms, rooms
from app.site import Site
from infrastructure.access import OperatorAccess
from infrastructure.foundation import Foundation, Namespace
from infrastructure.object_storage.buckets import Buckets, BucketsSpec
from infrastructure.object_storage.external import ExternalStorage
from infrastructure.object_storage.minio import MinioOperatorRelease, MinioTenant
from infrastructure.object_storage.options import BACKUP_STORAGE, ExternalOptions, ObjectStorageBackend
from infrastructure.object_storage.policies import (
    BACKUPS,
    LOGS,
    MEDIA,
    MEDIA_COPY,
    MEDIA_READER,
    MEDIA_SOURCE,
    MEDIA_SWEEP,
    MEDIA_SWEEP_KEEPING,
    BucketUser,
    ProvisionedBucket,
)
from infrastructure.object_storage.s3 import Bucket
from infrastructure.object_storage.silo import SiloStore
from infrastructure.object_storage.store import Store
from infrastructure.postgresql.component import PostgresCluster, PostgresSpec
from infrastructure.postgresql.external import ExternalPostgresql
from infrastructure.postgresql.options import BackupStore
from infrastructure.redis.component import RedisSentinel
from infrastructure.redis.external import ExternalRedis
from kit.installation import Installation
from kit.place import Place
from overlays.profile import Profile

_MEDIA_AND_BACKUPS = "media, and the backups of databases"
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
class BackupStorage:
    """Where backups are, apart from media. `li`: None where the lawful-intercept instance keeps its own, or where there is none."""

    main: Bucket
    li: Bucket | None


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

    if site.has_tenants:
        MinioOperatorRelease(installation, main)
    shares, apart = rooms(site, profile), _backups_apart(installation, main, lawful, site, profile)
    if external := site.object_storage.external:
        storage = _external(installation, main, lawful, site, external, apart)
    else:
        storage = _minio(installation, main, lawful, site, profile, shares, apart)
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
    size, others = volumes.database(site, profile), further_connections(site, profile)
    return PostgresCluster(installation, place, PostgresSpec(size, site.backups, storage.backups, further_connections=others))


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
        *([Namespace(names.backups)] if site.backups.object_storage.second else []),
    )


def _backups_apart(installation: Installation, main: Place, lawful: Place, site: Site, profile: Profile) -> BackupStorage | None:
    """Storage that backups have for themselves. A second MinIO is for the main instance alone: the other one has its own already."""
    if site.postgresql.external:
        return None
    names, chosen = site.object_storage.buckets, site.backups.object_storage
    if chosen.external:
        outside = ExternalStorage(installation, main, chosen.external, BACKUP_STORAGE)
        theirs = ExternalStorage(installation, lawful, chosen.external, BACKUP_STORAGE) if site.features.li else None
        return BackupStorage(outside.bucket(names.backups, "backups"), theirs.bucket(names.backups_li, "backups") if theirs else None)
    if not chosen.second:
        return None
    place = Place("infrastructure", site.namespaces.backups, "-backups")
    kind = SiloStore if chosen.backend is BackupStore.SILO else MinioTenant
    own = kind(installation, place, volumes.minio_backups(site, profile), site.object_storage.minio, "the backups of databases")
    bucket = own.bucket(names.backups, "backups")
    made = (ProvisionedBucket(names.backups, keep_deleted_days=UNDELETED_DAYS),)
    Buckets(installation, own, BucketsSpec(made, ((BucketUser("backups", bucket.name, BACKUPS), bucket),)))
    return BackupStorage(own.seen_from(main.namespace, bucket), None)


def _external(
    installation: Installation, main: Place, lawful: Place, site: Site, options: ExternalOptions, apart: BackupStorage | None
) -> Storage:
    """Object storage that others run: media, backups and logs of the main instance, and what the other one has."""
    names = site.object_storage.buckets
    storage = ExternalStorage(installation, main, options)
    media, backups = storage.bucket(names.media, "media"), apart.main if apart else None
    if not apart and not site.postgresql.external:
        backups = storage.bucket(names.backups, "backups")
    sweep = storage.bucket(names.media, "media-sweep", "list, with versions, and delete from") if site.media.remove_deleted else None
    logs = storage.bucket(names.logs, "logs") if site.keeps_logs else None
    if not site.features.li:
        return Storage(media, backups, sweep, logs, None)
    own = ExternalStorage(installation, lawful, options)
    source, reader = own.bucket(names.media, "source", "read and list"), own.bucket(names.media_li, "reader", "read")
    backups_li = apart.li if apart and apart.li else own.bucket(names.backups_li, "backups")
    return Storage(media, backups, sweep, logs, LiStorage(source, own.bucket(names.media_li, "mirror"), reader, backups_li))


def _minio(
    installation: Installation, main: Place, lawful: Place, site: Site, profile: Profile, shares: Rooms, apart: BackupStorage | None
) -> Storage:
    """The same in MinIO: one for each instance, whose users may do what they must and no more.

    What may grow without bounds has a quota. Backups have none: PostgreSQL stops when its archive takes nothing more, and their room is kept free.
    """
    names = site.object_storage.buckets
    keeps_backups = not apart and not site.postgresql.external
    store = _store(installation, main, site, volumes.minio_main(site, profile), keeps_backups=keeps_backups)
    media, backups = store.bucket(names.media, "media"), apart.main if apart else None
    made, users = [_with_quota(names.media, shares.main, site.media.keep_removed_days)], [(BucketUser("media", media.name, MEDIA), media)]
    if keeps_backups:
        backups = store.bucket(names.backups, "backups")
        made.append(ProvisionedBucket(backups.name, keep_deleted_days=UNDELETED_DAYS))
        users.append((BucketUser("backups", backups.name, BACKUPS), backups))
    sweep = store.bucket(media.name, "media-sweep") if site.media.remove_deleted else None
    if sweep:
        access = MEDIA_SWEEP_KEEPING if site.media.keep_removed_days else MEDIA_SWEEP
        users.append((BucketUser("media-sweep", sweep.name, access), sweep))
    logs = store.bucket(names.logs, "logs") if site.keeps_logs else None
    if logs:
        made.append(ProvisionedBucket(logs.name, quota=shares.main.logs if shares.main else None))
        users.append((BucketUser("logs", logs.name, LOGS), logs))
    li_storage = None
    if site.features.li:
        source = store.bucket(names.media, LI_SYNC)
        users.append((BucketUser(LI_SYNC, names.media, MEDIA_SOURCE), source))
        theirs = store.seen_from(lawful.namespace, source)
        li_storage = _minio_li(installation, lawful, site, profile, shares.li, theirs, apart.li if apart else None)
    Buckets(installation, store, BucketsSpec(tuple(made), tuple(users)))
    return Storage(media, backups, sweep, logs, li_storage)


def _minio_li(
    installation: Installation,
    lawful: Place,
    site: Site,
    profile: Profile,
    share: Room | None,
    source: Bucket,
    backups_apart: Bucket | None,
) -> LiStorage:
    """That of the lawful-intercept instance."""
    names = site.object_storage.buckets
    own = _store(installation, lawful, site, volumes.minio_li(site, profile), keeps_backups=backups_apart is None)
    mirror, reader = own.bucket(names.media_li, "mirror"), own.bucket(names.media_li, "reader")
    backups = backups_apart or own.bucket(names.backups_li, "backups")
    made = [_with_quota(names.media_li, share)]
    users = [(BucketUser("mirror", names.media_li, MEDIA_COPY), mirror), (BucketUser("reader", names.media_li, MEDIA_READER), reader)]
    if not backups_apart:
        made.append(ProvisionedBucket(names.backups_li, keep_deleted_days=UNDELETED_DAYS_OF_A_COPY))
        users.append((BucketUser("backups", names.backups_li, BACKUPS), backups))
    Buckets(installation, own, BucketsSpec(tuple(made), tuple(users)))
    return LiStorage(source, mirror, reader, backups)


def _store(installation: Installation, place: Place, site: Site, pools: volumes.Pools, *, keeps_backups: bool) -> Store:
    kind = SiloStore if site.object_storage.backend is ObjectStorageBackend.SILO else MinioTenant
    return kind(installation, place, pools, site.object_storage.minio, _MEDIA_AND_BACKUPS if keeps_backups else "media")


def _with_quota(name: str, share: Room | None, keep_deleted_days: int | None = None) -> ProvisionedBucket:
    return ProvisionedBucket(name, keep_deleted_days, quota=share.media if share else None)
