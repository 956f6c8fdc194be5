"""The volumes of a site in a size: the profile's, where the site has not said what it has."""

from attrs import evolve

from app.site import Site
from infrastructure.object_storage.options import Pool
from infrastructure.object_storage.size import ErasureSize
from infrastructure.postgresql.size import PostgresSize
from kit.quantities import Bytes
from monitoring.size import MonitoringSize
from overlays.profile import Profile

Pools = tuple[ErasureSize, ...]
"""Those of one MinIO."""


def database(site: Site, profile: Profile) -> PostgresSize:
    """The main database."""
    sizes = site.storage_sizes
    return _with_volumes(profile.postgresql, sizes.database, sizes.write_ahead_log)


def database_li(site: Site, profile: Profile) -> PostgresSize:
    """That of the lawful-intercept instance."""
    sizes = site.storage_sizes
    return _with_volumes(profile.postgresql_li, sizes.database_li, sizes.write_ahead_log_li)


def minio_main(site: Site, profile: Profile) -> Pools:
    """Of the MinIO with media."""
    return _pools(site, profile.minio, site.storage_sizes.pools.main)


def minio_li(site: Site, profile: Profile) -> Pools:
    """Of that of the lawful-intercept instance."""
    return _pools(site, profile.minio_li, site.storage_sizes.pools.li)


def minio_backups(site: Site, profile: Profile) -> Pools:
    """Of that which backups have for themselves."""
    return _pools(site, profile.minio_backups, site.storage_sizes.pools.backups)


def monitoring(site: Site, profile: Profile) -> MonitoringSize:
    """What watches."""
    return evolve(profile.monitoring, metrics=site.storage_sizes.metrics or profile.monitoring.metrics)


def usable(pools: Pools) -> Bytes:
    """What objects can fill."""
    return sum((pool.usable for pool in pools), Bytes(0))


def _with_volumes(size: PostgresSize, storage: Bytes | None, wal: Bytes | None) -> PostgresSize:
    return evolve(size, storage=storage or size.storage, wal=wal or size.wal)


def _pools(site: Site, size: ErasureSize, existing: tuple[Pool, ...]) -> Pools:
    wanted = evolve(size, drive=site.storage_sizes.object_storage_drive or size.drive)
    return wanted.beside([evolve(size, nodes=pool.servers, drives=pool.drives, drive=pool.drive) for pool in existing])
