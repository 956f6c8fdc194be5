"""What the instances stand on: namespaces, object storage, PostgreSQL and Redis."""

from attrs import frozen

from app.site import Site
from infrastructure.access import OperatorAccess
from infrastructure.foundation import Foundation, Namespace
from infrastructure.object_storage.buckets import Buckets, BucketsSpec
from infrastructure.object_storage.external import ExternalStorage
from infrastructure.object_storage.minio import MinioOperatorRelease, MinioTenant
from infrastructure.object_storage.policies import BACKUPS, LOGS, MEDIA, BucketUser, ProvisionedBucket
from infrastructure.object_storage.s3 import Bucket
from infrastructure.postgresql.component import PostgresCluster, PostgresSpec
from infrastructure.redis.component import RedisSentinel
from kit.installation import Installation
from kit.place import Place
from overlays.profile import Profile


@frozen
class Infrastructure:
    """What the main instance stands on."""

    postgresql: PostgresCluster
    redis: RedisSentinel
    media: Bucket
    logs: Bucket | None
    """None: nobody keeps logs."""


def infrastructure(installation: Installation, site: Site, profile: Profile) -> Infrastructure:
    """Create it. The lawful-intercept instance has object storage of its own."""
    main, lawful = place(site), Place("infrastructure", site.namespaces.li, "-li")
    root = Place("", site.namespaces.main)
    Foundation(installation, root, namespaces(site))
    OperatorAccess(installation, root)

    if site.object_storage.external:
        storage = ExternalStorage(installation, main, site.object_storage.external)
        names = site.object_storage.buckets
        media, backups = storage.bucket(names.media, "media"), storage.bucket(names.backups, "backups")
        logs = storage.bucket(names.logs, "logs") if site.keeps_logs else None
    else:
        MinioOperatorRelease(installation, main)
        media, backups, logs = _tenant(installation, main, site, profile)
        if site.features.li:
            _tenant(installation, lawful, site, profile)

    # All replicas of the authentication service, and one more that comes as another goes.
    others = profile.synapse.connections.light * (profile.haproxy.replicas + 1) if site.features.authentication_service else 0
    postgresql = PostgresCluster(installation, main, PostgresSpec(profile.postgresql, site.backups, backups, further_connections=others))
    return Infrastructure(postgresql, RedisSentinel(installation, main, profile.redis, measured=site.features.monitoring), media, logs)


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


def _tenant(installation: Installation, place: Place, site: Site, profile: Profile) -> tuple[Bucket, Bucket, Bucket | None]:
    """MinIO of one instance: its buckets for media and for backups, and the main one's for logs."""
    sizes, names = {"main": profile.minio, "li": profile.minio_li}, site.object_storage.buckets
    tenant = MinioTenant(installation, place, sizes[place.instance], site.object_storage.minio)
    main = place.instance == "main"
    media = tenant.bucket(names.media if main else names.media_li, "media")
    backups = tenant.bucket(names.backups if main else names.backups_li, "backups")
    logs = tenant.bucket(names.logs, "logs") if main and site.keeps_logs else None
    made = [ProvisionedBucket(media.name), ProvisionedBucket(backups.name, keep_deleted_days=7)]
    users = [(BucketUser("media", media.name, MEDIA), media), (BucketUser("backups", backups.name, BACKUPS), backups)]
    if logs:
        made.append(ProvisionedBucket(logs.name))
        users.append((BucketUser("logs", logs.name, LOGS), logs))
    Buckets(installation, tenant, BucketsSpec(tuple(made), tuple(users)))
    return media, backups, logs
