"""How the room of each object storage is shared out, and which is too small for what a site wants it to keep."""

from attrs import evolve, frozen

from app.site import Site
from infrastructure.object_storage.options import ObjectStorageBackend
from infrastructure.object_storage.size import ErasureSize
from infrastructure.postgresql.options import BackupOptions, BackupStore
from infrastructure.postgresql.retention import Kept, kept, room
from infrastructure.postgresql.size import PostgresSize
from kit.options import OptionError
from kit.quantities import Bytes, gib
from overlays.profile import Profile

UNDELETED_DAYS, UNDELETED_DAYS_OF_A_COPY = 7, 1
"""How long a bucket has a backup that was deleted: time to notice that somebody with its keys has done that."""
_MOST_PERCENT, _MOST_PERCENT_OF_A_COPY = 65, 90
"""Of a store with media, what backups may take. How much of main's media its copy needs, only its owner knows."""
_LOGS_PERCENT = 10
"""Of what backups leave, what logs may take."""


@frozen
class Room:
    """What a store has room for. `usable`: None where others run it; `media` and `logs`: None where it keeps none."""

    store: str
    usable: Bytes | None
    backups: Bytes | None
    media: Bytes | None = None
    logs: Bytes | None = None


@frozen
class Rooms:
    """The stores of a site in a size. Each is None where others run it, or where it is not there."""

    main: Room | None
    backups: Room | None
    li: Room | None

    @property
    def all(self) -> tuple[Room, ...]:
        """Those that there are."""
        return tuple(room for room in (self.main, self.backups, self.li) if room)


def sized(site: Site, size: ErasureSize) -> ErasureSize:
    """A tenant's size, with the drives that the site has."""
    return evolve(size, drive=site.storage_sizes.object_storage_drive or size.drive)


def rooms(site: Site, profile: Profile) -> Rooms:
    """The stores of a site. OptionError, with the numbers, says which is too small."""
    own, where = site.object_storage.backend is ObjectStorageBackend.MINIO, site.backups.object_storage.backend
    backups = _Archive(site, profile, profile.postgresql, site.backups, kept(site.backups, UNDELETED_DAYS))
    theirs = site.backups.of_a_copy
    copy = _Archive(site, profile, profile.postgresql_li, theirs, kept(theirs, UNDELETED_DAYS_OF_A_COPY, besides=0))
    kept_here = not site.postgresql.external
    with_media = kept_here and where is BackupStore.WITH_MEDIA
    apart: Room | None = None
    if chosen := site.backups.object_storage.external:
        apart = Room(chosen.endpoint, None, backups.room)
    elif where is BackupStore.MINIO:
        apart = backups.alone("minio-backups", sized(site, profile.minio_backups))
    elif with_media and site.object_storage.external:
        apart = Room(site.object_storage.external.endpoint, None, backups.room)
    keeps = backups if with_media else None
    main = _shared("minio-main", sized(site, profile.minio), keeps, _MOST_PERCENT, logs=site.keeps_logs) if own else None
    li_keeps = copy if where is not BackupStore.EXTERNAL else None
    li = _shared("minio-li", sized(site, profile.minio_li), li_keeps, _MOST_PERCENT_OF_A_COPY) if own and site.features.li else None
    return Rooms(main, apart, li)


@frozen
class _Archive:
    """The archive of one database, whose volume may be full."""

    site: Site
    profile: Profile
    database: PostgresSize
    backups: BackupOptions
    most: Kept

    @property
    def volume(self) -> Bytes:
        """That of the database."""
        return self.site.storage_sizes.database or self.database.storage

    @property
    def room(self) -> Bytes:
        """What it takes."""
        return room(self.volume, self.profile.concurrent_users, self.backups, self.most)

    def alone(self, store: str, size: ErasureSize) -> Room:
        """In a store that keeps nothing else."""
        self._check(store, size, 100)
        return Room(store, size.usable, self.room)

    def beside_media(self, store: str, size: ErasureSize, most_percent: int) -> Bytes:
        """In a store with media: what it takes of it."""
        self._check(store, size, most_percent)
        return self.room

    def _check(self, store: str, size: ErasureSize, percent: int) -> None:
        needed = self.room
        if needed.count * 100 <= size.usable.count * percent:
            return
        drive = next(gib(count) for count in range(1, 2**20) if needed.count * 100 <= evolve(size, drive=gib(count)).usable.count * percent)
        limit = "" if percent == 100 else f", of which backups may take {percent} %, since media are there too"
        raise OptionError(
            "backups.retention",
            f"profile {self.profile.name}: backups come to {_gib(needed)}: {self.most.full_backups} base backups of a database of {self.volume}, and "
            f"{self.most.log_days} days of its write-ahead log. {store} has {_gib(size.usable)}{limit}; write a shorter retention, "
            f"storage_sizes: {{object_storage_drive: {drive}}}, or an S3 for backups alone (backups.object_storage); a size that you never use, "
            f"remove: overlays/ccu_{self.profile.concurrent_users}.py",
        )


def _shared(store: str, size: ErasureSize, archive: _Archive | None, most_percent: int, *, logs: bool = False) -> Room:
    """A store with media: what backups do not need is for media, and a part of it for logs."""
    backups = archive.beside_media(store, size, most_percent) if archive else None
    left = size.usable.count - (backups.count if backups else 0)
    for_logs = Bytes(left * _LOGS_PERCENT // 100) if logs else None
    return Room(store, size.usable, backups, Bytes(left - (for_logs.count if for_logs else 0)), for_logs)


def _gib(amount: Bytes) -> str:
    return f"{amount.count / gib(1).count:.0f}Gi"
